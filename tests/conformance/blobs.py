"""What every blob store must do; subclass with a fixture `blobs` that yields an empty store."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobStat, BlobTooLargeError


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    """A stream of these chunks."""
    for chunk in chunks:
        yield chunk


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    """A stream as one piece."""
    return b"".join([chunk async for chunk in chunks])


_DOTS = ["/../x", "/a/../../x", "/a/..", "/./a", "/%2e%2e/x", "/%252E./x", "/..%2fx", "/..\\x"]
_NO_NAMES = ["", "/", "-other/x", "/a/", "/a\0b", "/a%00b", "/\ud800"]
_LONG = ["/" + "x" * 1100, "/" + "%2525252525252525252525" * 3]
_TAILS_REFUSED = [*_DOTS, *_NO_NAMES, *_LONG]


class BlobsContract:
    """The contract of `ports.Blobs`."""

    async def test_put_then_get(self, blobs: Blobs) -> None:
        """What was put comes back byte for byte, with its size, also when it is empty or large."""
        for size in (0, 1, 300_000, 3_000_000):
            data = bytes(range(256)) * (size // 256 + 1)
            uri = f"{blobs.base}/a/{size}/inputs.pb"
            await blobs.put(uri, data[:size])
            assert await blobs.get(uri) == data[:size]
            stat = await blobs.stat(uri)
            assert stat is not None
            assert stat.size == size

    async def test_put_replaces(self, blobs: Blobs) -> None:
        """A second put to the same URI wins."""
        uri = f"{blobs.base}/a/x"
        await blobs.put(uri, b"first, longer")
        await blobs.put(uri, b"second")
        assert await blobs.get(uri) == b"second"

    async def test_absent(self, blobs: Blobs) -> None:
        """An absent object has no stat and cannot be read; a folder is no object."""
        await blobs.put(f"{blobs.base}/folder/x", b"")
        for uri in (f"{blobs.base}/absent", f"{blobs.base}/folder", f"{blobs.base}/folder/x/below"):
            assert await blobs.stat(uri) is None
            with pytest.raises(BlobNotFoundError):
                await blobs.get(uri)
            with pytest.raises(BlobNotFoundError):
                await gathered(blobs.open(uri))

    async def test_get_is_bounded(self, blobs: Blobs) -> None:
        """A reader can bound what it takes; exactly the bound is allowed."""
        uri = f"{blobs.base}/a"
        await blobs.put(uri, b"x" * 1000)
        assert len(await blobs.get(uri, size_max=1000)) == 1000
        with pytest.raises(BlobTooLargeError):
            await blobs.get(uri, size_max=999)

    async def test_streams(self, blobs: Blobs) -> None:
        """A streamed object of many parts comes back the same, with size and MD5 known to the writer."""
        piece = hashlib.sha256(b"seed").digest() * 32_768  # 1 MiB
        uri = f"{blobs.base}/streamed"
        stat = await blobs.put_stream(uri, chunked(*[piece] * 20, b"end"))
        whole = piece * 20 + b"end"
        assert stat == BlobStat(len(whole), hashlib.md5(whole).digest())
        assert await gathered(blobs.open(uri)) == whole
        assert await gathered(blobs.open(uri, chunk_bytes=5_000_000)) == whole
        assert await blobs.put_stream(f"{blobs.base}/empty", chunked()) == BlobStat(0, hashlib.md5(b"").digest())
        assert await blobs.get(f"{blobs.base}/empty") == b""

    async def test_broken_stream_leaves_nothing(self, blobs: Blobs) -> None:
        """A stream that fails, early or after many parts, leaves the old object and nothing new."""

        async def broken(size: int) -> AsyncIterator[bytes]:
            for _ in range(size):
                yield b"x" * (1 << 20)
            raise ConnectionResetError

        await blobs.put(f"{blobs.base}/old", b"old")
        for size in (0, 1, 12):
            for name in ("old", "new"):
                with pytest.raises(ConnectionResetError):
                    await blobs.put_stream(f"{blobs.base}/{name}", broken(size))
        assert await blobs.list(blobs.base) == [f"{blobs.base}/old"]
        assert await blobs.get(f"{blobs.base}/old") == b"old"

    async def test_stream_is_bounded(self, blobs: Blobs) -> None:
        """A stream past its limit is refused and leaves nothing; exactly the limit is allowed."""
        uri = f"{blobs.base}/limited"
        with pytest.raises(BlobTooLargeError):
            await blobs.put_stream(uri, chunked(b"x" * 600, b"x" * 401), size_max=1000)
        assert await blobs.stat(uri) is None
        assert (await blobs.put_stream(uri, chunked(b"x" * 600, b"x" * 400), size_max=1000)).size == 1000

    async def test_list(self, blobs: Blobs) -> None:
        """A listing is sorted, complete below its folder, and does not take a longer name for a folder."""
        names = ["a/1", "a/b/2", "a/b/c/3", "ab/4", "z"]
        for name in names:
            await blobs.put(f"{blobs.base}/{name}", b"")
        assert await blobs.list(blobs.base) == [f"{blobs.base}/{name}" for name in names]
        assert await blobs.list(f"{blobs.base}/a") == [f"{blobs.base}/{name}" for name in names[:3]]
        assert await blobs.list(f"{blobs.base}/a/b/") == [f"{blobs.base}/{name}" for name in names[1:3]]
        assert await blobs.list(f"{blobs.base}/nothing") == []

    async def test_delete(self, blobs: Blobs) -> None:
        """A deleted object is gone, its neighbours stay; deleting what is absent, or a folder, does nothing."""
        for name in ("a/x", "a/y", "a/b/x"):
            await blobs.put(f"{blobs.base}/{name}", b"x")
        for name in ("a/x", "a/x", "a/absent", "absent/x", "a/b", "a/y/below"):
            await blobs.delete(f"{blobs.base}/{name}")
        assert await blobs.list(blobs.base) == [f"{blobs.base}/a/b/x", f"{blobs.base}/a/y"]

    @pytest.mark.parametrize("name", ["with blank", "100%", "a%20b", "é/ü", "q?x=1&y", "#hash", "a+b", "day=1%2F2"])
    async def test_names_are_literal(self, blobs: Blobs, name: str) -> None:
        """Names are taken as they are, never decoded."""
        uri = f"{blobs.base}/names/{name}"
        await blobs.put(uri, name.encode())
        assert await blobs.get(uri) == name.encode()
        assert await blobs.list(f"{blobs.base}/names") == [uri]

    @pytest.mark.parametrize("tail", _TAILS_REFUSED)
    async def test_uris_outside(self, blobs: Blobs, tail: str) -> None:
        """URIs that name no object or lead out, in whatever disguise, are refused by every method."""
        uri = blobs.base + tail
        with pytest.raises(BlobAccessError):
            await blobs.get(uri)
        with pytest.raises(BlobAccessError):
            await blobs.put(uri, b"")
        with pytest.raises(BlobAccessError):
            await blobs.delete(uri)
        with pytest.raises(BlobAccessError):
            await blobs.stat(uri)
        with pytest.raises(BlobAccessError):
            await gathered(blobs.open(uri))
        with pytest.raises(BlobAccessError):
            await blobs.put_stream(uri, chunked(b""))

    @pytest.mark.parametrize("uri", ["", "/etc/passwd", "file:///etc/passwd", "s3://other/x", "http://127.0.0.1/x"])
    async def test_other_stores(self, blobs: Blobs, uri: str) -> None:
        """URIs of other stores are refused, for listings as well."""
        with pytest.raises(BlobAccessError):
            await blobs.get(uri)
        with pytest.raises(BlobAccessError):
            await blobs.list(uri)
