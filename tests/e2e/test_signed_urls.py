"""Upload and download URLs do what they were signed for, and nothing else."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote, urlsplit

import grpc
import httpx
import pytest
from flyteidl.service import dataproxy_pb2
from google.protobuf import duration_pb2
from tests.e2e.client import DOMAIN, PROJECT, Client
from tests.e2e.installation import Installation

BODY = b"some bytes\x00\xff" * 1000
MD5 = hashlib.md5(BODY).digest()
REFUSED = {400, 401, 403, 404, 405}


def upload(client: Client, **fields) -> dataproxy_pb2.CreateUploadLocationResponse:
    """A place to write to."""
    return client.data.CreateUploadLocation(
        dataproxy_pb2.CreateUploadLocationRequest(project=PROJECT, domain=DOMAIN, **fields)
    )


def download(client: Client, native_url: str, **fields) -> str:
    """A URL to read from."""
    request = dataproxy_pb2.CreateDownloadLocationRequest(native_url=native_url, **fields)
    return client.data.CreateDownloadLocation(request).signed_url


def seal_of(url: str) -> list[str]:
    """Verb, expiry, size, MD5 and signature: the part of the path that the server goes by."""
    return urlsplit(url).path.split("/")[2].split("-")


def altered(url: str, position: int, text: str) -> str:
    """The URL with another text in one place of its seal."""
    parts = seal_of(url)
    seal = "-".join(parts)
    parts[position] = text
    return url.replace(seal, "-".join(parts))


def test_round_trip(client: Client) -> None:
    """What is written through a signed URL is read back through another, byte by byte."""
    place = upload(client, content_md5=MD5, filename="a/b.bin")
    assert place.native_url.endswith(base64.b32encode(MD5).decode() + "/a/b.bin")
    answer = httpx.put(place.signed_url, content=BODY, headers=dict(place.headers))
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.get(download(client, place.native_url)).content == BODY


def test_upload_without_any_header(client: Client) -> None:
    """flytekit's file system sends neither length nor digest: a chunked body is taken."""
    place = upload(client, filename_root="chunked")
    assert httpx.put(place.signed_url, content=iter([BODY, BODY])).status_code == 200
    assert httpx.get(download(client, place.native_url)).content == BODY * 2


def test_wrong_content(client: Client) -> None:
    """A body that is not what was announced is refused and leaves nothing behind."""
    place = upload(client, content_md5=MD5, filename="other.bin")
    assert httpx.put(place.signed_url, content=b"other", headers=dict(place.headers)).status_code in REFUSED
    assert httpx.get(download(client, place.native_url)).status_code == 404


@pytest.mark.parametrize(
    ("position", "text"),
    [(0, "get"), (1, "9999999999"), (2, "99999999999"), (3, "0" * 32), (4, "0" * 64)],
    ids=["verb", "expiry", "size", "md5", "signature"],
)
def test_altered(client: Client, position: int, text: str) -> None:
    """A URL with any changed condition is refused."""
    url = upload(client, content_md5=MD5, filename="altered").signed_url
    assert len(seal_of(url)) == 5
    assert httpx.put(altered(url, position, seal_of(url)[position]), content=BODY).status_code == 200
    answer = httpx.put(altered(url, position, text), content=BODY)
    assert answer.status_code in REFUSED
    assert answer.text


def test_other_object_and_method(client: Client) -> None:
    """The signature of one object opens no other, and a URL to write does not read."""
    place = upload(client, filename_root="mine", filename="one")
    assert httpx.put(place.signed_url, content=BODY).status_code == 200
    assert httpx.put(place.signed_url.removesuffix("one") + "two", content=BODY).status_code in REFUSED
    assert httpx.get(place.signed_url).status_code in REFUSED
    assert httpx.put(download(client, place.native_url), content=BODY).status_code in REFUSED


def test_expired(client: Client) -> None:
    """A URL whose time is over is refused and says so."""
    place = upload(client, filename_root="late")
    assert httpx.put(place.signed_url, content=BODY).status_code == 200
    url = download(client, place.native_url, expires_in=duration_pb2.Duration(nanos=1))
    answer = httpx.get(url)
    assert answer.status_code in REFUSED
    assert "expired" in answer.text


def test_too_long(client: Client) -> None:
    """Nobody gets a URL for more than an hour."""
    with pytest.raises(grpc.RpcError) as refused:
        upload(client, filename_root="long", expires_in=duration_pb2.Duration(seconds=3601))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "name", ["../../../escape", "a/../../../../escape", "a\x00b", "..", "a//../..//b", ".", "%2e%2e/x"]
)
def test_names_that_climb(client: Client, name: str) -> None:
    """A name of a file that is no plain path below its folder is refused."""
    for fields in ({"filename_root": name}, {"filename_root": "root", "filename": name}):
        with pytest.raises(grpc.RpcError) as refused:
            upload(client, **fields)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details()


def test_name_with_a_leading_slash(client: Client) -> None:
    """Such a name stays below the folder of its project and domain."""
    place = upload(client, filename_root="/etc/escape", filename="/hosts")
    assert f"/{PROJECT}/{DOMAIN}/" in place.native_url
    assert httpx.put(place.signed_url, content=BODY).status_code == 200
    assert httpx.get(download(client, place.native_url)).content == BODY


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "s3://elsewhere/x", "{base}/../../etc/passwd", ""]
)
def test_native_urls_outside(client: Client, url: str) -> None:
    """Only objects of the store can be downloaded."""
    base = upload(client, filename_root="x").native_url.rsplit("/", 3)[0]
    with pytest.raises(grpc.RpcError) as refused:
        download(client, url.format(base=base))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_path_tricks(client: Client, installation: Installation) -> None:
    """No spelling of a path reads a file outside of the store, with a good seal or without one."""
    place = upload(client, filename_root="tricks")
    assert httpx.put(place.signed_url, content=BODY).status_code == 200
    good = urlsplit(download(client, place.native_url)).path
    folder = "/".join(good.split("/")[:3])
    secret = Path("/etc/hostname").read_bytes()
    for trick in (
        "../../../../../../etc/hostname",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/hostname",
        "..%2f..%2f..%2f..%2f..%2fetc%2fhostname",
        "/etc/hostname",
        "%2fetc%2fhostname",
        quote("..\\..\\etc\\hostname"),
        "%00",
    ):
        for path in (f"/blobs/{trick}", f"{folder}/{trick}", f"{good}/{trick}"):
            with httpx.Client(base_url=installation.http_url) as http:
                request = http.build_request("GET", installation.http_url)
                request.url = request.url.copy_with(raw_path=path.encode())
                answer = http.send(request)
            assert answer.status_code in REFUSED, path
            assert answer.content != secret
