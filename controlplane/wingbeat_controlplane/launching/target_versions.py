"""Which version of a target is meant by `newest` and `active`, and which launch plan stands for a workflow."""

import asyncpg
import grpc
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.launching.refusals import RefusedError, Violation
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.launch.v1 import item_pb2

_SQL = load_queries("wingbeat_controlplane.launching", "target_versions.sql")
_WORDS = {
    item_pb2.TARGET_KIND_LAUNCH_PLAN: "launch plan",
    item_pb2.TARGET_KIND_WORKFLOW: "workflow with a default launch plan",
    item_pb2.TARGET_KIND_TASK: "task",
}


class TargetVersions:
    """Looks versions up in the registry; nothing is remembered."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find(self, target: item_pb2.Target) -> identifier_pb2.Identifier:
        """The launch plan or task that `target`, which is complete, names. A fixed version is not looked up.

        Raises RefusedError NOT_FOUND, asyncpg's errors.
        """
        is_task = target.kind == item_pb2.TARGET_KIND_TASK
        version = target.version
        if not version:
            is_active = target.selection == item_pb2.VERSION_SELECTION_ACTIVE
            block = "newest_task" if is_task else "active_launch_plan" if is_active else "newest_launch_plan"
            if target.kind == item_pb2.TARGET_KIND_WORKFLOW:
                block = "active_default_launch_plan" if is_active else "newest_default_launch_plan"
            found: str | None = await self._pool.fetchval(_SQL[block], target.project, target.domain, target.name)
            if found is None:
                raise _absent(target)
            version = found
        return identifier_pb2.Identifier(
            resource_type=identifier_pb2.TASK if is_task else identifier_pb2.LAUNCH_PLAN,
            project=target.project,
            domain=target.domain,
            name=target.name,
            version=version,
        )


def _absent(target: item_pb2.Target) -> RefusedError:
    active = "active " if target.selection == item_pb2.VERSION_SELECTION_ACTIVE else ""
    text = f"there is no {active}{_WORDS[target.kind]} {target.project}:{target.domain}:{target.name}"
    return RefusedError(grpc.StatusCode.NOT_FOUND, text, [Violation("target", text)])
