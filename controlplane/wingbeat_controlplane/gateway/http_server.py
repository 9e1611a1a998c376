"""The HTTP port: uvicorn in the event loop that serves gRPC, so that both sides of the server share one process."""

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_BACKLOG = 2048


class HttpServer:
    """Listens from the moment it is made, answers while `run` runs. `reuse_port`: a supervisor holds the port for us,
    bound with SO_REUSEPORT. Raises OSError for a port that is taken.
    """

    def __init__(self, application: ASGIApp, *, host: str, port: int, reuse_port: bool) -> None:
        self._socket = _listen(host, port, reuse_port=reuse_port)
        self._server = _Server(
            uvicorn.Config(
                application,
                loop="none",
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
            )
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._socket.getsockname()[1]

    async def run(self, grace_s: float) -> None:
        """Answer requests until `stop`; those under way then have `grace_s` seconds."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no new requests; `run` ends soon."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to the role, not to one of its two servers."""
        yield


def _listen(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
