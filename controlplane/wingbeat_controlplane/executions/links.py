"""Links to blobs for programs that download with fsspec, as flytekit does with data too large for an answer.

fsspec takes `?*[` in a URL for patterns and then puts the file elsewhere than asked. So the query that carries the
signature stands behind a semicolon, where our own server reads it too; a signer whose URLs lead to another server
cannot be used here.
"""

from wingbeat_propeller.blobs.signing import UrlSigner


class SignedLinks:
    """Satisfies `data.Links` by URLs of `signer`, which must be of this server's `/blobs/` route."""

    def __init__(self, signer: UrlSigner) -> None:
        self._signer = signer

    async def link(self, uri: str, *, life_s: float) -> str:
        """See `data.Links`."""
        signed = await self._signer.sign_get(uri, expires_in_s=life_s)
        return signed.url.replace("?", ";", 1)
