"""URLs that let their bearer read or write one object for a while, without any other credential.

A folder has no server of its own, so ours serves `<base url>/blobs/<seal>/<key>`. The seal says what is allowed (verb,
expiry, and for writes the largest size and the MD5 if known) and ends in an HMAC-SHA256 over all of it, the store and
the key, made with a secret that only the servers of an installation share. It stands in the path because clients like
fsspec take a question mark in a URL for a pattern. S3 makes and checks URLs itself (`s3.S3Signer`).
"""

import base64
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from wingbeat_propeller.blobs.keys import object_key

ROUTE = "/blobs/"
"""Path under which our server serves signed requests; seal and key follow."""

SIGNING_KEY_BYTES = 32

_SEAL = re.compile(
    r"(?:get-(?P<get_expires>[0-9]{1,12})|put-(?P<put_expires>[0-9]{1,12})"
    r"-(?P<size_max>[0-9]{1,18})-(?P<md5>[0-9a-f]{32})?)-(?P<mac>[0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL, the seconds since the epoch at which it ends, and headers that must be sent with the request."""

    url: str
    expires_at: float
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class UrlSigner(Protocol):
    """Makes URLs for single objects of a store. Both methods raise BlobAccessError for a URI outside of it."""

    async def sign_get(self, uri: str, *, expires_in_s: float) -> SignedUrl:
        """A URL to read the object; that it exists is not checked."""
        ...

    async def sign_put(
        self, uri: str, *, expires_in_s: float, md5: bytes | None, size_max: int, md5_metadata: bool = False
    ) -> SignedUrl:
        """A URL to write the object, of at most `size_max` bytes where the store can check that.

        `md5` (16 bytes) binds the content; `md5_metadata` asks to keep it beside the object where stores have a place.
        """
        ...


class SignatureExpiredError(Exception):
    """The URL was good once; a new one must be asked for."""


class SignatureMismatchError(Exception):
    """The URL was not made by this installation, or was altered, or is used with another method."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed URL allows. Writes have a `size_max` in bytes, and `md5` when their content is bound."""

    verb: str
    key: str
    expires_at: int
    size_max: int | None = None
    md5: bytes | None = None


class ServedUrlSigner:
    """Signs and checks URLs of objects of the store `base` that our own server serves; satisfies `UrlSigner`.

    `http_base_url` is where clients reach the server, for instance `http://127.0.0.1:8088`; `clock` returns seconds
    since the epoch.
    """

    def __init__(self, *, base: str, http_base_url: str, key: bytes, clock: Callable[[], float] = time.time) -> None:
        if len(key) < SIGNING_KEY_BYTES:
            raise ValueError(f"a signing key has at least {SIGNING_KEY_BYTES} bytes")
        self._base = base
        self._http_base_url = http_base_url.rstrip("/")
        self._key = key
        self._clock = clock

    async def sign_get(self, uri: str, *, expires_in_s: float) -> SignedUrl:
        """See `UrlSigner`. The URL holds no `?`, `*` or `[`."""
        return self._url(Grant("GET", object_key(uri, self._base), self._end(expires_in_s)))

    async def sign_put(
        self, uri: str, *, expires_in_s: float, md5: bytes | None, size_max: int, md5_metadata: bool = False
    ) -> SignedUrl:
        """See `UrlSigner`. There is no place for metadata, so `md5_metadata` changes nothing."""
        headers = {} if md5 is None else {"Content-MD5": base64.b64encode(md5).decode()}
        return self._url(Grant("PUT", object_key(uri, self._base), self._end(expires_in_s), size_max, md5), headers)

    def verify(self, *, verb: str, seal: str, key: str) -> Grant:
        """What the URL with this seal and (decoded) key allows for `verb`: GET, HEAD or PUT.

        Raises SignatureMismatchError, SignatureExpiredError.
        """
        parts = _SEAL.fullmatch(seal)
        if parts is None:
            raise SignatureMismatchError("this URL is not signed, or its signature is malformed")
        signed_verb = "GET" if parts["get_expires"] else "PUT"
        if signed_verb != ("GET" if verb == "HEAD" else verb):
            raise SignatureMismatchError(f"this URL was not signed for {verb}")
        grant = Grant(
            verb=signed_verb,
            key=key,
            expires_at=int(parts["get_expires"] or parts["put_expires"]),
            size_max=int(parts["size_max"]) if parts["size_max"] else None,
            md5=bytes.fromhex(parts["md5"]) if parts["md5"] else None,
        )
        if not hmac.compare_digest(self._seal(grant), seal):
            raise SignatureMismatchError("the signature of this URL does not fit its object and conditions")
        if self._clock() >= grant.expires_at:
            raise SignatureExpiredError("this URL has expired; ask for a new one")
        return grant

    def uri(self, grant: Grant) -> str:
        """URI of the object a grant is about."""
        return f"{self._base}/{grant.key}"

    def _end(self, expires_in_s: float) -> int:
        return int(self._clock() + expires_in_s)

    def _url(self, grant: Grant, headers: Mapping[str, str] | None = None) -> SignedUrl:
        url = f"{self._http_base_url}{ROUTE}{self._seal(grant)}/{quote(grant.key, safe='/')}"
        return SignedUrl(url, float(grant.expires_at), headers or {})

    def _seal(self, grant: Grant) -> str:
        """The conditions as text and their MAC. The key of the object comes last, so no two grants have one text."""
        conditions = f"{grant.verb.lower()}-{grant.expires_at}"
        if grant.verb == "PUT":
            conditions += f"-{grant.size_max}-{'' if grant.md5 is None else grant.md5.hex()}"
        text = f"wingbeat-blob-1\n{conditions}\n{self._base}\n{grant.key}"
        mac = hmac.new(self._key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()
        return f"{conditions}-{mac}"


def load_signing_key(path: Path) -> bytes:
    """The installation's key, made at first use and readable by its owner only; safe when many processes start at once.

    Raises OSError, and ValueError for a file that holds no such key.
    """
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SIGNING_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first; its key counts
                os.link(partial, path)
        finally:
            os.unlink(partial)
        key = path.read_bytes()
    if len(key) != SIGNING_KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes, not a signing key of {SIGNING_KEY_BYTES}")
    return key
