"""What watches the process: alive, ready, metrics."""

import asyncio

import httpx
import pytest
from tests.integration.gateway.conftest import Gateway

from wingbeat_controlplane.gateway import probes

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_alive(http: httpx.AsyncClient) -> None:
    """The process says that it lives; Flyte v1's probe gets an empty body."""
    assert (await http.get("/healthz")).text == "ok"
    answer = await http.get("/healthcheck")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_ready(gateway: Gateway, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready when every check passes; else 503 and the reason of each that does not, hanging ones too."""

    async def good() -> None:
        return

    async def bad() -> None:
        raise ConnectionRefusedError("no database")

    async def hanging() -> None:
        await asyncio.Event().wait()

    gateway.checks["good"] = good
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "failed": {}})
    gateway.checks["database"] = bad
    gateway.checks["blobs"] = hanging
    monkeypatch.setattr(probes, "CHECK_S_MAX", 0.05)
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failed"] == {"database": "no database", "blobs": "no answer within 0.05 s"}


async def test_metrics(http: httpx.AsyncClient) -> None:
    """Requests are counted by rpc and status; paths of strangers make no series of their own."""
    await http.get("/api/v1/version")
    for number in range(3):
        await http.get(f"/nothing/{number}")
    text = (await http.get("/metrics")).text
    assert 'wingbeat_http_requests_total{rpc="/flyteidl.service.AdminService/GetVersion",status="200"} 1.0' in text
    assert 'wingbeat_http_requests_total{rpc="none",status="404"} 3.0' in text
