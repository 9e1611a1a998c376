"""Keeps what workers send of the output of tasks where that of local tasks lies, so that people find both alike.

Written by one thread beside the loop, in order; what comes faster than it can be written is dropped beyond a bound, and
said so in the log itself.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import Counter

from wingbeat_propeller.ports.runtime import LogLink
from wingbeat_propeller.runtimes.local.paths import LogStream, log_file

BUFFERED_BYTES_MAX = 64 << 20
"""Output of all workers that waits to be written."""
_CUT = b"\n[wingbeat: what follows was left out, the log is too long]\n"
_MARK = "?from=worker"
"""Of links: what the server's gateway knows them by."""
_DROPPED = Counter("wingbeat_worker_log_bytes_dropped", "Output of tasks in workers that was not kept")

_log = structlog.get_logger(__name__)


class LogFiles:
    """`bytes_max` is kept of each stream of an attempt."""

    def __init__(self, state_dir: Path, url_base: str, bytes_max: int) -> None:
        self._state_dir = state_dir
        self._url_base = url_base
        self._bytes_max = bytes_max
        self._kept: dict[tuple[str, LogStream], int] = {}
        self._buffer: list[tuple[str, LogStream, bytes]] = []
        self._buffered = 0
        self._more = asyncio.Event()

    def links(self, name: str) -> Sequence[LogLink]:
        """Where people find what the attempt has written. One that has written nothing has no file; the links say that
        a missing file counts as an empty one."""
        base = f"{self._url_base}/{name}"
        return (LogLink("stdout", f"{base}/stdout.log{_MARK}"), LogLink("stderr", f"{base}/stderr.log{_MARK}"))

    def add(self, name: str, stream: LogStream, content: bytes) -> None:
        """Keep output of an attempt."""
        key = (name, stream)
        kept = self._kept.get(key, 0)
        if kept >= self._bytes_max or self._buffered + len(content) > BUFFERED_BYTES_MAX:
            _DROPPED.inc(len(content))
            return
        self._kept[key] = kept + len(content)
        if self._kept[key] >= self._bytes_max:
            content += _CUT
        self._buffer.append((name, stream, content))
        self._buffered += len(content)
        self._more.set()

    def forget(self, name: str) -> None:
        """Nothing more comes of this attempt."""
        for stream in ("stdout", "stderr"):
            self._kept.pop((name, stream), None)

    async def run(self) -> None:
        """Write until cancelled; what is there by then is written."""
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                await self._write()
        finally:
            if self._buffer:
                await asyncio.shield(self._write())

    async def _write(self) -> None:
        batch, self._buffer = self._buffer, []
        size, self._buffered = self._buffered, 0
        try:
            await asyncio.to_thread(self._append, batch)
        except OSError as error:
            _DROPPED.inc(size)
            _log.warning("output of tasks in workers was not kept", error=str(error))

    def _append(self, batch: Sequence[tuple[str, LogStream, bytes]]) -> None:
        for name, stream, content in batch:
            path = log_file(self._state_dir, name, stream)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(content)
