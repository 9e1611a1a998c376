"""Object keys: the part of a URI below a store's base.

Task containers hand URIs to programs that read them literally, so a URI is never percent-decoded here: `a%20b` is a
name with a percent sign in it. What can be mistaken for a way out by anybody who does decode is refused all the same.
"""

import re
from urllib.parse import unquote

from wingbeat_propeller.ports.blobs import BlobAccessError

KEY_BYTES_MAX = 1024
"""Longest key in UTF-8 that S3 takes; the same bound holds for folders, so that projects can move between them."""

_DOT_SEGMENTS = frozenset({".", ".."})
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_DECODINGS_MAX = 8


def object_key(uri: str, base: str) -> str:
    """Key of the object at `uri` in the store with URI prefix `base`. Raises BlobAccessError.

    Refused are URIs outside the base, the base itself, keys that end in a slash, dot segments in any percent-encoding,
    NUL and keys that are too long or no valid text.
    """
    key = prefix_key(uri, base)
    if not key or key.endswith("/"):
        raise BlobAccessError(f"{shown(uri)} names no object")
    return key


def prefix_key(uri: str, base: str) -> str:
    """Key of the folder `uri` stands for, empty for the base itself. Raises BlobAccessError as `object_key` does."""
    if uri == base:
        return ""
    if not uri.startswith(f"{base}/"):
        raise BlobAccessError(f"{shown(uri)} lies outside of the store {base}")
    key = uri[len(base) + 1 :]
    check_key(key)
    return key


def check_key(key: str) -> None:
    """Raise BlobAccessError for a key with dot segments (also percent-encoded ones), NUL, or more than 1,024 bytes."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise BlobAccessError(f"{shown(key)} is no valid text") from error
    if size > KEY_BYTES_MAX:
        raise BlobAccessError(f"an object key has at most {KEY_BYTES_MAX} bytes, this one has {size}")
    decoded = key
    for _ in range(_DECODINGS_MAX):
        if "\0" in decoded:
            raise BlobAccessError(f"{shown(key)} holds a NUL character")
        if not _DOT_SEGMENTS.isdisjoint(decoded.replace("\\", "/").split("/")):
            raise BlobAccessError(f"{shown(key)} holds a dot segment")
        if not _ESCAPE.search(decoded):
            return
        decoded = unquote(decoded, errors="replace")
    raise BlobAccessError(f"{shown(key)} is percent-encoded too many times")


def shown(text: str) -> str:
    """A URI or key as it may stand in a sentence: quoted, cut to 200 characters."""
    return repr(text if len(text) <= 200 else f"{text[:200]}...")
