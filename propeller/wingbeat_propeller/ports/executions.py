"""Where executions come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flyteidl.core import identifier_pb2

from wingbeat_propeller.compiler.references import KnownReferences
from wingbeat_propeller.core.rows import ExecutionRecord
from wingbeat_propeller.ports.tasks import AttemptOrigin


@dataclass(frozen=True, slots=True)
class Room:
    """What there is room for in an engine's memory: `free` executions of any tenant, and however full it is as many of
    each tenant that it then has `tenant_min`, and `awaited` ones that others wait for. `live` says how many of each
    tenant there are, by project and domain."""

    free: int
    tenant_min: int = 0
    awaited: int = 0
    live: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass(frozen=True, slots=True)
class NewExecutions:
    """One look for new executions, at some of the tenants."""

    records: Sequence[ExecutionRecord]
    after: tuple[str, str] | None
    """Where the next look is to go on; None: there are no tenants behind those."""
    any_left: bool
    """Whether these tenants may have more: that were too many for one look, or that there is no room for."""


NO_TENANT = ("", "")
"""Before all tenants."""


class ExecutionStore(Protocol):
    """Where executions come from."""

    async def new_executions(
        self,
        shards: Sequence[int],
        *,
        known: Sequence[int],
        limit: int,
        room: Room,
        after: tuple[str, str] = NO_TENANT,
    ) -> NewExecutions:
        """Executions of `shards` that no engine has begun and that there is room for, without those in `known`; of the
        tenants behind `after`, in turns: those with the fewest in memory first, and each tenant's oldest first.

        One that waits for its turn is among them only to be ended: it was aborted, or its time to begin is over. Those
        come whether there is room or not.
        """
        ...

    async def told_executions(self, shards: Sequence[int], keys: Sequence[int]) -> Sequence[ExecutionRecord]:
        """Those of some executions, by row id, that are of `shards` and may begin as they are, in the order of their
        launch; a notification has named them. What else there is costs nothing."""
        ...

    async def live_executions(self, shards: Sequence[int], *, after: int, limit: int) -> Sequence[ExecutionRecord]:
        """Executions of `shards` begun and not ended, with their nodes, by id above `after`: used when shards are
        taken over."""
        ...

    async def abort_requests(self, shards: Sequence[int]) -> Sequence[tuple[int, str]]:
        """(execution, cause) of executions of `shards` that somebody wants terminated and that have not ended."""
        ...

    async def unwanted(self, attempts: Mapping[str, AttemptOrigin]) -> Sequence[str]:
        """Names of those attempts that nobody waits for: their execution or node has ended or does not exist, or the
        node is at a later attempt."""
        ...

    async def workflow_closure(self, workflow_id: int) -> bytes:
        """Serialized CompiledWorkflowClosure."""
        ...

    async def references(
        self,
        tasks: Sequence[identifier_pb2.Identifier],
        launch_plans: Sequence[identifier_pb2.Identifier],
    ) -> KnownReferences:
        """Registered entities, as far as they exist."""
        ...

    async def listen(self, wake: Callable[[str, str], None]) -> None:
        """Live until cancelled: call `wake(reason, payload)` at each notification. Reasons are "new", "abort",
        "queue", "shards", "shares", "slots" (these carry nothing to go by; "new" may name executions as `shard:row id`,
        with spaces between), "child" (row id of an execution that has ended and has a parent) and "signal"
        (`project:domain:execution` whose signal was set). After each (re)connect
        each reason comes once with an empty payload, since notifications may have been lost meanwhile."""
        ...
