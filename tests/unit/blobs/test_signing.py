"""Signed URLs that our server serves: they open exactly what they say, for as long as they say."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from wingbeat_propeller.blobs.signing import (
    ServedUrlSigner,
    SignatureExpiredError,
    SignatureMismatchError,
    SignedUrl,
    load_signing_key,
)
from wingbeat_propeller.ports.blobs import BlobAccessError

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
def signer(clock: Clock) -> ServedUrlSigner:
    """A signer on that clock."""
    return ServedUrlSigner(base=BASE, http_base_url="http://127.0.0.1:8088/", key=KEY, clock=clock)


def parts(signed: SignedUrl) -> tuple[str, str]:
    """Seal and decoded key of a signed URL."""
    url = urlsplit(signed.url)
    assert not url.query
    seal, _, key = url.path.removeprefix("/blobs/").partition("/")
    return seal, unquote(key)


@pytest.mark.parametrize("name", ["a/b", "with blank", "é", "100%", "a%2Fb", "q?x#y&z=1", "a+b", "a\nb", "x[0]*"])
async def test_roundtrip(signer: ServedUrlSigner, name: str) -> None:
    """A URL opens its object, whatever its name, for reading, and by HEAD too; it holds no pattern characters."""
    signed = await signer.sign_get(f"{BASE}/{name}", expires_in_s=60)
    assert signed.url.startswith("http://127.0.0.1:8088/blobs/")
    assert signed.url.isascii()
    assert not set("?*[]#") & set(signed.url)
    assert signed.expires_at == 1_000_060
    seal, key = parts(signed)
    for verb in ("GET", "HEAD"):
        assert signer.uri(signer.verify(verb=verb, seal=seal, key=key)) == f"{BASE}/{name}"
    for verb in ("PUT", "DELETE"):
        with pytest.raises(SignatureMismatchError, match=f"not signed for {verb}"):
            signer.verify(verb=verb, seal=seal, key=key)


async def test_write_conditions(signer: ServedUrlSigner) -> None:
    """A URL for writing carries its size limit and MD5, and names the header to send; it reads nothing."""
    md5 = hashlib.md5(b"x").digest()
    signed = await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=md5, size_max=10)
    assert signed.headers == {"Content-MD5": base64.b64encode(md5).decode()}
    seal, key = parts(signed)
    grant = signer.verify(verb="PUT", seal=seal, key=key)
    assert (grant.md5, grant.size_max) == (md5, 10)
    free = await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=None, size_max=10)
    assert free.headers == {}
    seal, key = parts(free)
    assert signer.verify(verb="PUT", seal=seal, key=key).md5 is None
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="GET", seal=seal, key=key)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (0, "get"),
        (1, "9999999999"),
        (1, "soon"),
        (1, "-1"),
        (1, "9" * 5000),
        (1, "\u0661"),
        (2, "11"),
        (2, "1e9"),
        (2, ""),
        (3, "00" * 16),
        (3, "zz"),
        (3, ""),
        (4, "0" * 64),
        (4, ""),
        (4, "é"),
    ],
)
async def test_altered(signer: ServedUrlSigner, part: int, value: str) -> None:
    """Any changed, removed or malformed condition voids the URL, and so does another object."""
    md5 = hashlib.md5(b"x").digest()
    seal, key = parts(await signer.sign_put(f"{BASE}/x", expires_in_s=60, md5=md5, size_max=10))
    conditions = seal.split("-")
    without = [text for position, text in enumerate(conditions) if position != part]
    conditions[part] = value
    for altered in ("-".join(conditions), "-".join(without)):
        with pytest.raises(SignatureMismatchError):
            signer.verify(verb="PUT", seal=altered, key=key)
    for other in (f"{key}y", "", "\ud800"):
        with pytest.raises(SignatureMismatchError):
            signer.verify(verb="PUT", seal=seal, key=other)


async def test_expiry(signer: ServedUrlSigner, clock: Clock) -> None:
    """An expired URL says so, unlike an altered one."""
    seal, key = parts(await signer.sign_get(f"{BASE}/x", expires_in_s=60))
    clock.now += 59
    signer.verify(verb="GET", seal=seal, key=key)
    clock.now += 1
    with pytest.raises(SignatureExpiredError):
        signer.verify(verb="GET", seal=seal, key=key)
    with pytest.raises(SignatureMismatchError):
        signer.verify(verb="GET", seal=seal.replace("1000060", "9999999"), key=key)


async def test_other_installation(signer: ServedUrlSigner, clock: Clock) -> None:
    """Neither another key nor another store opens anything here."""
    seal, key = parts(await signer.sign_get(f"{BASE}/x", expires_in_s=60))
    for other in (
        ServedUrlSigner(base=BASE, http_base_url="http://h", key=b"o" * 32, clock=clock),
        ServedUrlSigner(base="file:///other", http_base_url="http://h", key=KEY, clock=clock),
    ):
        with pytest.raises(SignatureMismatchError):
            other.verify(verb="GET", seal=seal, key=key)


async def test_outside(signer: ServedUrlSigner) -> None:
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
        ServedUrlSigner(base=BASE, http_base_url="", key=b"short")
