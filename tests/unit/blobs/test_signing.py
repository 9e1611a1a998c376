"""Signed URLs of the folder store: they open exactly what they say, for as long as they say."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from wingbeat_propeller.blobs.signing import (
    FolderSigner,
    SignatureExpiredError,
    SignatureMismatchError,
    SignedUrl,
    load_signing_key,
)
from wingbeat_propeller.ports import BlobAccessError

BASE = "file:///data/store"
KEY = b"k" * 32


class Clock:
    """A clock that stands until moved."""

    now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Seconds since the epoch."""
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> FolderSigner:
    """A signer on that clock."""
    return FolderSigner(base=BASE, http_base_url="http://127.0.0.1:8088/", key=KEY, clock=clock)


def parts(signed: SignedUrl) -> tuple[str, dict[str, str]]:
    """Decoded key and query of a signed URL."""
    url = urlsplit(signed.url)
    return unquote(url.path.removeprefix("/blobs/")), dict(parse_qsl(url.query))


@pytest.mark.parametrize("name", ["a/b", "with blank", "é", "100%", "a%2Fb", "q?x#y&z=1", "a+b", "a\nb"])
async def test_roundtrip(signer: FolderSigner, name: str) -> None:
    """A URL opens its object, whatever its name, for reading, and by HEAD too."""
    signed = await signer.sign_get(f"{BASE}/{name}", expires_in_s=60)
    assert signed.url.startswith("http://127.0.0.1:8088/blobs/")
    assert signed.url.isascii()
    assert signed.expires_at == 1_000_060
    key, query = parts(signed)
    for verb in ("GET", "HEAD"):
        assert signer.uri(signer.verify(verb=verb, key=key, query=query)) == f"{BASE}/{name}"
    with pytest.raises(SignatureMismatchError, match="not signed for PUT"):
        signer.verify(verb="PUT", key=key, query=query)


async def test_write_conditions(signer: FolderSigner) -> None:
    """A URL for writing carries its size limit and MD5, and names the header to send."""
    md5 = hashlib.md5(b"x").digest()
    signed = await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=md5, size_max=10)
    assert signed.headers == {"Content-MD5": base64.b64encode(md5).decode()}
    key, query = parts(signed)
    grant = signer.verify(verb="PUT", key=key, query=query)
    assert (grant.md5, grant.size_max) == (md5, 10)
    free = await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=None, size_max=10)
    assert free.headers == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expires", "9999999999"),
        ("expires", "soon"),
        ("expires", "-1"),
        ("expires", "9" * 5000),
        ("size_max", "11"),
        ("size_max", "1e9"),
        ("md5", "00" * 16),
        ("md5", "zz"),
        ("verb", "GET"),
        ("signature", "0" * 64),
        ("signature", ""),
        ("signature", "é"),
    ],
)
async def test_altered(signer: FolderSigner, name: str, value: str) -> None:
    """Any changed condition, also a malformed one, voids the URL; so does a removed one."""
    md5 = hashlib.md5(b"x").digest()
    key, query = parts(await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=md5, size_max=10))
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="PUT", key=key, query={**query, name: value})
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="PUT", key=key, query={each: text for each, text in query.items() if each != name})
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="PUT", key=f"{key}y", query=query)


async def test_unsigned_parameters(signer: FolderSigner) -> None:
    """A limit added to a URL that has none is an alteration; parameters we do not know are ignored."""
    key, query = parts(await signer.sign_get(f"{BASE}/x", expires_in_s=60))
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="GET", key=key, query={**query, "size_max": "1"})
    signer.verify(verb="GET", key=key, query={**query, "utm_source": "mail"})


async def test_expiry(signer: FolderSigner, clock: Clock) -> None:
    """An expired URL says so, unlike an altered one."""
    key, query = parts(await signer.sign_get(f"{BASE}/x", expires_in_s=60))
    clock.now += 59
    signer.verify(verb="GET", key=key, query=query)
    clock.now += 1
    with pytest.raises(SignatureExpiredError):
        signer.verify(verb="GET", key=key, query=query)
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="GET", key=key, query={**query, "expires": "9999999999"})


async def test_other_installation(signer: FolderSigner, clock: Clock) -> None:
    """Neither another key nor another store opens anything here."""
    for other in (
        FolderSigner(base=BASE, http_base_url="http://h", key=b"o" * 32, clock=clock),
        FolderSigner(base="file:///other", http_base_url="http://h", key=KEY, clock=clock),
    ):
        key, query = parts(await signer.sign_get(f"{BASE}/x", expires_in_s=60))
        with pytest.raises(SignatureMismatchError):
            other.verify(verb="GET", key=key, query=query)


async def test_outside(signer: FolderSigner) -> None:
    """Nothing outside of the store is ever signed."""
    for uri in ("file:///etc/passwd", f"{BASE}/../x", f"{BASE}/%2e%2e/x", f"{BASE}/", "s3://b/x"):
        with pytest.raises(BlobAccessError):
            await signer.sign_get(uri, expires_in_s=60)
        with pytest.raises(BlobAccessError):
            await signer.sign_put(uri, expires_in_s=60, md5=None, size_max=1)


def test_signing_key(tmp_path: Path) -> None:
    """The key is made once, stays the same, is private, and a broken file is not taken for one."""
    path = tmp_path / "signing.key"
    key = load_signing_key(path)
    assert len(key) == 32
    assert load_signing_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["signing.key"]
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="holds 0 bytes"):
        load_signing_key(path)
    with pytest.raises(ValueError, match="at least 32 bytes"):
        FolderSigner(base=BASE, http_base_url="", key=b"short")
