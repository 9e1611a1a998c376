"""The engine's side of one task host: starts it, stays connected, repeats what was not answered.

Whatever was asked about an attempt is kept until the host reports its end, and is asked again after every reconnection:
to a host that lives on this is a reminder, to a new one it is all there is to know, because the state of an attempt is
judged from its folder. So neither a killed host nor a killed engine loses an attempt or runs one twice.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

import structlog

from wingbeat_propeller.runtimes.local import host_address
from wingbeat_propeller.runtimes.local.host_address import HostStartError
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import Event, Request, TaskSpec, request

BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 10.0
FAILURES_MAX = 5
"""So many times in a row a host may fail to serve before the attempts that wait for it are given up."""
SETTLED_S = 5.0
"""A connection that lasted this long was a good one, even when nothing was said."""

_log = structlog.get_logger(__name__)


class HostLink:
    """Conversation with the host `key`, which runs under `interpreter`.

    `on_event` receives what the host reports; `on_given_up` receives the names of launched attempts that no host could
    be started for, and why.
    """

    def __init__(
        self,
        key: str,
        interpreter: str,
        *,
        preload: bool,
        options: LocalRuntimeOptions,
        on_event: Callable[[Event], None],
        on_given_up: Callable[[Sequence[str], str], None],
    ) -> None:
        self.key = key
        self._interpreter = interpreter
        self._preload = preload
        self._options = options
        self._on_event = on_event
        self._on_given_up = on_given_up
        self._launches: dict[str, TaskSpec] = {}
        self._adopted: set[str] = set()
        self._aborts: set[str] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._was_served = False

    async def run(self) -> None:
        """Keep a host alive and listen to it until cancelled; the host itself is left alone then."""
        failures = 0
        while True:
            began = time.monotonic()
            self._was_served = False
            try:
                await self._converse()
                reason = "the host closed the connection"
            except (OSError, HostStartError) as error:
                reason = str(error)
            failures = 0 if self._was_served or time.monotonic() - began > SETTLED_S else failures + 1
            _log.warning("a task host is not there", host=self.key, interpreter=self._interpreter, reason=reason)
            if failures >= FAILURES_MAX:
                self._give_up(reason)
            await asyncio.sleep(min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2**failures))

    async def launch(self, specs: Sequence[TaskSpec]) -> None:
        """Hand attempts over; waits while the host is slow to take them."""
        self._launches.update((spec["name"], spec) for spec in specs)
        await self._send(request("launch", tasks=specs))

    async def adopt(self, names: Sequence[str]) -> None:
        """Ask for the state of attempts that were started before."""
        self._adopted.update(names)
        await self._send(request("adopt", names=names))

    async def abort(self, names: Sequence[str]) -> None:
        """Have attempts stopped; nothing is reported of them any more."""
        for name in names:
            self._launches.pop(name, None)
        self._adopted.difference_update(names)
        self._aborts.update(names)
        await self._send(request("abort", names=names))

    def leave(self, name: str) -> None:
        """Another engine asks about this attempt from now on: it is not asked for again, should the host be lost."""
        self._launches.pop(name, None)
        self._adopted.discard(name)

    async def _converse(self) -> None:
        """One connection from beginning to end."""
        try:
            reader, writer = await host_address.connect(self._options.state_dir, self.key)
        except OSError:
            await host_address.start(self._options, self.key, self._interpreter, preload=self._preload)
            reader, writer = await host_address.connect(self._options.state_dir, self.key)
        try:
            self._writer = writer
            if self._launches:
                await self._send(request("launch", tasks=list(self._launches.values())))
            if self._adopted:
                await self._send(request("adopt", names=self._adopted))
            if self._aborts:
                await self._send(request("abort", names=self._aborts))
            while line := await reader.readline():
                self._receive(cast("Event", json.loads(line)))
        finally:
            self._writer = None
            writer.close()

    def _receive(self, event: Event) -> None:
        self._was_served = True
        name = event["name"]
        if event["event"] == "aborted":
            self._aborts.discard(name)
            return
        if name not in self._launches and name not in self._adopted:
            return  # it was aborted while its event was under way
        if event["event"] == "ended":
            self._launches.pop(name, None)
            self._adopted.discard(name)
        self._on_event(event)

    def _give_up(self, reason: str) -> None:
        names = [*self._launches, *self._adopted]
        self._launches.clear()
        self._adopted.clear()
        if names:
            self._on_given_up(names, reason)

    async def _send(self, message: Request) -> None:
        """Send now, or with the next connection: everything sent is remembered until it is answered."""
        writer = self._writer
        if writer is None:
            return
        writer.write(json.dumps(message).encode() + b"\n")
        try:
            await writer.drain()
        except ConnectionError:
            return  # the reading side sees it too, and reconnects
