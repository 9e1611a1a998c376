"""Many launches at a time: what CreateExecution checks is checked for each, what they share is looked up once.

Items are worked through in portions. A portion is two statements and a commit, keys first, then executions with tags
and notification; while one commits, the next is prepared. Items that need more than that (inputs too large for a row,
or known from elsewhere, launch plans with an overlap policy) have a transaction each. An item that cannot be launched
is an outcome like any other. Whoever is killed leaves whole portions, and callers who repeat items with keys are told
what was launched.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import asyncpg
import grpc
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.artifact_inputs import with_artifacts
from wingbeat_controlplane.executions.identifiers import execution_label
from wingbeat_controlplane.executions.insertion import insert_executions
from wingbeat_controlplane.executions.launch import Caller, Launcher, completed, known_inputs
from wingbeat_controlplane.executions.names import check_name, generated_name
from wingbeat_controlplane.executions.new_execution import NewExecution
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


@dataclass(frozen=True, slots=True)
class Prepared:
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
        outcomes = [outcome_pb2.LaunchOutcome() for _ in items]
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
        for number in range(begin, end):
            item = items[number]
            key: LaunchKey | None = None
            try:
                settings = lookups.settings(item)
                inputs = lookups.inputs(item)
                _check_names(item)
                name = item.name or (generated_name() if names is None else names(number))
                if item.idempotency_key:
                    content = content_of(settings.digest, item.name.encode(), inputs.content())
                    key = LaunchKey(key_of(settings.project, settings.domain, item.idempotency_key), content, name)
                decision = await lookups.decision(settings)
                literals = inputs.for_target(decision.target.expected)
                try:
                    finder = self._launcher.artifact_inputs
                    artifacts = await finder.find(settings.project, settings.domain, decision.target, literals)
                    literals = with_artifacts(literals, artifacts)
                    completion = completed(decision.target, literals)
                except ApiError as error:
                    raise refused("inputs", error) from error
                user_inputs = literals.SerializeToString()
                identifier = identifier_pb2.WorkflowExecutionIdentifier(
                    project=settings.project, domain=settings.domain, name=name
                )
                new = NewExecution(
                    identifier,
                    decision,
                    user_inputs + completion,
                    user_inputs,
                    is_named=bool(item.name),
                    known_inputs=known_inputs(decision.target, literals, artifacts),
                    used_artifacts=[(found.id, name) for name, found in artifacts.items()],
                )
                prepared.append(Prepared(number, key, new))
            except RefusedError as error:
                outcomes[number] = error.outcome()
                if key is not None:
                    settings = lookups.settings(item)
                    repeated.append(Repeated(number, key, settings.project, settings.domain))
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
        return prepared, repeated

    async def _write(
        self,
        prepared: Sequence[Prepared],
        repeated: Sequence[Repeated],
        outcomes: list[outcome_pb2.LaunchOutcome],
    ) -> None:
        first, again = _unique(prepared, outcomes)
        together = [one for one in first if not _is_alone(one)]
        alone = [one for one in first if _is_alone(one)]
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
            missed = [one for one in mine if _name(one.new) not in created]
            if any(one.key is not None for one in missed):
                await give_back(connection, [one.key.key for one in missed if one.key is not None])
        shards = {_name(one.new): one.new.shard for one in mine}
        self._launcher.announcer.announce((shards[name], key) for name, key in created.items())
        for one in mine:
            outcomes[one.number] = (
                _existing(one.new.identifier, is_new=True) if _name(one.new) in created else _taken(one.new.identifier)
            )
        return [one for one in prepared if one.key is not None and one.key.key not in taken]

    async def _write_alone(self, one: Prepared, outcomes: list[outcome_pb2.LaunchOutcome]) -> Prepared | None:
        """Launch one, or give it back if its key is taken."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if one.key is not None and not await take_keys(connection, [one.key]):
                    return one
                key = await self._launcher.insert(connection, one.new)
                if key is None:
                    outcomes[one.number] = _taken(one.new.identifier)
                    if one.key is not None:
                        await give_back(connection, [one.key.key])
                    return None
        except ApiError as error:
            outcomes[one.number] = refused("target", error).outcome()
        else:
            self._launcher.announcer.announce([(one.new.shard, key)])
            outcomes[one.number] = _existing(one.new.identifier, is_new=True)
        return None

    async def _settle(
        self,
        found: Sequence[Prepared],
        repeated: Sequence[Repeated],
        outcomes: list[outcome_pb2.LaunchOutcome],
    ) -> None:
        """Say of items whose key is taken what has it, and of refused ones whether they were launched before."""
        asked = [
            *(
                (one.number, one.key, one.new.identifier.project, one.new.identifier.domain)
                for one in found
                if one.key is not None
            ),
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
            identifier = identifier_pb2.WorkflowExecutionIdentifier(project=project, domain=domain, name=known.name)
            if known.content == key.content:
                outcomes[number] = _existing(identifier, is_new=False)
            elif number not in refused_before:
                outcomes[number] = _conflict(
                    identifier,
                    f"the idempotency key was used for another item: execution [{execution_label(identifier)}]",
                    "idempotency_key",
                )


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
    names: set[tuple[str, str, str]] = set()
    for one in prepared:
        if one.key is not None and one.key.key in keys:
            again.append(one)
        elif _name(one.new) in names:
            outcomes[one.number] = _taken(one.new.identifier)
        else:
            first.append(one)
            names.add(_name(one.new))
            keys.add(None if one.key is None else one.key.key)
    return first, again


def _first(failed: BaseException) -> BaseException:
    if isinstance(failed, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", failed).exceptions[0])
    return failed


def _portion_end(items: Sequence[item_pb2.LaunchItem], begin: int) -> int:
    size = 0
    for number in range(begin, min(begin + PORTION, len(items))):
        inputs = items[number].inputs
        size += len(inputs.literals) + len(inputs.json)
        if size > PORTION_BYTES_MAX and number > begin:
            return number
    return min(begin + PORTION, len(items))


def _check_names(item: item_pb2.LaunchItem) -> None:
    if item.name:
        try:
            check_name(item.name)
        except ApiError as error:
            raise refused("name", error) from error
    if len(item.idempotency_key.encode()) > KEY_BYTES_MAX:
        raise invalid_field("idempotency_key", f"at most {KEY_BYTES_MAX} bytes are allowed")


def _is_alone(one: Prepared) -> bool:
    return one.new.needs_transaction


def _name(new: NewExecution) -> tuple[str, str, str]:
    return new.identifier.project, new.identifier.domain, new.identifier.name


def _identifier(identifier: identifier_pb2.WorkflowExecutionIdentifier) -> identity_pb2.ExecutionIdentifier:
    return identity_pb2.ExecutionIdentifier(project=identifier.project, domain=identifier.domain, name=identifier.name)


def _existing(identifier: identifier_pb2.WorkflowExecutionIdentifier, *, is_new: bool) -> outcome_pb2.LaunchOutcome:
    return outcome_pb2.LaunchOutcome(
        status=outcome_pb2.LAUNCH_STATUS_CREATED if is_new else outcome_pb2.LAUNCH_STATUS_EXISTING,
        execution=_identifier(identifier),
    )


def _taken(identifier: identifier_pb2.WorkflowExecutionIdentifier) -> outcome_pb2.LaunchOutcome:
    return _conflict(identifier, f"execution [{execution_label(identifier)}] already exists", "name")


def _conflict(
    identifier: identifier_pb2.WorkflowExecutionIdentifier, message: str, field: str
) -> outcome_pb2.LaunchOutcome:
    return outcome_pb2.LaunchOutcome(
        status=outcome_pb2.LAUNCH_STATUS_CONFLICT,
        execution=_identifier(identifier),
        code=grpc.StatusCode.ALREADY_EXISTS.value[0],
        message=message,
        violations=[outcome_pb2.FieldViolation(field=field, description=message)],
    )
