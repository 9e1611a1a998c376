"""TCP ports of the installation: chosen once, then kept for it while server processes come and go.

A port is held by a socket that is bound, but does not listen, with SO_REUSEPORT: the server process, which sets that
option too, can bind beside it at any time, everyone else is refused.
"""

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass


class PortError(RuntimeError):
    """A port is taken or not allowed; the text names it and the option that changes it."""


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A port nobody else can take until `close`."""

    number: int
    _socket: socket.socket

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()


def bracketed(host: str) -> str:
    """The host as it stands before a port in an address."""
    return f"[{host}]" if ":" in host else host


def reachable_host(host: str) -> str:
    """The host of an address at which this machine reaches a server that listens on `host`."""
    return bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104  (compared, not bound)


def hold_port(host: str, port: int, option: str) -> HeldPort:
    """Reserve `port`, or a free one when it is 0. `option` is the flag that chooses it. Raises PortError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        if port:
            # The probe shares with nobody: it fails if anyone listens, even another installation with SO_REUSEPORT.
            # (The system gives out no free port that anyone else has bound, with that option or without.)
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise PortError(_sentence(host, port, option, error)) from error
    return HeldPort(held.getsockname()[1], held)


def _sentence(host: str, port: int, option: str, error: OSError) -> str:
    reasons: Mapping[int | None, str] = {
        errno.EADDRINUSE: "is taken by another program",
        errno.EACCES: "is not allowed to this user",
        errno.EADDRNOTAVAIL: "cannot be used: this machine does not have that address",
    }
    reason = reasons.get(error.errno, f"cannot be used: {error.strerror}")
    return f"port {port} on {host} {reason}; choose another with {option} (0: any free port)"
