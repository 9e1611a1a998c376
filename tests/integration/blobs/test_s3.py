"""The S3 store against a real server: the common contract, digests, presigned URLs, faults."""

import base64
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
from tests.conformance.blob_pages import BlobPagesContract
from tests.conformance.blobs import BlobsContract, chunked
from tests.integration.blobs.seaweed import s3_options, seaweed

from wingbeat_propeller.blobs.s3 import S3Blobs, S3Options, S3Signer, open_s3
from wingbeat_propeller.blobs.store import open_store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A running S3 server."""
    with seaweed() as url:
        yield url


@pytest.fixture
def options(endpoint: str) -> S3Options:
    """A prefix of this test's own."""
    return s3_options(endpoint, prefix=f"t/{uuid.uuid4().hex}")


@pytest.fixture
async def store(options: S3Options) -> AsyncIterator[tuple[S3Blobs, S3Signer]]:
    """An empty store and its signer."""
    async with open_s3(options) as opened:
        yield opened


@pytest.fixture
def blobs(store: tuple[S3Blobs, S3Signer]) -> S3Blobs:
    """An empty store."""
    return store[0]


class TestS3Blobs(BlobsContract, BlobPagesContract):
    """A bucket satisfies the contract of blob stores."""


async def test_digests(store: tuple[S3Blobs, S3Signer]) -> None:
    """The MD5 of a plain object is known from its ETag; one that came in parts has none unless its writer noted it."""
    blobs, signer = store
    await blobs.put(f"{blobs.base}/plain", b"x")
    plain = await blobs.stat(f"{blobs.base}/plain")
    assert plain is not None
    assert plain.md5 == hashlib.md5(b"x").digest()
    await blobs.put_stream(f"{blobs.base}/parts", chunked(*[b"x" * (9 << 20)] * 2))
    parts = await blobs.stat(f"{blobs.base}/parts")
    assert parts is not None
    assert (parts.size, parts.md5) == (18 << 20, None)
    md5 = hashlib.md5(b"noted").digest()
    signed = await signer.sign_put(f"{blobs.base}/noted", expires_in_s=60, md5=md5, size_max=100, md5_metadata=True)
    assert signed.headers["x-amz-meta-flyteContentMD5"] == base64.b64encode(md5).decode()
    async with httpx.AsyncClient() as client:
        assert (await client.put(signed.url, content=b"noted", headers=dict(signed.headers))).status_code == 200
    noted = await blobs.stat(f"{blobs.base}/noted")
    assert noted is not None
    assert noted.md5 == md5


async def test_presigned(store: tuple[S3Blobs, S3Signer]) -> None:
    """Presigned URLs write and read one object with no other credential, checking the MD5; altered ones are refused."""
    blobs, signer = store
    uri = f"{blobs.base}/a b/é"
    async with httpx.AsyncClient() as client:
        free = await signer.sign_put(uri, expires_in_s=60, md5=None, size_max=100)
        assert free.headers == {}
        assert (await client.put(free.url, content=b"body")).status_code == 200
        read = await signer.sign_get(uri, expires_in_s=60)
        assert (await client.get(read.url)).content == b"body"
        assert (await client.get(read.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))).status_code == 403
        bound = await signer.sign_put(uri, expires_in_s=60, md5=hashlib.md5(b"right").digest(), size_max=100)
        assert (await client.put(bound.url, content=b"wrong", headers=dict(bound.headers))).status_code == 400
    assert await blobs.get(uri) == b"body"


async def test_faults(endpoint: str) -> None:
    """A missing bucket, wrong credentials and a dead server are faults of the store, not absent objects."""
    good = s3_options(endpoint)
    for bad in (
        S3Options(bucket="no-such-bucket", **_common(good)),
        S3Options(bucket=good.bucket, **{**_common(good), "secret_access_key": "wrong"}),
        S3Options(bucket=good.bucket, **{**_common(good), "endpoint_url": "http://127.0.0.1:1"}),
    ):
        async with open_s3(bad) as (blobs, _):
            with pytest.raises(OSError, match="the store failed"):
                await blobs.get(f"{blobs.base}/x")
            with pytest.raises(OSError, match="the store failed"):
                await blobs.list(blobs.base)


async def test_open_store(options: S3Options) -> None:
    """The store opened by options has S3's signer, and one for URLs of our own server when there is a key for it."""
    async with open_store(replace(options, signing_key=b"k" * 32, http_base_url="http://h")) as store:
        assert store.served_signer is not None
        signed = await store.served_signer.sign_get(f"{store.blobs.base}/x", expires_in_s=60)
        assert signed.url.startswith("http://h/blobs/get-")
    async with open_store(options) as store:
        assert store.blobs.base == f"s3://{options.bucket}/{options.prefix}"
        assert store.signer is not None
        assert store.served_signer is None


def _common(options: S3Options) -> dict[str, object]:
    names = ("endpoint_url", "region", "access_key_id", "secret_access_key", "path_style")
    return {name: getattr(options, name) for name in names}
