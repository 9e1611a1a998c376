"""Files to and from the store, by URLs that the server signs: the client needs no access to the store of its own.

Data goes over HTTP in threads, so an event loop is never blocked. What a broken connection interrupts is tried again;
uploads are named by content or at random, so that doing one twice does no harm, and a download is written beside its
place and moved there when it is complete.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# (pyarrow has no types)

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from flyteidl.core import literals_pb2
from flyteidl.service import dataproxy_pb2

from wingbeat.connection import Connection
from wingbeat.errors import TransferError
from wingbeat.literals.handles import DataFrame, Directory, File
from wingbeatidl.blobs.v1 import blobs_pb2

T = TypeVar("T")

_PROXY = "/flyteidl.service.DataProxyService/"
_LIST = "/wingbeatidl.blobs.v1.BlobService/ListBlobs"
_TIMEOUT_S = 60.0
_TRIES = 4
_PAUSE_S = 0.3
_CHUNK_BYTES = 1 << 20
_PAGE = 10_000
_UPLOADS_MAX = 8
"""Files of one folder that are under way at once."""


class Transfers:
    """Reads and writes the store of a server. It is what handles read with."""

    def __init__(self, connection: Connection, block: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._connection = connection
        self._block = block

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine of this client's loop, from outside of it."""
        return self._block(coroutine)

    async def read(self, uri: str) -> bytes:
        """The content of one object. Raises TransferError, ServerError."""
        url = await self._signed(uri)
        return await self.read_url(url)

    async def read_url(self, url: str) -> bytes:
        """The content behind a signed URL. Raises TransferError."""
        return await _again(lambda: _get(url, lambda answer: answer.read()), url)

    async def download(self, uri: str, target: Path) -> Path:
        """Write one object to a file. Raises TransferError, ServerError, OSError for a place that cannot be written."""
        url = await self._signed(uri)

        def fetch() -> Path:
            part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            try:
                with part.open("wb") as file:
                    _get(url, lambda answer: shutil.copyfileobj(answer, file, _CHUNK_BYTES))
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
            return target

        return await _again(fetch, url)

    async def list(self, prefix: str) -> list[str]:
        """URIs of all objects below a prefix. Raises ServerError."""
        found: list[str] = []
        request = blobs_pb2.ListBlobsRequest(prefix=prefix, page_size=_PAGE)
        while True:
            page = await self._connection.unary(_LIST, request, blobs_pb2.ListBlobsResponse)
            found += [blob.uri for blob in page.blobs]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def upload(self, value: File | Directory | DataFrame, project: str, domain: str) -> None:
        """Put what lies on this machine into the store; the handle has its URI afterwards. Raises TransferError."""
        if value.uri is not None:
            return
        if isinstance(value, DataFrame) and value.table is not None:
            data = await asyncio.to_thread(_as_parquet, value.table)
            root = secrets.token_hex(16)
            uri = await self._put(data, project, domain, "00000", root)
            value.uri, value.format = uri.removesuffix("/00000"), "parquet"
            return
        assert value.local is not None, "a handle is in memory, on this machine or in the store"
        if value.local.is_dir():
            value.uri = await self._upload_folder(value.local, project, domain)
        elif isinstance(value, Directory):
            raise TransferError(f"there is no folder {value.local}")
        else:
            value.uri = await self._put(value.local, project, domain, value.local.name)

    async def fetch_offloaded(self, literals: literals_pb2.LiteralMap) -> None:
        """Put values that lie in the store because of their size back into their places. Raises TransferError."""
        for literal in literals.literals.values():
            await self._fetch_literal(literal)

    async def _fetch_literal(self, literal: literals_pb2.Literal) -> None:
        match literal.WhichOneof("value"):
            case "offloaded_metadata":
                data = await self.read(literal.offloaded_metadata.uri)
                literal.CopyFrom(literals_pb2.Literal.FromString(data))
                await self._fetch_literal(literal)
            case "collection":
                for one in literal.collection.literals:
                    if one.WhichOneof("value") != "scalar":
                        await self._fetch_literal(one)
            case "map":
                await self.fetch_offloaded(literal.map)
            case _:
                if literal.scalar.HasField("union"):
                    await self._fetch_literal(literal.scalar.union.value)

    async def _upload_folder(self, folder: Path, project: str, domain: str) -> str:
        root = secrets.token_hex(16)
        files = await asyncio.to_thread(lambda: sorted(path for path in folder.rglob("*") if path.is_file()))
        if not files:
            raise TransferError(f"the folder {folder} has no files")
        slots = asyncio.Semaphore(_UPLOADS_MAX)

        async def put(path: Path) -> str:
            name = path.relative_to(folder).as_posix()
            async with slots:
                return (await self._put(path, project, domain, name, root)).removesuffix(f"/{name}")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(path)) for path in files]
        return tasks[0].result()

    async def _put(self, source: Path | bytes, project: str, domain: str, name: str, root: str = "") -> str:
        try:
            digest, size = await asyncio.to_thread(_digest, source)
        except OSError as error:
            raise TransferError(f"{source} cannot be read: {error}") from error
        request = dataproxy_pb2.CreateUploadLocationRequest(
            project=project, domain=domain, filename=name, filename_root=root, content_md5=digest
        )
        place = await self._connection.unary(
            f"{_PROXY}CreateUploadLocation", request, dataproxy_pb2.CreateUploadLocationResponse
        )
        headers = {
            "Content-Length": str(size),
            "Content-MD5": base64.b64encode(digest).decode(),
            **dict(place.headers),
        }

        def send() -> None:
            with _opened(source) as body:
                request = urllib.request.Request(place.signed_url, data=body, headers=headers, method="PUT")  # noqa: S310
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  (a URL of our server)
                    answer.read()

        await _again(send, place.signed_url)
        return place.native_url

    async def _signed(self, uri: str) -> str:
        if uri.startswith(("http://", "https://")):
            return uri
        request = dataproxy_pb2.CreateDownloadLocationRequest(native_url=uri)
        answer = await self._connection.unary(
            f"{_PROXY}CreateDownloadLocation", request, dataproxy_pb2.CreateDownloadLocationResponse
        )
        return answer.signed_url


def _get(url: str, take: Callable[[Any], T]) -> T:
    if not url.startswith(("http://", "https://")):
        raise TransferError(f"the server answered with {url}, which is no URL of HTTP")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  (checked above)
        return take(answer)


async def _again(call: Callable[[], T], url: str) -> T:
    """Run in a thread, again after faults that may pass. Raises TransferError without the URL's signature."""
    shown = url.partition("?")[0]
    tries = 0
    while True:
        tries += 1
        try:
            return await asyncio.to_thread(call)
        except urllib.error.HTTPError as error:
            with error:
                reason = f"{error.code} {error.read(300).decode(errors='replace').strip()}"
            if error.code < 500 or tries >= _TRIES:
                raise TransferError(f"{shown} was refused: {reason}") from error
        except (urllib.error.URLError, ConnectionError, TimeoutError, EOFError) as error:
            if tries >= _TRIES:
                raise TransferError(f"{shown} does not answer: {error}") from error
        await asyncio.sleep(_PAUSE_S * 2**tries)


def _opened(source: Path | bytes) -> contextlib.AbstractContextManager[BinaryIO]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _digest(source: Path | bytes) -> tuple[bytes, int]:
    digest = hashlib.md5(usedforsecurity=False)
    with _opened(source) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        return digest.digest(), file.seek(0, os.SEEK_END)


def _as_parquet(table: object) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
