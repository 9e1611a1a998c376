"""What watches the process from outside: is it alive, can it work, what does it count."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when a part can work, raises an exception with the reason when it cannot."""

CHECK_S_MAX = 3.0
"""A check that takes longer counts as failed."""

_log = structlog.get_logger(__name__)


def probe_routes(checks: Mapping[str, Check], registry: CollectorRegistry) -> list[Route]:
    """`/healthz`, `/healthcheck`, `/readyz` and `/metrics`. `checks` are run side by side at each request."""

    async def ready(_: Request) -> Response:
        reasons = await asyncio.gather(*(_reason(name, check) for name, check in checks.items()))
        failed = {name: reason for name, reason in zip(checks, reasons, strict=True) if reason is not None}
        body = orjson.dumps({"ready": not failed, "failed": failed})
        return Response(body, status_code=503 if failed else 200, media_type="application/json")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [
        Route("/healthz", _alive),
        Route("/healthcheck", _empty),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _empty(_: Request) -> Response:
    return Response(status_code=200)


async def _reason(name: str, check: Check) -> str | None:
    """Why a part cannot work; None when it can."""
    try:
        async with asyncio.timeout(CHECK_S_MAX):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_S_MAX:g} s"
    except Exception as error:  # noqa: BLE001 whatever a check raises is the reason it is asked for
        _log.warning("not ready", part=name, reason=repr(error))
        return str(error) or type(error).__name__
    return None
