"""One connection of an engine: lines in, lines out, never blocking."""

from __future__ import annotations

import json
import socket
from typing import cast

from .messages import MESSAGE_BYTES_MAX, Event, Request


class ConnectionClosedError(Exception):
    """The other side is gone, or broke the limits; the connection is of no more use."""


class Connection:
    """Buffers of a non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._received = bytearray()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """Descriptor to wait on."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether the other side has not yet taken everything."""
        return bool(self._unsent)

    def read(self) -> list[Request]:
        """Requests that have fully arrived. Raises ConnectionClosedError."""
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ConnectionClosedError from error
        self._received += data
        if not data or len(self._received) > MESSAGE_BYTES_MAX:
            raise ConnectionClosedError
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        try:
            return [cast("Request", json.loads(line)) for line in lines]
        except ValueError as error:
            raise ConnectionClosedError from error

    def send(self, event: Event) -> None:
        """Queue an event; `flush` sends it."""
        self._unsent += json.dumps(event).encode() + b"\n"

    def flush(self) -> None:
        """Send what the other side takes now. Raises ConnectionClosedError, also when it has stopped reading."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                if len(self._unsent) > MESSAGE_BYTES_MAX:
                    raise ConnectionClosedError from None
                return
            except OSError as error:
                raise ConnectionClosedError from error
            del self._unsent[:sent]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
