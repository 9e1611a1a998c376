"""DataProxyService: where clients put code and files, and how they fetch decks, files and values.

The layout `<base>/<storage prefix>/<project>/<domain>/<folder>/<filename>` is part of the contract: a folder upload
asks for each file under the same root and takes the common prefix of what it gets. The folder is the root that the
client names, else the MD5 of the content, so the same code uploaded twice lies in one place.
"""

import base64
import hashlib
import secrets
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import grpc
from flyteidl.core import identifier_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument, invalid_value, missing
from wingbeat_controlplane.services.flyte_references import parse_reference
from wingbeat_controlplane.services.rpcs import CallContext, Encoded
from wingbeat_propeller.blobs.signing import SignedUrl, UrlSigner
from wingbeat_propeller.core.values import split_literal_map, wire_field
from wingbeat_propeller.ports.blobs import BlobAccessError, Blobs, BlobStat

MD5_BYTES = 16

_NAME_ALPHABET = string.ascii_lowercase + string.digits
_TIMESTAMP_S_MAX = 253402300799


@dataclass(frozen=True, slots=True)
class DataProxyOptions:
    """`storage_prefix` is the folder of uploads within the store; `link_life_s_max` the longest life of a URL.

    `upload_bytes_max` bounds each upload; random file names have `file_name_length` characters.
    """

    storage_prefix: str = "metadata/admin"
    link_life_s_max: float = 3600.0
    upload_bytes_max: int = 64 << 30
    file_name_length: int = 20


class ArtifactReader(Protocol):
    """What executions leave behind. Both methods raise ApiError NOT_FOUND for an unknown node."""

    async def deck_uri(self, node: identifier_pb2.NodeExecutionIdentifier) -> str | None:
        """URI of the node's deck, None when it has none."""
        ...

    async def node_literals(
        self, node: identifier_pb2.NodeExecutionIdentifier, attempt: int | None, io: Literal["i", "o"]
    ) -> bytes:
        """Inputs or outputs of a node, or of one of its attempts: a serialized LiteralMap."""
        ...


CheckProjectDomain = Callable[[str, str], Awaitable[object]]
"""Raises ApiError for a project that is unknown or archived, or an unknown domain."""


class DataProxyServicer:
    """CreateUploadLocation, CreateDownloadLocation, CreateDownloadLink, GetData."""

    def __init__(
        self,
        options: DataProxyOptions,
        *,
        blobs: Blobs,
        signer: UrlSigner,
        artifacts: ArtifactReader,
        check_project_domain: CheckProjectDomain,
    ) -> None:
        self._options = options
        self._blobs = blobs
        self._signer = signer
        self._artifacts = artifacts
        self._check_project_domain = check_project_domain

    async def CreateUploadLocation(
        self, request: dataproxy_pb2.CreateUploadLocationRequest, context: CallContext
    ) -> dataproxy_pb2.CreateUploadLocationResponse:
        """A URL to write one file, and the URI under which tasks will find it."""
        _check_upload(request)
        life_s = self._life_s(request.expires_in, request.HasField("expires_in"))
        await self._check_project_domain(request.project, request.domain)
        md5 = request.content_md5 or None
        uri = self._upload_uri(request)
        try:
            if request.filename_root and request.filename:
                await self._check_free(uri, md5)
            signed = await self._signer.sign_put(
                uri,
                expires_in_s=life_s,
                md5=md5,
                size_max=self._options.upload_bytes_max,
                md5_metadata=request.add_content_md5_metadata,
            )
        except BlobAccessError as error:
            raise invalid_argument(f"invalid value for filename: {error}") from error
        return dataproxy_pb2.CreateUploadLocationResponse(
            signed_url=signed.url, native_url=uri, expires_at=_timestamp(signed), headers=signed.headers
        )

    async def CreateDownloadLocation(
        self, request: dataproxy_pb2.CreateDownloadLocationRequest, context: CallContext
    ) -> dataproxy_pb2.CreateDownloadLocationResponse:
        """A URL to read one object of the store."""
        if not request.native_url:
            raise missing("native_url")
        life_s = self._life_s(request.expires_in, request.HasField("expires_in"))
        signed = await self._sign_get(request.native_url, life_s, field="native_url")
        return dataproxy_pb2.CreateDownloadLocationResponse(signed_url=signed.url, expires_at=_timestamp(signed))

    async def CreateDownloadLink(
        self, request: dataproxy_pb2.CreateDownloadLinkRequest, context: CallContext
    ) -> dataproxy_pb2.CreateDownloadLinkResponse:
        """A URL to read the deck of a node."""
        if request.artifact_type != dataproxy_pb2.ARTIFACT_TYPE_DECK:
            raise invalid_value("artifact_type")
        if request.WhichOneof("source") is None:
            raise missing("source")
        life_s = self._life_s(request.expires_in, request.HasField("expires_in"))
        try:
            urls = await self._deck_urls(request.node_execution_id, life_s)
        except _UnknownNodeError as error:
            raise invalid_argument(str(error)) from error
        # Clients read the deprecated fields.
        return dataproxy_pb2.CreateDownloadLinkResponse(
            signed_url=urls.signed_url, expires_at=urls.expires_at, pre_signed_urls=urls
        )

    async def GetData(
        self, request: dataproxy_pb2.GetDataRequest, context: CallContext
    ) -> dataproxy_pb2.GetDataResponse | Encoded:
        """The value or deck that a `flyte://` reference names."""
        if not request.flyte_url:
            raise missing("flyte_url")
        reference = parse_reference(request.flyte_url)
        if reference.part == "d":
            try:
                urls = await self._deck_urls(reference.node_id, self._options.link_life_s_max)
            except _UnknownNodeError as error:
                raise error.answer from error
            return dataproxy_pb2.GetDataResponse(pre_signed_urls=urls)
        literals = await self._artifacts.node_literals(reference.node_id, reference.attempt, reference.part)
        if not reference.literal:
            return Encoded(wire_field(dataproxy_pb2.GetDataResponse.LITERAL_MAP_FIELD_NUMBER, literals))
        by_name = split_literal_map(literals)
        if reference.literal not in by_name:
            names = ", ".join(sorted(by_name)[:50]) or "none"
            raise invalid_argument(f"no literal {reference.literal!r} there; known are: {names}")
        return Encoded(wire_field(dataproxy_pb2.GetDataResponse.LITERAL_FIELD_NUMBER, by_name[reference.literal]))

    def _upload_uri(self, request: dataproxy_pb2.CreateUploadLocationRequest) -> str:
        folder = request.filename_root or base64.b32encode(request.content_md5).decode()
        filename = request.filename or "".join(
            secrets.choice(_NAME_ALPHABET) for _ in range(self._options.file_name_length)
        )
        prefix = self._options.storage_prefix.strip("/")
        parts = (self._blobs.base, prefix, request.project, request.domain, folder.strip("/"), filename.lstrip("/"))
        return "/".join(part for part in parts if part)

    async def _check_free(self, uri: str, md5: bytes | None) -> None:
        """Raise ApiError ALREADY_EXISTS when other content lies there; the same content may be uploaded again."""
        found = await self._blobs.stat(uri)
        if found is None:
            return
        if md5 is None:
            raise already_exists(f"{uri} already exists; give content_md5 to upload the same content again")
        if await self._md5(uri, found) != md5:
            raise already_exists(f"{uri} already exists with different content")

    async def _md5(self, uri: str, found: BlobStat) -> bytes:
        if found.md5 is not None:
            return found.md5
        digest = hashlib.md5(usedforsecurity=False)
        async for chunk in self._blobs.open(uri):
            digest.update(chunk)
        return digest.digest()

    async def _deck_urls(
        self, node: identifier_pb2.NodeExecutionIdentifier, life_s: float
    ) -> dataproxy_pb2.PreSignedURLs:
        try:
            uri = await self._artifacts.deck_uri(node)
        except ApiError as error:
            raise (_UnknownNodeError(error) if error.code is grpc.StatusCode.NOT_FOUND else error) from error
        if not uri or await self._stat(uri) is None:
            raise ApiError(grpc.StatusCode.NOT_FOUND, f"no deckUrl found for node {node.node_id}: it has no deck (yet)")
        signed = await self._sign_get(uri, life_s, field="deck_uri")
        return dataproxy_pb2.PreSignedURLs(signed_url=[signed.url], expires_at=_timestamp(signed))

    async def _stat(self, uri: str) -> BlobStat | None:
        try:
            return await self._blobs.stat(uri)
        except BlobAccessError:
            return None  # an engine reported a place that is not ours to sign

    async def _sign_get(self, uri: str, life_s: float, *, field: str) -> SignedUrl:
        try:
            return await self._signer.sign_get(uri, expires_in_s=life_s)
        except BlobAccessError as error:
            raise invalid_argument(f"invalid value for {field}: {error}") from error

    def _life_s(self, asked: duration_pb2.Duration, given: bool) -> float:
        """Life of a URL in seconds; an hour when not asked for. Raises ApiError for more than the limit or nothing."""
        limit = self._options.link_life_s_max
        if not given:
            return limit
        life_s = asked.seconds + asked.nanos / 1e9
        if not 0 < life_s <= limit:
            raise invalid_argument(f"invalid value for expires_in: {life_s:g} s is not within 0 and {limit:g} s")
        return life_s


class _UnknownNodeError(Exception):
    """The node of a deck does not exist; the rpcs differ in what they call that."""

    def __init__(self, answer: ApiError) -> None:
        super().__init__(answer.message)
        self.answer = answer


def _check_upload(request: dataproxy_pb2.CreateUploadLocationRequest) -> None:
    if not request.project:
        raise missing("project")
    if not request.domain:
        raise missing("domain")
    if not request.content_md5 and not request.filename_root:
        raise invalid_argument("missing content_md5 or filename_root: at least one of them says where the file goes")
    if request.content_md5 and len(request.content_md5) != MD5_BYTES:
        raise invalid_argument(
            f"invalid value for content_md5: {len(request.content_md5)} bytes, an MD5 has {MD5_BYTES}"
        )
    _check_path("filename_root", request.filename_root.strip("/") if request.filename_root else "x")
    _check_path("filename", request.filename or "x")


def _check_path(field: str, text: str) -> None:
    """A relative path may have folders, but must not leave them, and ends in a name."""
    if not text or text.endswith("/") or "\0" in text or any(segment in (".", "..") for segment in text.split("/")):
        raise invalid_argument(f"invalid value for {field}: {text[:200]!r} is no relative path of a file")


def _timestamp(signed: SignedUrl) -> timestamp_pb2.Timestamp:
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromMilliseconds(int(min(signed.expires_at, _TIMESTAMP_S_MAX) * 1000))
    return timestamp
