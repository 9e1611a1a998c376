"""Inputs and outputs for Get*Data: inline as long as one answer holds them, a signed link beyond that.

Clients use the inline map when it is not empty, else they download the link; the console knows inline maps only. The
bound is for the whole answer, because that is what clients limit; outputs are given room first. A value that is
nowhere to be found is an empty map: it was never written, or its blob was removed by the owner of the store.
"""

from dataclasses import dataclass, field

import grpc
import structlog
from flyteidl.admin import common_pb2
from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.errors import ApiError
from wingbeat_propeller.blobs.signing import UrlSigner
from wingbeat_propeller.ports import BlobAccessError, BlobNotFoundError, Blobs

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredValue:
    """Where a LiteralMap lies: serialized in a row, or in a blob. The row's is preferred."""

    inline: bytes | None
    uri: str | None


@dataclass(frozen=True, slots=True)
class Handed:
    """A LiteralMap as handed out: itself, or a link to it when it is too large."""

    literals: literals_pb2.LiteralMap = field(default_factory=literals_pb2.LiteralMap)
    link: common_pb2.UrlBlob = field(default_factory=common_pb2.UrlBlob)


@dataclass(frozen=True, slots=True)
class Data:
    """What the three Get*Data rpcs have in common."""

    inputs: Handed
    outputs: Handed


class DataReader:
    """Reads LiteralMaps out of rows and blobs.

    flytekit downloads links with fsspec, which takes `?` for a pattern and then puts the file elsewhere: `signer` is to
    be one whose URLs have no query, as those that our own server serves.
    """

    def __init__(
        self, blobs: Blobs, signer: UrlSigner, *, inline_bytes_max: int, single_bytes_max: int, link_life_s: float
    ) -> None:
        self._blobs = blobs
        self._signer = signer
        self._inline_bytes_max = inline_bytes_max
        self._single_bytes_max = single_bytes_max
        self._link_life_s = link_life_s

    async def read(self, *, inputs: StoredValue, outputs: StoredValue) -> Data:
        """Both values of an execution, a node or an attempt.

        Raises ApiError DATA_LOSS for a blob that holds no LiteralMap, OSError when the store does not answer.
        """
        handed_outputs, room = await self._hand_out(outputs, self._inline_bytes_max)
        handed_inputs, _ = await self._hand_out(inputs, room)
        return Data(handed_inputs, handed_outputs)

    async def literals(self, value: StoredValue) -> literals_pb2.LiteralMap:
        """One value, whole: its answer has no place for a link, so a caller may raise its own limit to receive it.

        Raises ApiError RESOURCE_EXHAUSTED when it is larger than any answer may be.
        """
        handed, _ = await self._hand_out(value, self._single_bytes_max)
        if handed.link.bytes:
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the literals have {handed.link.bytes} bytes, one answer holds {self._single_bytes_max};"
                " read the whole node or execution, which gives a link",
            )
        return handed.literals

    async def _hand_out(self, value: StoredValue, room: int) -> tuple[Handed, int]:
        """The value within `room` bytes, and the room that is left."""
        data = value.inline
        if data is None and value.uri is not None:
            try:
                stat = await self._blobs.stat(value.uri)
                if stat is None:
                    return Handed(), room
                if stat.size > room:
                    signed = await self._signer.sign_get(value.uri, expires_in_s=self._link_life_s)
                    return Handed(link=common_pb2.UrlBlob(url=signed.url, bytes=stat.size)), room
                data = await self._blobs.get(value.uri)
            except BlobNotFoundError:
                return Handed(), room
            except BlobAccessError as error:
                _log.warning("literals outside of the store", uri=value.uri, error=str(error))
                return Handed(), room
        if not data:
            return Handed(), room
        try:
            return Handed(literals_pb2.LiteralMap.FromString(data)), room - len(data)
        except DecodeError as error:
            raise ApiError(grpc.StatusCode.DATA_LOSS, f"{value.uri or 'a row'} holds no LiteralMap") from error
