"""Gates that wait for a signal: a table in memory, and a look at the database when something may have been set.

A gate that waits costs its entry here and nothing else. `wake` hears of every signal that is set anywhere; a slow look
at everything covers what was not heard. Nothing here survives a crash: the gates of a rebuilt execution ask again.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

from wingbeat_propeller.core.effects import AwaitSignal
from wingbeat_propeller.core.events import Event, SignalReceived
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.ports.signals import SignalKey, Signals

_log = structlog.get_logger(__name__)
_WAITING = Gauge("wingbeat_gates_waiting", "Signals that gates wait for")

PAGE = 500
"""Signals looked at in one statement."""
_RETRY_S = 0.5

_Execution = tuple[str, str, str]


class _Gate(NamedTuple):
    live: LiveExecution
    command: AwaitSignal


class SignalKeeper:
    """Sends SignalReceived to every gate whose signal has a value; looks at all of them every `poll_s` seconds."""

    def __init__(
        self,
        signals: Signals,
        *,
        apply: Callable[[LiveExecution, Event], None],
        clock: Callable[[], float],
        poll_s: float = 30.0,
    ) -> None:
        self._signals = signals
        self._apply = apply
        self._clock = clock
        self._poll_s = poll_s
        self._gates: dict[SignalKey, list[_Gate]] = {}
        self._by_execution: dict[_Execution, set[SignalKey]] = {}
        self._to_look: dict[SignalKey, None] = {}
        self._work = asyncio.Event()
        _WAITING.set_function(lambda: len(self._gates))

    def wait(self, live: LiveExecution, command: AwaitSignal) -> None:
        """A gate begins to wait."""
        key = SignalKey(*_name(live), command.signal_id)
        self._gates.setdefault(key, []).append(_Gate(live, command))
        self._by_execution.setdefault(key[:3], set()).add(key)
        self._look([key])

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended, or belongs to another process from now on."""
        for key in self._by_execution.pop(_name(live), ()):
            self._gates.pop(key, None)
            self._to_look.pop(key, None)

    def wake(self, payload: str) -> None:
        """A signal of the execution `project:domain:name` was set; empty: of any."""
        if not payload:
            self._look(self._gates)
            return
        project, _, rest = payload.partition(":")
        domain, _, name = rest.partition(":")
        self._look(self._by_execution.get((project, domain, name), ()))

    async def run(self) -> None:
        """Live until cancelled. An outage of the database only delays."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._work.wait()
            if not self._work.is_set():
                self._look(self._gates)
            self._work.clear()
            while self._to_look:
                page = list(self._to_look)[:PAGE]
                try:
                    await self._read(page)
                except OSError as error:
                    _log.warning("signals not read, trying again", error=str(error))
                    await asyncio.sleep(_RETRY_S)

    async def _read(self, page: list[SignalKey]) -> None:
        for key in page:
            self._to_look.pop(key, None)  # whoever sets one from now on calls for another look
        wanted = {key: self._gates[key][0].command.signal_type for key in page if key in self._gates}
        try:
            values = await self._signals.open(wanted)
        except OSError:
            self._look(wanted)
            raise
        for key, value in values.items():
            gates = self._gates.pop(key, [])
            self._by_execution.get(key[:3], set()).discard(key)
            for gate in gates:
                self._apply(gate.live, SignalReceived(self._clock(), gate.command.ref, value))

    def _look(self, keys: Iterable[SignalKey]) -> None:
        self._to_look.update(dict.fromkeys(keys))
        if self._to_look:
            self._work.set()


def _name(live: LiveExecution) -> _Execution:
    return (live.state.project, live.state.domain, live.state.name)
