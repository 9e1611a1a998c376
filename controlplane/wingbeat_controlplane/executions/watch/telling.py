"""From entries of the log to the transitions that watchers want, each made and encoded once for all of them.

The log has entries about executions and nodes. What an entry means for an attempt follows from the rows of the attempt
and of the one before it, which are written by the same commit and carry the same instant: the entry with which an
attempt was created, and the one with which it ended. So attempts cost the engine nothing. All that is told is fixed
when the entry is committed, whenever it is read: phases come from the entry, times of ends and names never change, and
outputs and errors are told with the entry that ends what they belong to.

An entry means a few transitions; each has a fixed place among them, the cursor's `parts`, so that a stream may break
off between two of them and be gone on with by another filter.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import asyncpg
from flyteidl.core import execution_pb2

from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.watch.facts import EntityName, ExecutionFacts, Facts, entity_message
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_controlplane.executions.watch.log import Entry
from wingbeat_controlplane.executions.watch.matching import Index, Matcher
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.phases import EXECUTION_FINAL, NODE_FINAL, NODE_SUCCESS, TASK_FINAL, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2

ERROR_MESSAGE_BYTES_MAX = 4096

_ENTRIES_AT_ONCE = 250
"""After which other work of the loop gets a turn."""

_SQL = load_queries(__package__ or "", "watch.sql")
_EXECUTION = int(transition_pb2.LEVEL_EXECUTION)
_NODE = int(transition_pb2.LEVEL_NODE)
_ATTEMPT = int(transition_pb2.LEVEL_ATTEMPT)
_SUCCEEDED = int(identity_pb2.EXECUTION_PHASE_SUCCEEDED)

# Places of the transitions that an entry may mean, in the order in which they are told.
_BEFORE_ENDED, _ENDED, _OWN, _QUEUED, _STARTED = range(5)


class Told:
    """One transition on its way to watchers."""

    __slots__ = (
        "attempt",
        "data",
        "entry",
        "error",
        "facts",
        "is_final",
        "json",
        "level",
        "phase",
        "place",
        "task",
        "with_outputs",
    )

    def __init__(
        self,
        entry: Entry,
        facts: ExecutionFacts,
        place: int,
        level: int,
        phase: int,
        attempt: int,
        *,
        is_final: bool,
        task: EntityName | None = None,
        error: bytes | None = None,
    ) -> None:
        self.entry = entry
        self.facts = facts
        self.place = place
        self.level = level
        self.phase = phase
        self.attempt = attempt
        self.is_final = is_final
        self.task = task
        self.error = error
        self.data = b""
        """The serialized Transition, without outputs."""
        self.with_outputs = b""
        """The same with outputs, if anybody wants them."""
        self.json: dict[bool, str] = {}
        """For a gateway to keep the same as JSON, with and without outputs."""

    def encoded(self, *, with_outputs: bool) -> bytes:
        """As a watcher gets it."""
        return self.with_outputs if with_outputs else self.data


class Teller:
    """Makes transitions of entries."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._facts = Facts(pool)

    async def tell(self, entries: Sequence[Entry], index: Index) -> Mapping[Matcher, list[Told]]:
        """What each matcher of the index wants of the entries, in order; matchers that want nothing are not there."""
        if index.is_by_id:
            entries = [entry for entry in entries if index.names(entry.execution_id)]
        if not entries or not len(index):
            return {}
        facts = await self._facts.of(entry.execution_id for entry in entries)
        covering = {key: index.covering(one) for key, one in facts.items()}
        attempts = await self._attempts(entries, covering)
        wanted: dict[Matcher, list[Told]] = {}
        chosen: list[Told] = []
        outputs_wanted: set[int] = set()
        for number, entry in enumerate(entries, start=1):
            if number % _ENTRIES_AT_ONCE == 0:
                await asyncio.sleep(0)  # others get a turn of the loop
            matchers = covering.get(entry.execution_id)
            if not matchers:
                continue
            for one, tasks in _meanings(entry, facts[entry.execution_id], attempts.get(entry.seq)):
                is_chosen = False
                for matcher in matchers:
                    if matcher.wants(one.facts, one.level, one.phase, tasks):
                        wanted.setdefault(matcher, []).append(one)
                        is_chosen = True
                        if matcher.with_outputs:
                            outputs_wanted.add(id(one))
                if is_chosen:
                    chosen.append(one)
        await self._encode(chosen, outputs_wanted)
        return wanted

    async def _attempts(self, entries: Sequence[Entry], covering: Mapping[int, Sequence[Matcher]]) -> Mapping[int, Row]:
        """Rows of attempts by entry, of entries for which somebody needs them."""
        needed = {key for key, matchers in covering.items() if any(matcher.wants_attempts for matcher in matchers)}
        asked = [entry for entry in entries if entry.node_id is not None and entry.execution_id in needed]
        if not asked:
            return {}
        rows = await fetch(
            self._pool,
            _SQL["attempts"],
            [entry.execution_id for entry in asked],
            [entry.node_id for entry in asked],
            [entry.attempt for entry in asked],
        )
        by_entry: dict[int, Row] = {}
        for row in rows:
            by_entry[asked[int(row["place"]) - 1].seq] = row
        return by_entry

    async def _encode(self, chosen: Sequence[Told], outputs_wanted: set[int]) -> None:
        ends = await self._ends(chosen, outputs_wanted)
        nodes = await self._nodes(chosen, outputs_wanted)
        for number, one in enumerate(chosen, start=1):
            if number % _ENTRIES_AT_ONCE == 0:
                await asyncio.sleep(0)
            entry = one.entry
            if entry.node_id is None:
                _encode(one, None, ends.get(entry.execution_id), wants_outputs=id(one) in outputs_wanted)
            else:
                node = nodes.get((entry.execution_id, entry.node_id))
                _encode(one, node, node, wants_outputs=id(one) in outputs_wanted)

    async def _ends(self, chosen: Iterable[Told], outputs_wanted: set[int]) -> Mapping[int, Row]:
        final = [one for one in chosen if one.level == _EXECUTION and one.is_final]
        if not (keys := [one.facts.id for one in final if one.phase != _SUCCEEDED or id(one) in outputs_wanted]):
            return {}
        rows = await fetch(self._pool, _SQL["ends"], keys, any(id(one) in outputs_wanted for one in final))
        return {row["id"]: row for row in rows}

    async def _nodes(self, chosen: Iterable[Told], outputs_wanted: set[int]) -> Mapping[tuple[int, str], Row]:
        keys = {(one.facts.id, one.entry.node_id): one for one in chosen if one.entry.node_id is not None}
        if not keys:
            return {}
        rows = await fetch(
            self._pool,
            _SQL["nodes"],
            [execution for execution, _ in keys],
            [node for _, node in keys],
            any(id(one) in outputs_wanted for one in chosen),
        )
        return {(row["execution_id"], row["node_id"]): row for row in rows}


def _meanings(entry: Entry, facts: ExecutionFacts, attempts: Row | None) -> Iterable[tuple[Told, Sequence[EntityName]]]:
    """What an entry means, in order, each with the tasks it is about."""
    if entry.node_id is None:
        is_final = entry.phase in EXECUTION_FINAL
        yield Told(entry, facts, _OWN, _EXECUTION, entry.phase, 0, is_final=is_final), ()
        return
    is_final = entry.phase in NODE_FINAL
    own = Told(entry, facts, _OWN, _NODE, entry.phase, entry.attempt, is_final=is_final)
    if attempts is None:
        yield own, ()
        return
    task = _task(attempts, "task")
    before = _task(attempts, "before_task")
    before_ended = attempts["before_phase"] in TASK_FINAL and attempts["before_updated_at"] == entry.at
    if before is not None and before_ended:
        phase = attempts["before_phase"]
        yield (
            _attempt(entry, facts, _BEFORE_ENDED, phase, entry.attempt - 1, before, attempts["before_error"]),
            [before],
        )
    is_over = is_final or entry.phase == NodePhase.DYNAMIC_RUNNING
    if task is not None and is_over and attempts["phase"] in TASK_FINAL and attempts["updated_at"] == entry.at:
        ended = _attempt(entry, facts, _ENDED, attempts["phase"], entry.attempt, task, attempts["error"])
        ended.is_final = is_final
        yield ended, [task]
    yield own, _tasks_of_node(entry, task, before)
    is_queued = before_ended or (entry.attempt == 0 and entry.phase == NodePhase.QUEUED)
    if is_queued and attempts["kind"] == NodeKind.TASK and not is_over:
        known = [before] if before is not None else []
        yield _attempt(entry, facts, _QUEUED, TaskPhase.QUEUED, entry.attempt, before, None), known
    if (
        task is not None
        and not is_over
        and not before_ended
        and entry.phase == NodePhase.RUNNING
        and attempts["created_at"] == entry.at
    ):
        yield _attempt(entry, facts, _STARTED, TaskPhase.RUNNING, entry.attempt, task, None), [task]


def _tasks_of_node(entry: Entry, task: EntityName | None, before: EntityName | None) -> Sequence[EntityName]:
    """Tasks that attempts of a node ran, as far as every reader of the entry finds them, however early it reads."""
    if entry.phase == NodePhase.QUEUED:
        return ()
    return [one for one in (task, before) if one is not None]


def _attempt(
    entry: Entry,
    facts: ExecutionFacts,
    place: int,
    phase: int,
    attempt: int,
    task: EntityName | None,
    error: bytes | None,
) -> Told:
    return Told(entry, facts, place, _ATTEMPT, phase, attempt, is_final=False, task=task, error=error)


def _task(row: Row, prefix: str) -> EntityName | None:
    if row[f"{prefix}_name"] is None:
        return None
    parts = (row[f"{prefix}_{part}"] for part in ("project", "domain", "name", "version"))
    return EntityName(int(transition_pb2.ENTITY_KIND_TASK), *parts)


def _encode(one: Told, node: Row | None, result: Row | None, *, wants_outputs: bool) -> None:
    """`node`: the row of the node, if it is about one; `result`: the row that has outputs and error."""
    entry = one.entry
    message = transition_pb2.Transition(
        entry=entry.seq,
        level=transition_pb2.Level.Name(one.level),
        is_final=one.is_final,
        at=timestamp(entry.at),
        attempt=one.attempt,
    )
    if one.level == _EXECUTION:
        message.execution_phase = cast("identity_pb2.ExecutionPhase", one.phase)
    elif one.level == _NODE:
        message.node_phase = cast("identity_pb2.NodePhase", one.phase)
    else:
        message.attempt_phase = cast("transition_pb2.AttemptPhase", one.phase)
    if entry.node_id is not None:
        message.node.node_id = entry.node_id
    if node is not None:
        message.node.spec_node_id = node["spec_node_id"]
        message.node.name = node["node_name"]
        message.node.parent_node_id = node["parent_id"] or ""
        message.node.parent_attempt = node["parent_attempt"] or 0
    if one.task is not None:
        message.task.CopyFrom(entity_message(one.task))
    error = one.error
    if error is None and one.is_final and one.level != _ATTEMPT and result is not None:
        error = result["error"]
    if error is not None:
        message.error.CopyFrom(error_message(error))
    one.data = one.facts.encoded + message.SerializeToString()
    if wants_outputs:
        outputs = outputs_message(one, result)
        one.with_outputs = one.data + outputs.SerializeToString() if outputs else one.data


def outputs_message(one: Told, result: Row | None) -> transition_pb2.Transition | None:
    """The part of a Transition that has outputs; None when it has none."""
    if result is None or not one.is_final or not _is_success(one):
        return None
    outputs = outputs_of(result["outputs"], result["outputs_uri" if one.level == _EXECUTION else "output_uri"])
    return transition_pb2.Transition(outputs=outputs) if outputs else None


def outputs_of(data: bytes | None, uri: str | None) -> transition_pb2.Outputs | None:
    """Outputs as a row has them: small ones themselves, else where they are."""
    if data is not None:
        return transition_pb2.Outputs(literals=data)
    return transition_pb2.Outputs(uri=uri) if uri else None


def error_message(data: bytes) -> transition_pb2.Error:
    """A stored ExecutionError, cut."""
    error = execution_pb2.ExecutionError.FromString(data)
    text = error.message.encode()
    if len(text) > ERROR_MESSAGE_BYTES_MAX:
        error.message = text[:ERROR_MESSAGE_BYTES_MAX].decode(errors="ignore")
    return transition_pb2.Error(code=error.code, message=error.message, kind=transition_pb2.ErrorKind.Name(error.kind))


def _is_success(one: Told) -> bool:
    if one.level == _EXECUTION:
        return one.phase == _SUCCEEDED
    return one.entry.phase in NODE_SUCCESS
