"""URLs that let their bearer read or write one object for a while, without any other credential.

The folder store has no server of its own, so ours serves `<base url>/blobs/<key>` and trusts the query string: verb,
key, expiry, and for writes the largest size and (if known) the MD5, sealed by HMAC-SHA256 with a key that only the
servers of an installation share. Everything the server acts on is under the seal; what is not (other parameters) it
ignores. An S3 store makes and checks such URLs itself (`s3.S3Signer`).
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
from urllib.parse import quote, urlencode

from wingbeat_propeller.blobs.keys import check_key, object_key

ROUTE = "/blobs/"
"""Path under which a server serves signed requests, key after it."""

SIGNING_KEY_BYTES = 32

_WHOLE_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


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
    """What a signed URL allows. `size_max` and `md5` concern writes only."""

    verb: str
    key: str
    expires_at: int
    size_max: int | None = None
    md5: bytes | None = None


class FolderSigner:
    """Signs and checks URLs of objects of the store `base`; satisfies `UrlSigner`.

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
        """See `UrlSigner`."""
        return self._url(Grant("GET", object_key(uri, self._base), int(self._clock() + expires_in_s)))

    async def sign_put(
        self, uri: str, *, expires_in_s: float, md5: bytes | None, size_max: int, md5_metadata: bool = False
    ) -> SignedUrl:
        """See `UrlSigner`. A folder has no place for metadata, so `md5_metadata` changes nothing."""
        key = object_key(uri, self._base)
        signed = self._url(Grant("PUT", key, int(self._clock() + expires_in_s), size_max, md5))
        headers = {} if md5 is None else {"Content-MD5": base64.b64encode(md5).decode()}
        return SignedUrl(signed.url, signed.expires_at, headers)

    def verify(self, *, verb: str, key: str, query: Mapping[str, str]) -> Grant:
        """What the URL with this decoded `key` and these query parameters allows for `verb` (GET, HEAD or PUT).

        Raises SignatureMismatchError, SignatureExpiredError; BlobAccessError never for a key that was signed.
        """
        grant = _parse(verb="GET" if verb == "HEAD" else verb, key=key, query=query)
        if not hmac.compare_digest(self._seal(grant).encode(), query.get("signature", "").encode()):
            raise SignatureMismatchError("the signature of this URL does not fit its method, object or conditions")
        if self._clock() >= grant.expires_at:
            raise SignatureExpiredError("this URL has expired; ask for a new one")
        check_key(key)
        return grant

    def uri(self, grant: Grant) -> str:
        """URI of the object a grant is about."""
        return f"{self._base}/{grant.key}"

    def _url(self, grant: Grant) -> SignedUrl:
        parameters = {"verb": grant.verb, "expires": str(grant.expires_at)}
        if grant.size_max is not None:
            parameters["size_max"] = str(grant.size_max)
        if grant.md5 is not None:
            parameters["md5"] = grant.md5.hex()
        parameters["signature"] = self._seal(grant)
        url = f"{self._http_base_url}{ROUTE}{quote(grant.key, safe='/')}?{urlencode(parameters)}"
        return SignedUrl(url, float(grant.expires_at))

    def _seal(self, grant: Grant) -> str:
        """HMAC of everything in a grant; lengths are unambiguous because the key, the one free text, comes last."""
        size_max = "" if grant.size_max is None else str(grant.size_max)
        md5 = "" if grant.md5 is None else grant.md5.hex()
        text = f"wingbeat-blob-1\n{grant.verb}\n{grant.expires_at}\n{size_max}\n{md5}\n{self._base}\n{grant.key}"
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), sha256).hexdigest()


def _parse(*, verb: str, key: str, query: Mapping[str, str]) -> Grant:
    """The grant a URL claims to be, unchecked. Raises SignatureMismatchError when it cannot be one of ours."""
    if query.get("verb") != verb:
        raise SignatureMismatchError(f"this URL was not signed for {verb}")
    md5 = query.get("md5")
    try:
        return Grant(
            verb=verb,
            key=key,
            expires_at=_whole_number(query["expires"]),
            size_max=_whole_number(query["size_max"]) if "size_max" in query else None,
            md5=None if md5 is None else bytes.fromhex(md5),
        )
    except (KeyError, ValueError) as error:
        raise SignatureMismatchError("a part of this URL's signature is missing or malformed") from error


def _whole_number(text: str) -> int:
    if not _WHOLE_NUMBER.match(text):
        raise ValueError(f"{text[:40]!r} is no number")
    return int(text)


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
