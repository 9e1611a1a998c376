"""The same streams as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from flyteidl.core import literals_pb2
from tests.integration.watch.conftest import Log
from tests.integration.watch.serving import WatchServer


class Events:
    """What an EventSource makes of a stream: events, and the id that it would reconnect with."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self) -> tuple[str, dict]:
        """Name and content of the next event."""
        name, data = "message", ""
        while True:
            line = await asyncio.wait_for(anext(self._lines), 60)
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value
            elif not line:
                if data:
                    return name, json.loads(data)
                name = "message"

    async def place(self, other_than: str = "") -> str:
        """The id of the next heartbeat or event that moves the place on."""
        while True:
            line = await asyncio.wait_for(anext(self._lines), 60)
            if line.startswith("id: ") and line[4:] != other_than:
                self.last_id = line[4:]
                return self.last_id


@asynccontextmanager
async def events(url: str, query: str, last_id: str = "") -> AsyncIterator[Events]:
    """A connection as a browser opens it."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/api/v1/watch?{query}", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Events(response)


async def test_events(server: WatchServer, log: Log) -> None:
    """Each transition is an event whose id goes on after it: a browser that reconnects in the middle of a commit misses
    nothing and gets nothing twice."""
    await log.launch("a")
    async with events(server.url, "project=flytesnacks&domain=development&execution=a&level=execution") as stream:
        start = await stream.place()
        async with log.pool.acquire() as connection, connection.transaction():
            await log.add("a", 1, 2, 4, connection=connection)
        shown = [await stream.next() for _ in range(2)]
        assert [one["executionPhase"] for _, one in shown] == ["EXECUTION_PHASE_QUEUED", "EXECUTION_PHASE_RUNNING"]
        assert shown[0][0] == "transition"
        assert shown[0][1]["execution"] == {"project": "flytesnacks", "domain": "development", "name": "a"}
    async with events(server.url, "", last_id=start) as stream:
        assert (await stream.next())[1]["executionPhase"] == "EXECUTION_PHASE_QUEUED"
        between = stream.last_id
    async with events(server.url, "", last_id=between) as stream:
        assert (await stream.next())[1]["executionPhase"] == "EXECUTION_PHASE_RUNNING"
        assert (await stream.next())[1]["isFinal"] is True


async def test_outputs_and_oldest(server: WatchServer, log: Log) -> None:
    """With `outputs` a success has them; from the oldest on the past comes as well."""
    await log.launch("a")
    outputs = literals_pb2.LiteralMap(literals={"o0": literals_pb2.Literal()}).SerializeToString()
    await log.end("a", 4, outputs=outputs)
    for query, has_outputs in (("start=oldest", False), ("start=oldest&outputs=true&phase=succeeded", True)):
        async with events(server.url, query) as stream:
            one = (await stream.next())[1]
            assert bool(one["outputs"]) is has_outputs
    async with events(server.url, "start=oldest&phase=node:succeeded&level=node&heartbeat_s=1") as stream:
        first = await stream.place()
        await log.add("a", 3)
        await stream.place(other_than=first)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", "there is no such parameter"),
        ("level=galaxy", "is none of attempt, execution, node"),
        ("phase=tired", "there is no phase"),
        ("phase=galaxy:failed", "is none of"),
        ("cursor=nonsense", "is no cursor"),
        ("execution=a", "need the project"),
        ("outputs=maybe", "is none of"),
        ("heartbeat_s=soon", "no number of seconds"),
    ],
)
async def test_bad_queries(server: WatchServer, query: str, words: str) -> None:
    """What makes no sense is 400 with a sentence."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(f"{server.url}/api/v1/watch?{query}")
    assert answer.status_code == 400
    assert words in answer.json()["message"]


async def test_a_browser_that_leaves(server: WatchServer, log: Log) -> None:
    """When the connection closes the server forgets the stream."""
    async with events(server.url, "") as stream:
        await stream.place()
        assert server.watching.count == 1
    async with asyncio.timeout(60):
        while server.watching.count:
            await asyncio.sleep(0.01)


async def test_a_stopping_server(server: WatchServer) -> None:
    """A stream ends with an event that says why, and new ones are refused with 503."""
    async with events(server.url, "") as stream:
        await stream.place()
        server.stop()
        name, content = await stream.next()
        assert name == "error"
        assert content["code"] == 14
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.get(f"{server.url}/api/v1/watch")).status_code == 503
