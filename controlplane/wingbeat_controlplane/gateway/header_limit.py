"""Refuses requests whose head is out of proportion before anything looks at them."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class HeaderLimit:
    """ASGI middleware: 414 for path and query over `path_bytes_max` bytes, 431 for headers over `bytes_max`."""

    def __init__(self, app: ASGIApp, *, path_bytes_max: int, bytes_max: int) -> None:
        self._app = app
        self._path_bytes_max = path_bytes_max
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer."""
        app = self._app
        if scope["type"] == "http":
            if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > self._path_bytes_max:
                app = PlainTextResponse(f"path and query are longer than {self._path_bytes_max} bytes\n", 414)
            elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._bytes_max:
                app = PlainTextResponse(f"the headers are larger than {self._bytes_max} bytes\n", 431)
        await app(scope, receive, send)
