"""Refuses requests whose head is out of proportion before anything looks at them."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class HeaderLimit:
    """ASGI middleware: 414 for a longer path and query, 431 for larger headers than `bytes_max`, each by itself."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer."""
        app = self._app
        if scope["type"] == "http":
            if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > self._bytes_max:
                app = PlainTextResponse(f"path and query are longer than {self._bytes_max} bytes\n", 414)
            elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._bytes_max:
                app = PlainTextResponse(f"the headers are larger than {self._bytes_max} bytes\n", 431)
        await app(scope, receive, send)
