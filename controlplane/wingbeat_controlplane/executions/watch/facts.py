"""What never changes about an execution, and what watchers choose by; kept for executions lately met."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2

FACTS_KEPT = 20_000
"""About a kilobyte each."""

_SQL = load_queries(__package__ or "", "watch.sql")


@dataclass(frozen=True, slots=True)
class EntityName:
    """A version of a launch plan, workflow or task."""

    kind: int
    """wingbeatidl.watch.v1.EntityKind."""
    project: str
    domain: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ExecutionFacts:
    """An execution as it was launched."""

    id: int
    project: str
    domain: str
    name: str
    batch: str
    entity: EntityName
    workflow: EntityName
    labels: Mapping[str, str]
    encoded: bytes
    """The part of a serialized Transition that tells all this; serialized messages are joined by appending."""


class Facts:
    """Looks facts up; makes one query for all that it does not know."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: OrderedDict[int, ExecutionFacts] = OrderedDict()

    async def of(self, ids: Iterable[int]) -> Mapping[int, ExecutionFacts]:
        """By row id; without executions that do not exist any more."""
        found: dict[int, ExecutionFacts] = {}
        unknown: list[int] = []
        known = self._known
        for key in set(ids):
            facts = known.get(key)
            if facts is None:
                unknown.append(key)
            else:
                known.move_to_end(key)
                found[key] = facts
        if unknown:
            for row in await fetch(self._pool, _SQL["executions"], unknown):
                facts = _facts(row)
                known[facts.id] = found[facts.id] = facts
            while len(known) > FACTS_KEPT:
                known.popitem(last=False)
        return found


def _facts(row: Row) -> ExecutionFacts:
    is_task = row["launch_entity"] == "task"
    kind = transition_pb2.ENTITY_KIND_TASK if is_task else transition_pb2.ENTITY_KIND_LAUNCH_PLAN
    entity = _entity(row, "entity", kind)
    workflow = _entity(row, "workflow", transition_pb2.ENTITY_KIND_WORKFLOW)
    batch: str = row["batch"] or ""
    message = transition_pb2.Transition(
        execution=identity_pb2.ExecutionIdentifier(project=row["project"], domain=row["domain"], name=row["name"]),
        entity=entity_message(entity),
        workflow=entity_message(workflow),
        batch=batch,
    )
    return ExecutionFacts(
        row["id"],
        row["project"],
        row["domain"],
        row["name"],
        batch,
        entity,
        workflow,
        dict(zip(row["keys"], row["values"], strict=True)),
        message.SerializeToString(),
    )


def _entity(row: Row, prefix: str, kind: int) -> EntityName:
    parts = (row[f"{prefix}_{part}"] or "" for part in ("project", "domain", "name", "version"))
    return EntityName(kind, *parts)


def entity_message(entity: EntityName) -> transition_pb2.EntityIdentifier:
    """As watchers get it."""
    return transition_pb2.EntityIdentifier(
        kind=transition_pb2.EntityKind.Name(entity.kind),
        project=entity.project,
        domain=entity.domain,
        name=entity.name,
        version=entity.version,
    )
