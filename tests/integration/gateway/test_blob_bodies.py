"""Signed URLs over HTTP: what they let through, what they refuse, and how little memory a body takes."""

import asyncio
import base64
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.integration.gateway.conftest import Gateway, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = b"some bytes"
MD5 = hashlib.md5(BODY).digest()


async def put_path(gateway: Gateway, name: str, *, md5: bytes | None = None, size_max: int = 1000) -> str:
    """Path of a URL signed for writing."""
    signed = await gateway.signer.sign_put(f"{gateway.blobs.base}/{name}", expires_in_s=60, md5=md5, size_max=size_max)
    return signed.url.removeprefix("http://gateway")


async def get_path(gateway: Gateway, name: str) -> str:
    """Path of a URL signed for reading."""
    signed = await gateway.signer.sign_get(f"{gateway.blobs.base}/{name}", expires_in_s=60)
    return signed.url.removeprefix("http://gateway")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for part in parts:
        yield part


@pytest.mark.parametrize("name", ["a/b.tar.gz", "with blank/é", "100%", "a%2Fb", "q?x#y", "a+b", "~*[x]"])
async def test_write_and_read(gateway: Gateway, http: httpx.AsyncClient, name: str) -> None:
    """What is PUT under a signed URL is GET under another; both answers are as clients want them."""
    answer = await http.put(await put_path(gateway, name), content=BODY)
    assert (answer.status_code, answer.content) == (200, b"")
    assert await gateway.blobs.get(f"{gateway.blobs.base}/{name}") == BODY
    url = await get_path(gateway, name)
    answer = await http.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, BODY, str(len(BODY)))
    head = await http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(BODY)))


@pytest.mark.parametrize("parts", [[], [b""], [BODY], [b"x"] * 900])
async def test_chunked(gateway: Gateway, http: httpx.AsyncClient, parts: list[bytes]) -> None:
    """Bodies of unknown length are taken, the empty one too."""
    assert (await http.put(await put_path(gateway, "x"), content=pieces(*parts))).status_code == 200
    assert await gateway.blobs.get(f"{gateway.blobs.base}/x") == b"".join(parts)


async def test_content_md5(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A named MD5 is verified, whether the header or the URL names it; on mismatch nothing is stored."""
    free, bound = await put_path(gateway, "free"), await put_path(gateway, "bound", md5=MD5)
    right = {"Content-MD5": base64.b64encode(MD5).decode()}
    other = {"Content-MD5": base64.b64encode(b"0" * 16).decode()}
    for url, headers, body in (
        (free, other, BODY),
        (bound, {}, b"other"),
        (bound, right, b"other"),
        (bound, other, BODY),
        (free, {"Content-MD5": "???"}, BODY),
        (free, {"Content-MD5": "AAAA"}, BODY),
    ):
        answer = await http.put(url, content=body, headers=headers)
        assert answer.status_code == 400
        assert "MD5" in answer.text
    assert await gateway.blobs.list(gateway.blobs.base) == []
    for url, headers in ((free, right), (free, {}), (bound, right), (bound, {})):
        assert (await http.put(url, content=BODY, headers=headers)).status_code == 200


async def test_size(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """More than the URL allows is 413 whether announced or not, and leaves nothing; the limit itself is allowed."""
    url = await put_path(gateway, "x", size_max=1000)
    for body in (b"x" * 1001, pieces(b"x" * 600, b"x" * 600), b"x" * 2_000_000):
        answer = await http.put(url, content=body)
        assert answer.status_code == 413
        assert "larger" in answer.text
    assert await gateway.blobs.list(gateway.blobs.base) == []
    assert (await http.put(url, content=b"x" * 1000)).status_code == 200


async def test_altered_and_expired(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """An altered URL, one for another verb and an expired one are 403, each in its own words; nothing happens."""
    await gateway.blobs.put(f"{gateway.blobs.base}/x", BODY)
    read, write = await get_path(gateway, "x"), await put_path(gateway, "y")
    for verb, url in (
        ("GET", read.replace("/x", "/other")),
        ("GET", read.replace("get-", "get-9")),
        ("GET", read[:-3] + ("1/x" if read[-3] == "0" else "0/x")),
        ("GET", write),
        ("GET", "/blobs/x"),
        ("GET", "/blobs/"),
        ("GET", "/blobs//x"),
        ("PUT", read),
        ("PUT", write.replace("-1000-", "-9999-")),
    ):
        answer = await http.request(verb, url, content=b"new" if verb == "PUT" else None)
        assert answer.status_code == 403, url
        assert "sign" in answer.text
    gateway.clock[0] += 61
    for verb, url in (("GET", read), ("PUT", write)):
        answer = await http.request(verb, url, content=b"new" if verb == "PUT" else None)
        assert answer.status_code == 403
        assert "expired" in answer.text
    assert await gateway.blobs.list(gateway.blobs.base) == [f"{gateway.blobs.base}/x"]


@pytest.mark.parametrize(
    "tail", ["../../etc/passwd", "%2e%2e/x", "%252e%252e/x", "..%2fx", "x/..", "%00", "%ff", "%", ".partial/x", "a//x"]
)
async def test_path_tricks(gateway: Gateway, tail: str) -> None:
    """No way of writing a path gets behind its signature."""
    (gateway.folder / "x").write_text("secret")
    await gateway.blobs.put(f"{gateway.blobs.base}/a/x", BODY)
    seal = (await get_path(gateway, "a/x")).split("/")[2]
    status, body = await raw_request(gateway.port, f"GET /blobs/{seal}/{tail} HTTP/1.1".encode())
    assert status == 403
    assert b"secret" not in body


async def test_absent(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A good URL of an absent object is 404; one of a folder too, and a folder cannot be overwritten."""
    await gateway.blobs.put(f"{gateway.blobs.base}/folder/x", BODY)
    for name in ("absent", "folder"):
        assert (await http.get(await get_path(gateway, name))).status_code == 404
    assert (await http.put(await put_path(gateway, "folder"), content=BODY)).status_code == 400
    assert (await http.delete(await put_path(gateway, "x"))).status_code == 405


async def test_decks(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A deck is a page for browsers, locked into an origin of its own; other objects are not sniffed into pages."""
    await gateway.blobs.put(f"{gateway.blobs.base}/a/deck.html", b"<html>")
    answer = await http.get(await get_path(gateway, "a/deck.html"))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    await gateway.blobs.put(f"{gateway.blobs.base}/a/x", b"<html>")
    answer = await http.get(await get_path(gateway, "a/x"))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_broken_upload(gateway: Gateway) -> None:
    """A client that goes away in the middle leaves nothing, neither an object nor a partial file."""
    url = await put_path(gateway, "x", size_max=1 << 30)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"PUT {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n".encode() + b"x" * 3_000_000)
    await writer.drain()
    partial = gateway.store / ".partial"
    async with asyncio.timeout(60):
        while not os.listdir(partial):
            await asyncio.sleep(0)
    writer.close()
    await reader.read()
    async with asyncio.timeout(60):
        while os.listdir(partial):
            await asyncio.sleep(0)
    assert await gateway.blobs.list(gateway.blobs.base) == []


async def test_large_bodies(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """64 MiB pass in and out while client and server together never hold more than a small part of them."""
    piece = os.urandom(1 << 20)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield piece

    tracemalloc.start()
    try:
        assert (await http.put(await put_path(gateway, "x", size_max=64 << 20), content=body())).status_code == 200
        digest, size = hashlib.md5(), 0
        async with http.stream("GET", await get_path(gateway, "x")) as answer:
            async for chunk in answer.aiter_bytes():
                digest.update(chunk)
                size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 64 << 20
    assert digest.digest() == hashlib.md5(piece * 64).digest()
    assert peak < 24 << 20
