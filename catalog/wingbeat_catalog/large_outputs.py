"""Outputs too large for a row: objects in the blob store, named by their artifact."""

from collections.abc import Sequence

import structlog

from wingbeat_propeller.ports.blobs import Blobs

_log = structlog.get_logger(__name__)


def outputs_uri(blobs: Blobs, artifact_id: str) -> str:
    """Where large outputs of an entry lie."""
    return f"{blobs.base}/cache/{artifact_id[:2]}/{artifact_id}.pb"


async def remove_objects(blobs: Blobs, uris: Sequence[str]) -> None:
    """Remove objects that no entry names any more; what fails is left for the collector of garbage."""
    for uri in uris:
        try:
            await blobs.delete(uri)
        except (OSError, ValueError) as error:
            _log.warning("outputs of a removed cache entry stay", uri=uri, error=repr(error))
