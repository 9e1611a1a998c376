"""Ports of an engine that runs by itself, without a control plane: it has no clients that set signals, and nobody who
could launch executions for it. For benchmarks and tests of the engine."""

from collections.abc import Mapping, Sequence

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.ports.children import ChildEnd, ChildRefusedError, ChildRequest
from wingbeat_propeller.ports.signals import SignalKey
from wingbeat_propeller.ports.sources import SourceExecution


class NoSignals:
    """Satisfies `ports.Signals`: no signal is ever set."""

    async def open(self, wanted: Mapping[SignalKey, bytes]) -> Mapping[SignalKey, bytes]:
        """Nothing."""
        return {}


class NoSources:
    """Satisfies `ports.Sources`: nothing is left of any execution."""

    async def execution(self, execution: int) -> SourceExecution | None:
        """There is none."""
        return None

    async def nodes(self, asked: Sequence[tuple[int, str]]) -> Mapping[tuple[int, str], NodeRow]:
        """There are none."""
        return {}

    async def elements(self, execution: int, array_id: str, *, after: int, limit: int) -> Sequence[ElementRow]:
        """There are none."""
        return ()

    async def last_attempt(self, execution: int, array_id: str, element: int) -> int | None:
        """There is none."""
        return None


class NoChildren:
    """Satisfies `ports.Children`: every child is refused."""

    async def launch(self, request: ChildRequest) -> int:
        """Raises ChildRefusedError."""
        text = "this engine runs without a control plane, which would launch executions"
        raise ChildRefusedError(Failure(ErrorKind.SYSTEM, "RuntimeExecutionError", text))

    async def find(self, requests: Sequence[tuple[int, str, str]]) -> Mapping[tuple[int, str, str], int]:
        """There are none."""
        return {}

    async def ended(self, executions: Sequence[int]) -> Sequence[ChildEnd]:
        """There are none."""
        return ()

    async def abort(self, project: str, domain: str, name: str, cause: str) -> None:
        """There is none."""

    async def abort_orphans(self) -> int:
        """There are none."""
        return 0
