"""Logs of local tasks over HTTP."""

import httpx
import pytest
from tests.integration.gateway.conftest import Gateway, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_logs(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Both streams of an attempt come as plain text, large ones whole."""
    folder = gateway.state / "tasks" / "f123-n0-0"
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_bytes("é\n".encode() * 500_000)
    (folder / "stderr.log").write_bytes(b"")
    answer = await http.get("/logs/f123-n0-0/stdout.log")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "é\n" * 500_000
    answer = await http.get("/logs/f123-n0-0/stderr.log")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_the_rest_of_a_log(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Who has read so far gets what follows, and 416 as long as there is nothing more."""
    folder = gateway.state / "tasks" / "f124-n0-0"
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_bytes(b"0123456789")
    answer = await http.get("/logs/f124-n0-0/stdout.log", headers={"Range": "bytes=4-"})
    assert (answer.status_code, answer.content) == (206, b"456789")
    assert answer.headers["content-range"] == "bytes 4-9/10"
    answer = await http.get("/logs/f124-n0-0/stdout.log", headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.content) == (416, b"")
    answer = await http.get("/logs/f124-n0-0/stdout.log", headers={"Range": "lines=1-"})
    assert (answer.status_code, answer.content) == (200, b"0123456789")


async def test_a_task_in_a_worker_that_wrote_nothing(http: httpx.AsyncClient) -> None:
    """Its log is empty, though there is no file; so it is for who follows it, and nothing else is found that way."""
    answer = await http.get("/logs/f125-n0-0/stdout.log?from=worker")
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await http.get("/logs/f125-n0-0/stdout.log?from=worker", headers={"Range": "bytes=0-"})
    assert answer.status_code == 416
    answer = await http.get("/logs/f125-n0-0/exit.json?from=worker")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/logs/absent/stdout.log",
        "/logs/f1/exit.json",
        "/logs/f1/link.log",
        "/logs/f1/stderr.log",
        "/logs/../stdout.log",
        "/logs/%2e%2e/stdout.log",
        "/logs/..%2fother/stdout.log",
        "/logs/f1%2f..%2ff2/stdout.log",
        "/logs/f1/..%2f..%2fsecret",
        "/logs/f1/stdout.log%00",
        "/logs/" + "n" * 300 + "/stdout.log",
    ],
)
async def test_nothing_else(gateway: Gateway, path: str) -> None:
    """Only the two logs of an attempt are served: no other file, no way out, no symlink a task may have put there."""
    folder = gateway.state / "tasks" / "f1"
    folder.mkdir(parents=True)
    (gateway.state / "secret").write_text("secret")
    (folder / "exit.json").write_text("secret")
    (folder / "stderr.log").symlink_to(gateway.state / "secret")
    status, body = await raw_request(gateway.port, f"GET {path} HTTP/1.1".encode())
    assert status == 404
    assert b"secret" not in body
