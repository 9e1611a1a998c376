"""Connections as they are in the moment between Postgres' last words and the end of the socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import asyncpg


class HeldLine:
    """A way to a database, over which clients do not see that Postgres has closed their connections."""

    def __init__(self, dsn: str, control: asyncpg.Pool) -> None:
        self.dsn = dsn
        self._control = control
        self.ends: asyncio.Queue[None] = asyncio.Queue()

    async def throw_out(self, application_name: str) -> None:
        """End those connections; returns when their clients have heard why."""
        count: int = await self._control.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = $1 AND datname = current_database()",
            application_name,
        )
        assert count, f"there is no connection of {application_name}"
        for _ in range(count):
            await self.ends.get()
        for _ in range(10):  # what was sent within this process is read in the next round of the loop
            await asyncio.sleep(0)


@asynccontextmanager
async def held_line(database_url: str, control: asyncpg.Pool) -> AsyncIterator[HeldLine]:
    """A line to the database of `control`; what is open over it ends with the block."""
    parts = urlsplit(database_url)
    socket_path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        line.ends.put_nowait(None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(socket_path)
        writers.extend((writer, up_writer))
        tasks.update({asyncio.create_task(ask(reader, up_writer)), asyncio.create_task(answer(up_reader, writer))})

    with TemporaryDirectory(prefix="wb-line-") as folder:
        line = HeldLine(f"postgresql://postgres@{parts.path}?host={folder}", control)
        server = await asyncio.start_unix_server(serve, f"{folder}/.s.PGSQL.5432")
        try:
            yield line
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in writers:
                writer.close()
