"""Where all lines of an installation go: a file a role in the log folder, and the supervisor's own standard output.

Children write JSON lines. The files keep them as they are; a terminal gets them rendered for people, any other output
gets JSON. Roles named quiet are for their file only. A file is moved to `<role>.log.1` at start and when it passes its
limit, so two generations stay.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TextIO

import orjson

from wingbeat_controlplane.logging import LogFormat, console_renderer, parse_line

_FILE_BYTES_MAX = 64 << 20


class LogSink:
    """Files in `folder`, and `out`."""

    def __init__(self, folder: Path, log_format: LogFormat, out: TextIO, quiet: Collection[str] = ()) -> None:
        self._folder = folder
        self._out = out
        self._quiet = frozenset(quiet)
        self._render = console_renderer() if log_format == "console" else None
        self._files: dict[str, _BoundedFile] = {}

    def write(self, role: str, line: str) -> None:
        """Take one line of a role. A full disk or a closed terminal loses the line, never stops the supervisor."""
        try:
            file = self._files.get(role)
            if file is None:
                file = self._files[role] = _BoundedFile(self._folder / f"{role}.log")
            file.write(line)
            if role not in self._quiet:
                self._out.write(self._shown(role, line) + "\n")
                self._out.flush()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _shown(self, role: str, line: str) -> str:
        event = parse_line(line, role)
        if self._render is None:
            return line if len(event) > 2 else orjson.dumps(event, default=str).decode()
        return self._render(None, "", event)


class _BoundedFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size = 0
        self._open()

    def write(self, line: str) -> None:
        data = line.encode(errors="replace") + b"\n"
        if self._size + len(data) > _FILE_BYTES_MAX:
            self.close()
            self._open()
        os.write(self._descriptor, data)
        self._size += len(data)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._path.exists():
            self._path.replace(self._path.with_suffix(".log.1"))
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = 0
