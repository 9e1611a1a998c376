"""What changes executions that exist: abort, relaunch, recovery, values for gates."""

from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wingbeat.core import ADMIN, PAGE, ExecutionRef, pages
from wingbeat.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from wingbeat.identifiers import ExecutionId, new_name
from wingbeat.reading import Reading

if TYPE_CHECKING:
    from flyteidl.admin import signal_pb2
    from flyteidl.core import types_pb2

    from wingbeatidl.recovery.v1 import recovery_pb2

_SIGNALS = "/flyteidl.service.SignalService/"


@dataclass(frozen=True, slots=True)
class Signal:
    """A value that a gate of an execution waits for, or has got."""

    execution: ExecutionId
    id: str
    value: Any
    """None while it is waited for."""
    is_set: bool
    type: "types_pb2.LiteralType" = field(repr=False, compare=False)


class Changing(Reading):
    """Changes of executions."""

    async def terminate(self, execution: ExecutionRef, cause: str = "") -> None:
        """Abort an execution; `cause` is for people. Raises FailedPreconditionError for one that has ended."""
        from flyteidl.admin import execution_pb2

        request = execution_pb2.ExecutionTerminateRequest(id=self.execution_id(execution).flyte(), cause=cause)
        await self.call(f"{ADMIN}TerminateExecution", request, execution_pb2.ExecutionTerminateResponse)

    async def relaunch(self, execution: ExecutionRef, *, name: str = "", overwrite_cache: bool = False) -> ExecutionId:
        """The same once more, as a new execution."""
        from flyteidl.admin import execution_pb2

        identifier = self.execution_id(execution)
        made = ExecutionId(identifier.project, identifier.domain, name or new_name())
        request = execution_pb2.ExecutionRelaunchRequest(
            id=identifier.flyte(), name=made.name, overwrite_cache=overwrite_cache
        )
        call = self.call(f"{ADMIN}RelaunchExecution", request, execution_pb2.ExecutionCreateResponse)
        return await self._once(made, call, is_new=not name)

    async def recover(
        self,
        execution: ExecutionRef,
        *,
        version: str = "",
        rerun: Iterable[str] = (),
        assume_unchanged: Iterable[str] = (),
        name: str = "",
    ) -> ExecutionId:
        """A new execution that takes over what succeeded in this one; with `version`, of mended code."""
        source = self.execution_id(execution)
        made = ExecutionId(source.project, source.domain, name or new_name())
        call = self.plan_recovery(
            source, version=version, rerun=rerun, assume_unchanged=assume_unchanged, name=made.name, dry_run=False
        )
        return await self._once(made, call, is_new=not name)

    async def _once(self, made: ExecutionId, call: Coroutine[Any, Any, object], *, is_new: bool) -> ExecutionId:
        """Make an execution; one whose name `is_new` may have been made by a try of the call whose answer was lost."""
        try:
            await call
        except AlreadyExistsError:
            if not is_new or not await self.exists(made):
                raise
        return made

    async def plan_recovery(
        self,
        execution: ExecutionRef,
        *,
        version: str = "",
        rerun: Iterable[str] = (),
        assume_unchanged: Iterable[str] = (),
        name: str = "",
        dry_run: bool = True,
        nodes_max: int = 0,
    ) -> "recovery_pb2.RecoverExecutionResponse":
        """What a recovery takes over and what it runs, node by node, of `nodes_max` (10,000; 0: 1,000) nodes at most;
        starts nothing unless `dry_run` is False."""
        from wingbeatidl.recovery.v1 import recovery_pb2

        request = recovery_pb2.RecoverExecutionRequest(
            execution=self.execution_id(execution).wingbeat(),
            name=name or ("" if dry_run else new_name()),
            version=version,
            rerun=rerun,
            assume_unchanged=assume_unchanged,
            dry_run=dry_run,
            nodes_max=nodes_max,
        )
        method = "/wingbeatidl.recovery.v1.RecoveryService/RecoverExecution"
        return await self.call(method, request, recovery_pb2.RecoverExecutionResponse)

    async def signals(self, execution: ExecutionRef, *, limit: int | None = None) -> AsyncIterator[Signal]:
        """Values that gates of an execution wait for or have got."""
        from flyteidl.admin import signal_pb2

        identifier = self.execution_id(execution).flyte()

        async def fetch(token: str) -> tuple[list[Signal], str]:
            request = signal_pb2.SignalListRequest(workflow_execution_id=identifier, limit=PAGE, token=token)
            page = await self.call(f"{_SIGNALS}ListSignals", request, signal_pb2.SignalList)
            return [_signal_of(one) for one in page.signals], page.token

        async for signal in pages(fetch, limit):
            yield signal

    async def signal(self, execution: ExecutionRef, signal: str, value: Any = True) -> None:
        """Give a gate its value: what it asks for, or True (False) for an approval.

        Raises NotFoundError while no gate of that name waits, FailedPreconditionError when the execution has ended,
        ConversionError for a value of another type.
        """
        from flyteidl.admin import signal_pb2
        from flyteidl.core import identifier_pb2

        from wingbeat.literals.encode import encode

        identifier = self.execution_id(execution)
        known = [one async for one in self.signals(identifier)]
        found = next((one for one in known if one.id == signal), None)
        if found is None:
            waiting = ", ".join(one.id for one in known if not one.is_set) or "no other"
            raise NotFoundError("NOT_FOUND", f"no gate of {identifier} waits for {signal!r}; waited for: {waiting}")
        literal = encode(value, found.type, signal)
        if (await self.execution(identifier)).ended:
            raise FailedPreconditionError("FAILED_PRECONDITION", f"{identifier} has ended: no gate waits any more")
        request = signal_pb2.SignalSetRequest(
            id=identifier_pb2.SignalIdentifier(signal_id=signal, execution_id=identifier.flyte()),
            value=literal,
        )
        await self.call(f"{_SIGNALS}SetSignal", request, signal_pb2.SignalSetResponse)


def _signal_of(message: "signal_pb2.Signal") -> Signal:
    from wingbeat.literals.decode import decode

    return Signal(
        execution=ExecutionId.of(message.id.execution_id),
        id=message.id.signal_id,
        value=decode(message.value),
        is_set=message.value.WhichOneof("value") is not None,
        type=message.type,
    )
