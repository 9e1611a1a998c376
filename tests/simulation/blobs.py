"""The simulated blob store: objects in memory, calls that take time and fail, and a view of it for each process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from tests.simulation.faults import Fate, Faults
from tests.simulation.server import Client, Outside
from wingbeat_propeller.blobs.keys import object_key, prefix_key
from wingbeat_propeller.ports.blobs import BlobNotFoundError, BlobStat, BlobTooLargeError

BASE = "sim://bucket"
_T = TypeVar("_T")


class SimulatedBlobs:
    """Satisfies ports.Blobs for one process; `objects` are shared by all."""

    base = BASE

    def __init__(self, objects: dict[str, bytes], faults: Faults, client: Client, outside: Outside) -> None:
        self._objects = objects
        self._faults = faults
        self._client = client
        self._outside = outside

    async def stat(self, uri: str) -> BlobStat | None:
        """See ports."""
        self._check(uri)
        data = await self._call("stat", uri, lambda: self._objects.get(uri))
        return None if data is None else BlobStat(len(data))

    async def get(self, uri: str, size_max: int | None = None) -> bytes:
        """See ports."""
        self._check(uri)
        data = await self._call("get", uri, lambda: self._objects.get(uri))
        if data is None:
            raise BlobNotFoundError(uri)
        if size_max is not None and len(data) > size_max:
            raise BlobTooLargeError(uri)
        return data

    async def put(self, uri: str, data: bytes) -> None:
        """See ports."""
        self._check(uri)
        await self._call("put", uri, lambda: self._objects.__setitem__(uri, bytes(data)))

    async def open(self, uri: str, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """See ports."""
        data = await self.get(uri)
        for start in range(0, len(data), chunk_bytes):
            yield data[start : start + chunk_bytes]

    async def put_stream(self, uri: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> BlobStat:
        """See ports."""
        self._check(uri)
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            if size_max is not None and len(data) > size_max:
                raise BlobTooLargeError(uri)
        await self.put(uri, bytes(data))
        return BlobStat(len(data))

    async def list(self, prefix_uri: str) -> Sequence[str]:
        """See ports."""
        prefix_key(prefix_uri, BASE)
        return await self._call(
            "list", prefix_uri, lambda: sorted(uri for uri in self._objects if uri.startswith(f"{prefix_uri}/"))
        )

    async def delete(self, uri: str) -> None:
        """See ports."""
        self._check(uri)
        await self._call("delete", uri, lambda: self._objects.pop(uri, None))

    def _check(self, uri: str) -> None:
        object_key(uri, BASE)

    async def _call(self, operation: str, uri: str, effect: Callable[[], _T]) -> _T:
        passage = self._faults.blob(operation, uri)
        answer: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        def apply() -> None:
            if (not self._client.alive or answer.cancelled()) and self._faults.uniform(0.0, 1.0) < 0.5:
                return
            result = effect() if passage.fate is not Fate.REFUSED else None
            self._outside.call_later(passage.back_s, tell, result)

        def tell(result: _T) -> None:
            if answer.done():
                return
            if passage.fate is Fate.DONE:
                answer.set_result(result)
            else:
                answer.set_exception(OSError("the blob store does not answer"))
                answer.exception()

        self._outside.call_later(passage.there_s, apply)
        return await answer
