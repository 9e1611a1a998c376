"""Objects of the blob store over HTTP: GET and PUT of URLs that this installation signed.

Bodies stream through with a few chunks in memory. A PUT becomes an object only when its whole body has come, is within
the size the URL allows and has the MD5 that the URL or the client named; otherwise nothing is stored. Answers are
sentences in plain text, since these URLs are followed by programs that print what they get.
"""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from mimetypes import guess_type
from urllib.parse import unquote_to_bytes

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from wingbeat_controlplane.gateway.transcoding import raw_path
from wingbeat_propeller.blobs.signing import (
    ROUTE,
    Grant,
    ServedUrlSigner,
    SignatureExpiredError,
    SignatureMismatchError,
)
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError

DRAIN_BYTES_MAX = 4 << 20
"""So much of a refused body is read and dropped, so that a client that sends before it listens sees the answer."""

# Objects are made by users' tasks: a page among them may run its scripts, but not as a page of this origin.
_SANDBOX = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups allow-downloads",
    "X-Content-Type-Options": "nosniff",
}
_METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"]
_log = structlog.get_logger(__name__)


def blob_routes(blobs: Blobs, signer: ServedUrlSigner) -> list[Route]:
    """GET, HEAD and PUT below `/blobs/`."""
    bodies = _BlobBodies(blobs, signer)

    async def serve(request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return await bodies.read(request)
        if request.method == "PUT":
            return await bodies.write(request)
        return PlainTextResponse("objects are read by GET and written by PUT\n", 405, {"Allow": "GET, HEAD, PUT"})

    return [Route(f"{ROUTE}{{key:path}}", serve, methods=_METHODS)]


class _RefusedError(Exception):
    """The request ends with this HTTP status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class _BlobBodies:
    def __init__(self, blobs: Blobs, signer: ServedUrlSigner) -> None:
        self._blobs = blobs
        self._signer = signer

    async def read(self, request: Request) -> Response:
        """The object of a URL signed for GET."""
        try:
            grant = self._grant(request)
            uri = self._signer.uri(grant)
            size = await self._size(uri)
            headers = {"Content-Length": str(size), "Cache-Control": "private, no-store", **_SANDBOX}
            media_type = _media_type(grant.key)
            if request.method == "HEAD":
                return Response(headers=headers, media_type=media_type)
            chunks = self._blobs.open(uri)
            first = await anext(chunks, b"")
        except _RefusedError as error:
            return _refusal(error)
        except BlobNotFoundError:
            return PlainTextResponse("there is no such object\n", 404)
        except BlobAccessError as error:
            return PlainTextResponse(f"{error}\n", 400)
        except OSError as error:
            _log.warning("blob store failed", reason=repr(error))
            return PlainTextResponse("the blob store does not answer; try again\n", 503)
        return StreamingResponse(_preceded(first, chunks), headers=headers, media_type=media_type)

    async def write(self, request: Request) -> Response:
        """Store the body under a URL signed for PUT; answers 200 with an empty body."""
        try:
            grant = self._grant(request)
            announced = _announced_md5(request, grant)
            _check_length(request, grant)
            body = _checked(request.stream(), announced)
            await self._blobs.put_stream(self._signer.uri(grant), body, size_max=grant.size_max)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it; nothing was stored
        except _RefusedError as error:
            refusal = _refusal(error)
        except BlobTooLargeError:
            refusal = PlainTextResponse("the body is larger than this URL allows\n", 413)
        except BlobAccessError as error:
            refusal = PlainTextResponse(f"{error}\n", 400)
        except OSError as error:
            _log.warning("blob store failed", reason=repr(error))
            refusal = PlainTextResponse("the blob store does not take the object; try again\n", 503)
        else:
            return Response(status_code=200)
        await _drain(request)
        return refusal

    def _grant(self, request: Request) -> Grant:
        """What the URL allows. Raises _RefusedError 403 when that is nothing."""
        try:
            seal, key = _signed_parts(request)
            return self._signer.verify(verb=request.method, seal=seal, key=key)
        except (SignatureExpiredError, SignatureMismatchError) as error:
            raise _RefusedError(403, str(error)) from error
        except ValueError as error:
            raise _RefusedError(403, "this URL is malformed") from error

    async def _size(self, uri: str) -> int:
        stat = await self._blobs.stat(uri)
        if stat is None:
            raise BlobNotFoundError(uri)
        return stat.size


def _signed_parts(request: Request) -> tuple[str, str]:
    """Seal and key of a URL, the key decoded once. Raises SignatureMismatchError, ValueError."""
    encoded = raw_path(request.scope)
    if not encoded.startswith(ROUTE):
        raise SignatureMismatchError("this path was not signed")
    seal, _, key = encoded.removeprefix(ROUTE).partition("/")
    return seal, unquote_to_bytes(key).decode()


def _check_length(request: Request, grant: Grant) -> None:
    """Raise BlobTooLargeError for a body that says so itself."""
    length = request.headers.get("content-length", "")
    if grant.size_max is not None and length.isdecimal() and int(length[:20]) > grant.size_max:
        raise BlobTooLargeError


def _announced_md5(request: Request, grant: Grant) -> bytes | None:
    """The MD5 that the body must have, by header or URL. Raises _RefusedError."""
    header = request.headers.get("content-md5")
    if header is None:
        return grant.md5
    try:
        announced = base64.b64decode(header, validate=True)
    except binascii.Error as error:
        raise _RefusedError(400, "the header Content-MD5 is no base64 text") from error
    if len(announced) != 16:
        raise _RefusedError(400, "the header Content-MD5 does not hold 16 bytes")
    if grant.md5 is not None and announced != grant.md5:
        raise _RefusedError(400, "the header Content-MD5 differs from the one this URL was signed for")
    return announced


async def _checked(chunks: AsyncIterator[bytes], announced: bytes | None) -> AsyncIterator[bytes]:
    """The chunks; raises _RefusedError at their end when their MD5 is not the announced one."""
    digest = hashlib.md5(usedforsecurity=False)
    async for chunk in chunks:
        if announced is not None:
            digest.update(chunk)
        yield chunk
    if announced is not None and digest.digest() != announced:
        raise _RefusedError(400, "the body does not have the announced Content-MD5; nothing was stored")


async def _preceded(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


async def _drain(request: Request) -> None:
    dropped = 0
    try:
        async for chunk in request.stream():
            dropped += len(chunk)
            if dropped > DRAIN_BYTES_MAX:
                return
    except (ClientDisconnect, RuntimeError):  # gone, or the body was read by whoever refused it
        return


def _media_type(key: str) -> str:
    if key.endswith(".html"):
        return "text/html; charset=utf-8"
    return guess_type(key)[0] or "application/octet-stream"


def _refusal(error: _RefusedError) -> Response:
    return PlainTextResponse(f"{error.sentence}\n", error.status)
