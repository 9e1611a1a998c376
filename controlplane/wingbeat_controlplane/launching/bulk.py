"""Many launches at a time: what CreateExecution checks is checked for each, what they share is looked up once.

Items are worked through in portions. A portion is two statements and a commit, keys first, then executions with tags
and notification; while one commits, the next is prepared. Items that need more than that (inputs too large for a row,
or known from elsewhere, launch plans with an overlap policy) have a transaction each. An item that cannot be launched
is an outcome like any other. Whoever is killed leaves whole portions, and callers who repeat items with keys are told
what was launched.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import asyncpg
import grpc

from wingbeat_catalog.artifacts.queries import FoundInput
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.artifact_inputs import with_artifacts
from wingbeat_controlplane.executions.decision import Decision
from wingbeat_controlplane.executions.insertion import insert_executions
from wingbeat_controlplane.executions.launch import Caller, Launcher, completed, known_inputs
from wingbeat_controlplane.executions.names import ExecutionName, check_name, generated_names
from wingbeat_controlplane.executions.new_execution import NewExecution
from wingbeat_controlplane.launching.item_inputs import GivenInputs
from wingbeat_controlplane.launching.item_settings import Defaults
from wingbeat_controlplane.launching.launch_keys import (
    KEY_BYTES_MAX,
    LaunchKey,
    content_of,
    find_keys,
    give_back,
    key_of,
    take_keys,
)
from wingbeat_controlplane.launching.lookups import Lookups
from wingbeat_controlplane.launching.refusals import RefusedError, invalid_field, refused
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeat_propeller.ports.blobs import Blobs
from wingbeatidl.launch.v1 import item_pb2, outcome_pb2
from wingbeatidl.query.v1 import identity_pb2

PORTION = 500
"""Items in one transaction."""
PORTION_BYTES_MAX = 8 << 20
"""And their bytes, about."""
COMMITTING_MAX = 2
"""Portions of a call that are written at once."""
TURN = 16
"""Items prepared before other work of the process gets its turn."""
ALONE_MAX = 8
"""Items with a transaction of their own that are written at once."""


class Prepared(NamedTuple):
    """An item with everything decided: its place in the call, its key if it has one, and the execution."""

    number: int
    key: LaunchKey | None
    new: NewExecution


@dataclass(frozen=True, slots=True)
class Repeated:
    """An item that is refused, and may have been launched when it was not."""

    number: int
    key: LaunchKey
    project: str
    domain: str


class BulkLauncher:
    """Launches items. Shared by all calls of a process."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, launcher: Launcher, versions: TargetVersions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._launcher = launcher
        self._versions = versions

    def lookups(self, defaults: Defaults, caller: Caller) -> Lookups:
        """For the items of one call, or of one message."""
        return Lookups(self._launcher, self._versions, defaults, caller)

    async def launch(
        self, items: Sequence[item_pb2.LaunchItem], lookups: Lookups
    ) -> Sequence[outcome_pb2.LaunchOutcome]:
        """One outcome for each item. Raises ApiError and asyncpg's and the blob store's errors, after which some
        portions may have been launched."""
        outcomes = [_OPEN] * len(items)
        gate = asyncio.Semaphore(COMMITTING_MAX)

        async def write(prepared: Sequence[Prepared], repeated: Sequence[Repeated]) -> None:
            try:
                await self._write(prepared, repeated, outcomes)
            finally:
                gate.release()

        try:
            async with asyncio.TaskGroup() as group:
                begin = 0
                while begin < len(items):
                    end = _portion_end(items, begin)
                    ready = await self.prepare(items, begin, end, lookups, outcomes)
                    await gate.acquire()
                    group.create_task(write(*ready), name="launch a portion")
                    begin = end
        except BaseExceptionGroup as failed:
            raise _first(cast("BaseException", failed)) from failed
        return outcomes

    async def prepare(
        self,
        items: Sequence[item_pb2.LaunchItem],
        begin: int,
        end: int,
        lookups: Lookups,
        outcomes: list[outcome_pb2.LaunchOutcome],
        names: Callable[[int], str] | None = None,
    ) -> tuple[Sequence[Prepared], Sequence[Repeated]]:
        """Decide everything about items `begin` to `end`; those that are refused have their outcome afterwards, and are
        listed if they have a key. `names` gives those their names that have none, instead of chance.

        Raises asyncpg's errors; nothing is written.
        """
        prepared: list[Prepared] = []
        repeated: list[Repeated] = []
        generated = generated_names(end - begin)
        for number in range(begin, end):
            item = items[number]
            key: LaunchKey | None = None
            try:
                settings = lookups.settings(item)
                inputs = lookups.inputs(item)
                chosen, idempotency_key = _checked_names(item)
                name = chosen or (next(generated) if names is None else names(number))
                if idempotency_key:
                    content = content_of(settings.digest, chosen.encode(), inputs.content())
                    key = LaunchKey(key_of(settings.project, settings.domain, idempotency_key), content, name)
                decision = lookups.known_decision(settings) or await lookups.decision(settings)
                new_id = ExecutionName(settings.project, settings.domain, name)
                new = await self._new_execution(new_id, decision, inputs, is_named=bool(chosen))
                prepared.append(Prepared(number, key, new))
            except RefusedError as error:
                outcomes[number] = error.outcome()
                if key is not None:
                    settings = lookups.settings(item)
                    repeated.append(Repeated(number, key, settings.project, settings.domain))
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
        return prepared, repeated

    async def _new_execution(
        self, new_id: ExecutionName, decision: Decision, inputs: GivenInputs, *, is_named: bool
    ) -> NewExecution:
        target = decision.target
        literals = inputs.for_target(target.inputs.types)
        artifacts: Mapping[str, FoundInput] = {}
        try:
            if target.queries:
                finder = self._launcher.artifact_inputs
                artifacts = await finder.find(new_id.project, new_id.domain, target, literals)
                literals = with_artifacts(literals, artifacts)
            completion = completed(target, literals)
        except ApiError as error:
            raise refused("inputs", error) from error
        user_inputs = literals.SerializeToString()
        return NewExecution(
            new_id,
            decision,
            user_inputs + completion,
            user_inputs,
            is_named=is_named,
            known_inputs=known_inputs(target, literals, artifacts),
            used_artifacts=[(found.id, name) for name, found in artifacts.items()],
        )

    async def _write(
        self,
        prepared: Sequence[Prepared],
        repeated: Sequence[Repeated],
        outcomes: list[outcome_pb2.LaunchOutcome],
    ) -> None:
        first, again = _unique(prepared, outcomes)
        together: list[Prepared] = []
        alone: list[Prepared] = []
        for one in first:
            (alone if one.new.needs_transaction else together).append(one)
        found = await self._write_together(together, outcomes) if together else []
        for begin in range(0, len(alone), ALONE_MAX):
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._write_alone(one, outcomes), name="launch one")
                    for one in alone[begin : begin + ALONE_MAX]
                ]
            found += [one for task in tasks if (one := task.result()) is not None]
        await self._settle([*found, *again], repeated, outcomes)

    async def _write_together(
        self, prepared: Sequence[Prepared], outcomes: list[outcome_pb2.LaunchOutcome]
    ) -> list[Prepared]:
        """Launch; those whose key is taken."""
        keys = [one.key for one in prepared if one.key is not None]
        async with self._pool.acquire() as connection, connection.transaction():
            taken = await take_keys(connection, keys)
            mine = [one for one in prepared if one.key is None or one.key.key in taken]
            created = await insert_executions(connection, [one.new for one in mine], self._blobs.base)
            missed = [one for one in mine if one.new.id not in created]
            if any(one.key is not None for one in missed):
                await give_back(connection, [one.key.key for one in missed if one.key is not None])
        begun: list[tuple[int, int]] = []
        for one in mine:
            row_id = created.get(one.new.id)
            if row_id is None:
                outcomes[one.number] = _taken(one.new.id)
            else:
                outcomes[one.number] = _existing(one.new.id, is_new=True)
                begun.append((one.new.shard, row_id))
        self._launcher.announcer.announce(begun)
        return [one for one in prepared if one.key is not None and one.key.key not in taken]

    async def _write_alone(self, one: Prepared, outcomes: list[outcome_pb2.LaunchOutcome]) -> Prepared | None:
        """Launch one, or give it back if its key is taken."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if one.key is not None and not await take_keys(connection, [one.key]):
                    return one
                key = await self._launcher.insert(connection, one.new)
                if key is None:
                    outcomes[one.number] = _taken(one.new.id)
                    if one.key is not None:
                        await give_back(connection, [one.key.key])
                    return None
        except ApiError as error:
            outcomes[one.number] = refused("target", error).outcome()
        else:
            self._launcher.announcer.announce([(one.new.shard, key)])
            outcomes[one.number] = _existing(one.new.id, is_new=True)
        return None

    async def _settle(
        self,
        found: Sequence[Prepared],
        repeated: Sequence[Repeated],
        outcomes: list[outcome_pb2.LaunchOutcome],
    ) -> None:
        """Say of items whose key is taken what has it, and of refused ones whether they were launched before."""
        asked = [
            *((one.number, one.key, one.new.id.project, one.new.id.domain) for one in found if one.key is not None),
            *((one.number, one.key, one.project, one.domain) for one in repeated),
        ]
        if not asked:
            return
        stored = await find_keys(self._pool, {key.key for _, key, _, _ in asked})
        refused_before = {one.number for one in repeated}
        for number, key, project, domain in asked:
            known = stored.get(key.key)
            if known is None:
                if number not in refused_before:
                    outcomes[number] = _SENT_TWICE
                continue
            existing = ExecutionName(project, domain, known.name)
            if known.content == key.content:
                outcomes[number] = _existing(existing, is_new=False)
            elif number not in refused_before:
                outcomes[number] = _conflict(
                    existing,
                    f"the idempotency key was used for another item: execution [{existing}]",
                    "idempotency_key",
                )


_OPEN = outcome_pb2.LaunchOutcome()
"""Of items whose outcome is not known yet."""
_SENT_TWICE = RefusedError(
    grpc.StatusCode.ABORTED, "the item with the same key that came before this one was not launched: send it again"
).outcome()


def _unique(
    prepared: Sequence[Prepared], outcomes: list[outcome_pb2.LaunchOutcome]
) -> tuple[list[Prepared], list[Prepared]]:
    """Items that nothing before them in the portion has key or name of, and those whose key is that of one before."""
    first: list[Prepared] = []
    again: list[Prepared] = []
    keys: set[object] = set()
    names: set[ExecutionName] = set()
    for one in prepared:
        if one.key is not None and one.key.key in keys:
            again.append(one)
        elif one.new.id in names:
            outcomes[one.number] = _taken(one.new.id)
        else:
            first.append(one)
            names.add(one.new.id)
            keys.add(None if one.key is None else one.key.key)
    return first, again


def _first(failed: BaseException) -> BaseException:
    if isinstance(failed, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", failed).exceptions[0])
    return failed


def _portion_end(items: Sequence[item_pb2.LaunchItem], begin: int) -> int:
    size = 0
    for number in range(begin, min(begin + PORTION, len(items))):
        size += items[number].ByteSize()
        if size > PORTION_BYTES_MAX and number > begin:
            return number
    return min(begin + PORTION, len(items))


def _checked_names(item: item_pb2.LaunchItem) -> tuple[str, str]:
    """The name of an item and its key. Raises RefusedError."""
    name, idempotency_key = item.name, item.idempotency_key
    if name:
        try:
            check_name(name)
        except ApiError as error:
            raise refused("name", error) from error
    if len(idempotency_key.encode()) > KEY_BYTES_MAX:
        raise invalid_field("idempotency_key", f"at most {KEY_BYTES_MAX} bytes are allowed")
    return name, idempotency_key


def _existing(existing: ExecutionName, *, is_new: bool) -> outcome_pb2.LaunchOutcome:
    outcome = outcome_pb2.LaunchOutcome()
    outcome.status = outcome_pb2.LAUNCH_STATUS_CREATED if is_new else outcome_pb2.LAUNCH_STATUS_EXISTING
    execution = outcome.execution
    execution.project, execution.domain, execution.name = existing
    return outcome


def _taken(existing: ExecutionName) -> outcome_pb2.LaunchOutcome:
    return _conflict(existing, f"execution [{existing}] already exists", "name")


def _conflict(existing: ExecutionName, message: str, field: str) -> outcome_pb2.LaunchOutcome:
    project, domain, name = existing
    return outcome_pb2.LaunchOutcome(
        status=outcome_pb2.LAUNCH_STATUS_CONFLICT,
        execution=identity_pb2.ExecutionIdentifier(project=project, domain=domain, name=name),
        code=grpc.StatusCode.ALREADY_EXISTS.value[0],
        message=message,
        violations=[outcome_pb2.FieldViolation(field=field, description=message)],
    )
