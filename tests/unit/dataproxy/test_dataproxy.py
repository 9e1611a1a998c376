"""DataProxyService over a folder store: layout of uploads, rules of repeated ones, links, values by reference."""

import base64
import hashlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf import duration_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument, not_found
from wingbeat_controlplane.services.dataproxy import DataProxyOptions, DataProxyServicer
from wingbeat_controlplane.services.rpcs import Encoded
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner

NOW = 1_000_000.0
CONTENT = b"content"
MD5 = hashlib.md5(CONTENT).digest()


class Context:
    """A caller."""

    def peer(self) -> str:
        """Nobody."""
        return "unix:"

    def invocation_metadata(self) -> None:
        """Nothing."""


class Artifacts:
    """One node `n0` with a literal `x` in each direction, and whatever deck a test gives it."""

    deck: str | None = None

    async def deck_uri(self, node: identifier_pb2.NodeExecutionIdentifier) -> str | None:
        """See `ArtifactReader`."""
        self._check(node)
        return self.deck

    async def node_literals(
        self, node: identifier_pb2.NodeExecutionIdentifier, attempt: int | None, io: Literal["i", "o"]
    ) -> bytes:
        """See `ArtifactReader`; the value says what was asked for."""
        self._check(node)
        primitive = literals_pb2.Primitive(string_value=f"{io} {attempt}")
        literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
        return literals_pb2.LiteralMap(literals={"x": literal}).SerializeToString()

    def _check(self, node: identifier_pb2.NodeExecutionIdentifier) -> None:
        if node.node_id != "n0":
            raise not_found("node execution", node)


async def check_project_domain(project: str, domain: str) -> None:
    """Only project `p` exists."""
    if project != "p":
        raise invalid_argument(f"project [{project}] and domain [{domain}] are not registered")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """An empty store."""
    return FolderBlobs(tmp_path / "store")


@pytest.fixture
def artifacts() -> Artifacts:
    """What executions left."""
    return Artifacts()


@pytest.fixture
def proxy(blobs: FolderBlobs, artifacts: Artifacts) -> DataProxyServicer:
    """The service."""
    signer = ServedUrlSigner(base=blobs.base, http_base_url="http://h", key=b"k" * 32, clock=lambda: NOW)
    return DataProxyServicer(
        DataProxyOptions(),
        blobs=blobs,
        signer=signer,
        artifacts=artifacts,
        check_project_domain=check_project_domain,
    )


def upload(**fields: Any) -> dataproxy_pb2.CreateUploadLocationRequest:
    """A request for an upload to p/d."""
    return dataproxy_pb2.CreateUploadLocationRequest(**{"project": "p", "domain": "d", **fields})


async def refusal(call: Callable[..., Coroutine[Any, Any, Any]], request: Any) -> tuple[grpc.StatusCode, str]:
    """Code and message of a call that must fail."""
    with pytest.raises(ApiError) as refused:
        await call(request, Context())
    return refused.value.code, refused.value.message


async def test_layout_by_md5(proxy: DataProxyServicer, blobs: FolderBlobs) -> None:
    """Without a root the folder is the padded upper-case base32 of the MD5; the header for it must be sent."""
    answer = await proxy.CreateUploadLocation(upload(content_md5=MD5, filename="fast.tar.gz"), Context())
    folder = base64.b32encode(MD5).decode()
    assert folder.endswith("======")
    assert answer.native_url == f"{blobs.base}/metadata/admin/p/d/{folder}/fast.tar.gz"
    assert answer.signed_url.startswith("http://h/blobs/put-1003600-")
    assert answer.expires_at.seconds == NOW + 3600
    assert dict(answer.headers) == {"Content-MD5": base64.b64encode(MD5).decode()}


async def test_layout_by_root(proxy: DataProxyServicer, blobs: FolderBlobs) -> None:
    """A root wins over the MD5; files of one root share a folder; a missing name is 20 random characters."""
    base = f"{blobs.base}/metadata/admin/p/d"
    both = await proxy.CreateUploadLocation(upload(filename_root="r", filename="a/b.txt", content_md5=MD5), Context())
    assert both.native_url == f"{base}/r/a/b.txt"
    first, second = [await proxy.CreateUploadLocation(upload(filename_root="r"), Context()) for _ in range(2)]
    assert re.fullmatch(re.escape(base) + "/r/[a-z0-9]{20}", first.native_url)
    assert first.native_url != second.native_url
    assert dict(first.headers) == {}
    slashes = await proxy.CreateUploadLocation(upload(filename_root="/tmp/x/", filename="/y"), Context())
    assert slashes.native_url == f"{base}/tmp/x/y"


async def test_repeated_uploads(proxy: DataProxyServicer, blobs: FolderBlobs) -> None:
    """With root and name given, an existing object may only be uploaded again with the same content."""
    named = {"filename_root": "r", "filename": "x"}
    await blobs.put(f"{blobs.base}/metadata/admin/p/d/r/x", CONTENT)
    await proxy.CreateUploadLocation(upload(**named, content_md5=MD5), Context())
    for other in ({}, {"content_md5": b"0" * 16}):
        code, message = await refusal(proxy.CreateUploadLocation, upload(**named, **other))
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert "/r/x already exists" in message
    folder = base64.b32encode(MD5).decode()
    await blobs.put(f"{blobs.base}/metadata/admin/p/d/{folder}/x", b"whatever")
    await proxy.CreateUploadLocation(upload(filename="x", content_md5=MD5), Context())


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"project": "", "content_md5": MD5}, "missing project"),
        ({"domain": "", "content_md5": MD5}, "missing domain"),
        ({"project": "other", "content_md5": MD5}, "not registered"),
        ({}, "content_md5 or filename_root"),
        ({"filename": "x"}, "content_md5 or filename_root"),
        ({"content_md5": b"short"}, "content_md5"),
        ({"content_md5": MD5, "filename": "../x"}, "filename"),
        ({"content_md5": MD5, "filename": "a/../../x"}, "filename"),
        ({"content_md5": MD5, "filename": "a/."}, "filename"),
        ({"content_md5": MD5, "filename": "a/%2e%2e/x"}, "filename"),
        ({"content_md5": MD5, "filename": "a/"}, "filename"),
        ({"content_md5": MD5, "filename": "a\0"}, "filename"),
        ({"content_md5": MD5, "filename": "x" * 2000}, "filename"),
        ({"filename_root": "/"}, "filename_root"),
        ({"filename_root": "..", "filename": "x"}, "filename_root"),
        ({"filename_root": "a/../b"}, "filename_root"),
        ({"content_md5": MD5, "expires_in": duration_pb2.Duration(seconds=3601)}, "expires_in"),
        ({"content_md5": MD5, "expires_in": duration_pb2.Duration(seconds=-1)}, "expires_in"),
        ({"content_md5": MD5, "expires_in": duration_pb2.Duration()}, "expires_in"),
    ],
)
async def test_bad_uploads(proxy: DataProxyServicer, fields: dict[str, Any], word: str) -> None:
    """Missing and impossible fields are INVALID_ARGUMENT and named; nothing leads out of the project's folder."""
    code, message = await refusal(proxy.CreateUploadLocation, upload(**fields))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert word in message


async def test_download_location(proxy: DataProxyServicer, blobs: FolderBlobs) -> None:
    """A link to an object of the store, for as long as asked for; nothing outside of it."""
    request = dataproxy_pb2.CreateDownloadLocationRequest(
        native_url=f"{blobs.base}/x", expires_in=duration_pb2.Duration(seconds=60)
    )
    answer = await proxy.CreateDownloadLocation(request, Context())
    assert answer.signed_url.startswith("http://h/blobs/get-1000060-")
    assert answer.expires_at.seconds == NOW + 60
    for url in ("", "file:///etc/passwd", f"{blobs.base}/../x", "s3://b/x"):
        code, message = await refusal(
            proxy.CreateDownloadLocation, dataproxy_pb2.CreateDownloadLocationRequest(native_url=url)
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "native_url" in message


def deck_request(node: str, **fields: Any) -> dataproxy_pb2.CreateDownloadLinkRequest:
    """A request for the deck of a node."""
    execution = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="e")
    identifier = identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution)
    kind = {"artifact_type": dataproxy_pb2.ARTIFACT_TYPE_DECK, "node_execution_id": identifier}
    return dataproxy_pb2.CreateDownloadLinkRequest(**{**kind, **fields})


async def test_deck_link(proxy: DataProxyServicer, blobs: FolderBlobs, artifacts: Artifacts) -> None:
    """A deck that was written has a link, in the field that clients read and in the one that follows it."""
    artifacts.deck = f"{blobs.base}/deck.html"
    await blobs.put(artifacts.deck, b"<html>")
    answer = await proxy.CreateDownloadLink(deck_request("n0"), Context())
    assert list(answer.signed_url) == list(answer.pre_signed_urls.signed_url)
    assert answer.signed_url[0].endswith("/deck.html")
    assert answer.pre_signed_urls.expires_at.seconds == answer.expires_at.seconds == NOW + 3600
    by_reference = await proxy.GetData(dataproxy_pb2.GetDataRequest(flyte_url="flyte://v1/p/d/e/n0/d"), Context())
    assert isinstance(by_reference, dataproxy_pb2.GetDataResponse)
    assert list(by_reference.pre_signed_urls.signed_url) == list(answer.signed_url)


async def test_no_deck(proxy: DataProxyServicer, blobs: FolderBlobs, artifacts: Artifacts) -> None:
    """No deck, a deck that was never written and one outside of the store are NOT_FOUND; bad requests are named."""
    for uri in (None, f"{blobs.base}/absent.html", "s3://other/deck.html"):
        artifacts.deck = uri
        code, message = await refusal(proxy.CreateDownloadLink, deck_request("n0"))
        assert (code, message[:17]) == (grpc.StatusCode.NOT_FOUND, "no deckUrl found ")
    code, _ = await refusal(proxy.CreateDownloadLink, deck_request("unknown"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    reference = dataproxy_pb2.GetDataRequest(flyte_url="flyte://v1/p/d/e/unknown/d")
    assert (await refusal(proxy.GetData, reference))[0] is grpc.StatusCode.NOT_FOUND
    code, message = await refusal(proxy.CreateDownloadLink, deck_request("n0", artifact_type=0))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid value for artifact_type")
    code, message = await refusal(proxy.CreateDownloadLink, deck_request("n0", node_execution_id=None))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "missing source")


async def test_values(proxy: DataProxyServicer) -> None:
    """A reference gives the whole map, or one literal of it, of the node or of an attempt."""

    async def get(tail: str) -> dataproxy_pb2.GetDataResponse:
        request = dataproxy_pb2.GetDataRequest(flyte_url=f"flyte://v1/p/d/e/{tail}")
        answer = await proxy.GetData(request, Context())
        assert isinstance(answer, Encoded)
        return dataproxy_pb2.GetDataResponse.FromString(answer.data)

    whole = await get("n0/i")
    assert whole.literal_map.literals["x"].scalar.primitive.string_value == "i None"
    one = await get("n0/2/o/x")
    assert one.literal.scalar.primitive.string_value == "o 2"
    with pytest.raises(ApiError, match="known are: x") as refused:
        await get("n0/o/y")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ApiError) as refused:
        await get("unknown/o")
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    assert (await refusal(proxy.GetData, dataproxy_pb2.GetDataRequest()))[1] == "missing flyte_url"
