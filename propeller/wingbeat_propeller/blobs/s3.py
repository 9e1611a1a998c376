"""Blob store in an S3 bucket, `s3://<bucket>[/<prefix>]/...`, through aiobotocore (the extra `s3`).

A put becomes visible as a whole, which S3 promises by itself. Streams longer than one part go up as multipart uploads
that are aborted when anything fails, so that nothing stays behind half written; what a killed process leaves is
invisible and goes by the bucket's lifecycle rule for unfinished uploads. Failures of the store are OSError.
"""

import base64
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import aiohttp
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] not typed
from botocore.exceptions import BotoCoreError, ClientError

from wingbeat_propeller.blobs.keys import object_key, prefix_key
from wingbeat_propeller.blobs.signing import SignedUrl
from wingbeat_propeller.blobs.tally import Tally
from wingbeat_propeller.ports.blob_pages import ListedBlob
from wingbeat_propeller.ports.blobs import BlobNotFoundError, BlobStat, BlobTooLargeError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef, ObjectIdentifierTypeDef

PART_BYTES = 8 << 20
LARGE_PART_BYTES = 64 << 20
SMALL_PARTS_MAX = 1000
"""After so many parts they grow, so that S3's 10,000 parts hold half a terabyte."""

MD5_METADATA = "flytecontentmd5"
"""User metadata (S3 lowers its case) that holds the base64 MD5 of an upload."""

_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})
_MD5_HEX = re.compile(r"[0-9a-f]{32}")
_log = structlog.get_logger(__name__)
_FAULTS = (ClientError, BotoCoreError, aiohttp.ClientError)


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the bucket is and who we are there. Empty credentials and region: the usual AWS chain decides.

    `public_endpoint_url` is the address that clients of signed URLs use, when it is not `endpoint_url`.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    path_style: bool = False
    connections_max: int = 64
    signing_key: bytes | None = None
    """Secret for URLs that our own server serves, and below where clients reach it."""
    http_base_url: str = ""


class S3Blobs:
    """Objects of a bucket; satisfies `ports.Blobs`. Made by `open_s3`."""

    def __init__(self, client: "S3Client", options: S3Options) -> None:
        self._client = client
        self._bucket = options.bucket
        self._bucket_uri = f"s3://{options.bucket}"
        prefix = options.prefix.strip("/")
        self._base = f"{self._bucket_uri}/{prefix}" if prefix else self._bucket_uri

    @property
    def base(self) -> str:
        """`s3://` and the bucket, with the prefix if there is one."""
        return self._base

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self._bucket

    def key(self, uri: str) -> str:
        """Key of an object within the bucket. Raises BlobAccessError."""
        object_key(uri, self._base)
        return uri[len(self._bucket_uri) + 1 :]

    async def stat(self, uri: str) -> BlobStat | None:
        """Size, and the MD5 that the uploader noted or that the ETag is."""
        try:
            head = await self._client.head_object(Bucket=self._bucket, Key=self.key(uri))
        except ClientError as error:
            if _is_absence(error):
                return None
            raise _fault(uri, error) from error
        except _FAULTS as error:
            raise _fault(uri, error) from error
        noted = head["Metadata"].get(MD5_METADATA)
        return BlobStat(head["ContentLength"], _noted_md5(noted) or _etag_md5(head["ETag"]))

    async def get(self, uri: str, size_max: int | None = None) -> bytes:
        """The whole object. Raises BlobNotFoundError, BlobTooLargeError, BlobAccessError, OSError."""
        async with self._body(uri) as (size, body):
            if size_max is not None and size > size_max:
                raise BlobTooLargeError(f"{uri} has {size} bytes, more than the {size_max} allowed")
            return await body.read()

    async def put(self, uri: str, data: bytes) -> None:
        """Write or replace an object."""
        key = self.key(uri)
        try:
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        except _FAULTS as error:
            raise _fault(uri, error) from error

    async def open(self, uri: str, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object in chunks of at most `chunk_bytes`. Raises BlobNotFoundError at the first one."""
        async with self._body(uri) as (_, body):
            while chunk := await body.read(chunk_bytes):
                yield chunk

    async def put_stream(self, uri: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> BlobStat:
        """Write an object from a stream, holding one part in memory. An exception of the stream leaves nothing behind.

        Raises BlobTooLargeError as soon as more than `size_max` bytes have come.
        """
        key = self.key(uri)
        upload = _Upload(self._client, self._bucket, key, uri)
        tally = Tally(uri, size_max)
        part = bytearray()
        try:
            async for chunk in chunks:
                tally.add(chunk)
                part += chunk
                if len(part) >= upload.part_bytes:
                    full, part = part, bytearray()
                    await upload.add(bytes(full))
            await upload.finish(bytes(part))
        except BaseException:
            await upload.abort()
            raise
        return tally.stat()

    async def list(self, prefix_uri: str) -> Sequence[str]:
        """URIs of all objects below a folder, sorted; none when there is no such folder."""
        prefix_key(prefix_uri, self._base)
        folder = prefix_uri.rstrip("/")[len(self._bucket_uri) + 1 :]
        found: list[str] = []
        token = ""
        try:
            while True:
                prefix = f"{folder}/" if folder else ""
                page = await (
                    self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, ContinuationToken=token)
                    if token
                    else self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
                )
                keys = (entry.get("Key", "") for entry in page.get("Contents", ()))
                # A key that ends in a slash is the place holder some tools write for a folder.
                found.extend(f"{self._bucket_uri}/{key}" for key in keys if not key.endswith("/"))
                token = page.get("NextContinuationToken", "")
                if not token:
                    break
        except _FAULTS as error:
            raise _fault(prefix_uri, error) from error
        return sorted(found)

    async def delete(self, uri: str) -> None:
        """Remove an object; one that is absent is no error."""
        key = self.key(uri)
        try:
            await self._client.delete_object(Bucket=self._bucket, Key=key)
        except _FAULTS as error:
            raise _fault(uri, error) from error

    async def pages(self, prefix_uri: str) -> AsyncGenerator[Sequence[ListedBlob]]:
        """See `ports.BlobPages`."""
        folder = prefix_uri.rstrip("/")
        prefix_key(folder, self._base)
        key = folder[len(self._bucket_uri) + 1 :]
        token = ""
        while True:
            prefix = f"{key}/" if key else ""
            try:
                page = await (
                    self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, ContinuationToken=token)
                    if token
                    else self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
                )
            except _FAULTS as error:
                raise _fault(prefix_uri, error) from error
            yield [
                ListedBlob(f"{self._bucket_uri}/{entry['Key']}", entry["Size"], entry["LastModified"].timestamp())
                for entry in page.get("Contents", ())
                if "Key" in entry and "Size" in entry and "LastModified" in entry and not entry["Key"].endswith("/")
            ]
            token = page.get("NextContinuationToken", "")
            if not token:
                return

    async def delete_all(self, uris: Sequence[str]) -> None:
        """See `ports.BlobPages`."""
        if not uris:
            return
        objects: list[ObjectIdentifierTypeDef] = [{"Key": self.key(uri)} for uri in uris]
        try:
            answer = await self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        except _FAULTS as error:
            raise _fault(uris[0], error) from error
        for failure in answer.get("Errors", ()):
            if failure.get("Code", "") not in _NOT_FOUND:
                raise OSError(f"the store did not delete {failure.get('Key', '')}: {failure.get('Message', '')}")

    @asynccontextmanager
    async def _body(self, uri: str) -> AsyncGenerator[tuple[int, "_Body"]]:
        key = self.key(uri)
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with answer["Body"] as stream:
                yield answer["ContentLength"], cast("_Body", stream)
        except ClientError as error:
            if _is_absence(error):
                raise BlobNotFoundError(uri) from error
            raise _fault(uri, error) from error
        except _FAULTS as error:
            raise _fault(uri, error) from error


class S3Signer:
    """Presigned URLs of the bucket; satisfies `signing.UrlSigner`. `client` talks to the address clients will use.

    S3 cannot bind a largest size into a presigned PUT, so `size_max` is not enforced here.
    """

    def __init__(self, client: "S3Client", blobs: S3Blobs, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._blobs = blobs
        self._bucket = blobs.bucket
        self._clock = clock

    async def sign_get(self, uri: str, *, expires_in_s: float) -> SignedUrl:
        """See `UrlSigner`."""
        expires_at = self._clock() + expires_in_s
        url = await self._client.generate_presigned_url(
            "get_object", {"Bucket": self._bucket, "Key": self._blobs.key(uri)}, ExpiresIn=math.ceil(expires_in_s)
        )
        return SignedUrl(url, expires_at)

    async def sign_put(
        self, uri: str, *, expires_in_s: float, md5: bytes | None, size_max: int, md5_metadata: bool = False
    ) -> SignedUrl:
        """See `UrlSigner`. The headers are under the signature: a PUT without them is refused by the store."""
        del size_max
        expires_at = self._clock() + expires_in_s
        params: dict[str, object] = {"Bucket": self._bucket, "Key": self._blobs.key(uri)}
        headers: dict[str, str] = {}
        if md5 is not None:
            text = base64.b64encode(md5).decode()
            params["ContentMD5"] = headers["Content-MD5"] = text
            if md5_metadata:
                params["Metadata"] = {"flyteContentMD5": text}
                headers["x-amz-meta-flyteContentMD5"] = text
        url = await self._client.generate_presigned_url("put_object", params, ExpiresIn=math.ceil(expires_in_s))
        return SignedUrl(url, expires_at, headers)


@asynccontextmanager
async def open_s3(options: S3Options) -> AsyncGenerator[tuple[S3Blobs, S3Signer]]:
    """The store and its signer while the context lasts; connections are opened as needed and closed at the end."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(options, options.endpoint_url))
        public = options.public_endpoint_url
        signing_client = client if public is None else await stack.enter_async_context(_client(options, public))
        blobs = S3Blobs(client, options)
        yield blobs, S3Signer(signing_client, blobs)


def _client(options: S3Options, endpoint_url: str | None) -> "AbstractAsyncContextManager[S3Client]":
    config = AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path" if options.path_style else "auto"},
        max_pool_connections=options.connections_max,
        retries={"mode": "standard", "total_max_attempts": 4},
        # Newer checksums than MD5 are unknown to many servers that speak S3.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = get_session().create_client(  # pyright: ignore[reportUnknownMemberType] aiobotocore is not typed
        "s3",
        region_name=options.region,
        endpoint_url=endpoint_url,
        aws_access_key_id=options.access_key_id,
        aws_secret_access_key=options.secret_access_key,
        aws_session_token=options.session_token,
        config=config,
    )
    return cast("AbstractAsyncContextManager[S3Client]", client)


class _Body(Protocol):
    """The body of an answer; aiobotocore itself is not typed."""

    async def read(self, amt: int | None = None) -> bytes: ...


class _Upload:
    """One object on its way up: a plain put when it fits one part, else a multipart upload."""

    def __init__(self, client: "S3Client", bucket: str, key: str, uri: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._uri = uri
        self._id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    @property
    def part_bytes(self) -> int:
        return PART_BYTES if len(self._parts) < SMALL_PARTS_MAX else LARGE_PART_BYTES

    async def add(self, data: bytes) -> None:
        try:
            if self._id is None:
                begun = await self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
                self._id = begun["UploadId"]
            number = len(self._parts) + 1
            answer = await self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._id, PartNumber=number, Body=data
            )
        except _FAULTS as error:
            raise _fault(self._uri, error) from error
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    async def finish(self, data: bytes) -> None:
        """Write the last bytes and make the object visible."""
        if self._id is not None and data:
            await self.add(data)
        try:
            if self._id is None:
                await self._client.put_object(Bucket=self._bucket, Key=self._key, Body=data)
                return
            await self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": self._parts}
            )
        except _FAULTS as error:
            raise _fault(self._uri, error) from error

    async def abort(self) -> None:
        """Give up; a store that does not answer even now keeps an invisible rest until its lifecycle rule acts."""
        if self._id is None:
            return
        try:
            await self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)
        except _FAULTS as error:
            _log.warning("upload not aborted", uri=self._uri, error=str(error))


def _is_absence(error: ClientError) -> bool:
    answer = cast("Mapping[str, Mapping[str, str]]", error.response)
    return answer.get("Error", {}).get("Code", "") in _NOT_FOUND


def _fault(uri: str, error: Exception) -> OSError:
    return OSError(f"the store failed for {uri}: {error}")


def _noted_md5(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        md5 = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return md5 if len(md5) == 16 else None


def _etag_md5(etag: str) -> bytes | None:
    """An ETag is the content's MD5 unless the object came in parts or is encrypted with a key of its own."""
    text = etag.strip('"')
    return bytes.fromhex(text) if _MD5_HEX.fullmatch(text) else None
