"""Standard output and error of local tasks, as plain text under `/logs/<attempt>/stdout.log` and `stderr.log`.

A log is streamed up to the size it has when it is asked for, so one that is still being written ends too. Who follows
one asks for the rest only (`Range: bytes=1000-`); there is none (416) until something is written. Tasks in workers have
files only for what they write, so a log that is asked for with `?from=worker` is empty when there is none.
"""

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

LogStream: TypeAlias = Literal["stdout", "stderr"]

LogFile: TypeAlias = Callable[[str, LogStream], Path]
"""Path of a log, which need not exist, by name of the attempt. Raises ValueError for a text that is no such name."""

_CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{1,18})-")
_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_STREAMS: Mapping[str, LogStream] = {"stdout.log": "stdout", "stderr.log": "stderr"}


def log_routes(log_file: LogFile) -> list[Route]:
    """GET `/logs/{name}/{file}`."""

    async def read(request: Request) -> Response:
        path = _path(log_file, request.path_params["name"], request.path_params["file"])
        file = None if path is None else await asyncio.to_thread(_open, path)
        if file is None and path is not None and request.query_params.get("from") == "worker":
            file = await asyncio.to_thread(_empty)
        if file is None:
            return PlainTextResponse("there is no such log\n", 404)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}
        size, status, begin = os.fstat(file.fileno()).st_size, 200, 0
        if asked := _RANGE.fullmatch(request.headers.get("range", "")):
            status, begin = 206, int(asked[1])
            if begin >= size:
                file.close()
                return PlainTextResponse("", 416, headers={**headers, "Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
            file.seek(begin)
        chunks = _chunks(file, size - begin)
        return StreamingResponse(chunks, status, headers=headers, media_type="text/plain; charset=utf-8")

    return [Route("/logs/{name}/{file}", read)]


def _path(log_file: LogFile, name: str, file: str) -> Path | None:
    stream = _STREAMS.get(file)
    if stream is None or not _ATTEMPT.fullmatch(name):
        return None
    try:
        return log_file(name, stream)
    except ValueError:
        return None


def _open(path: Path) -> BinaryIO | None:
    """The file, None when absent. Symlinks are not followed: tasks own the folder and could point anywhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return open(descriptor, "rb", buffering=0)


def _empty() -> BinaryIO:
    return open(os.devnull, "rb", buffering=0)


async def _chunks(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    with file:
        rest = size
        while rest > 0:
            chunk = await asyncio.to_thread(file.read, min(rest, _CHUNK_BYTES))
            if not chunk:
                return
            rest -= len(chunk)
            yield chunk
