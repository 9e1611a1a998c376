"""Inputs and outputs for Get*Data: inline as long as one answer holds them, a signed link beyond that.

Clients use the inline map when it is not empty, else they download the link; the console knows inline maps only. The
bound is for the whole answer, because that is what clients limit; outputs are given room first. A value that is
nowhere to be found is an empty map: it was never written, or its blob was removed by the owner of the store.

Values are passed on as bytes: to parse and serialize megabytes of literals takes seconds in which nobody else is
served. Only their outermost level is looked at, so that an answer is always a legal message.
"""

from dataclasses import dataclass, field

import grpc
import structlog
from flyteidl.admin import common_pb2, execution_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_propeller.blobs.signing import UrlSigner
from wingbeat_propeller.core.values import MalformedLiteralMapError, split_literal_map, wire_field
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError

# The three Get*Data messages agree in these numbers.
_FULL_INPUTS = execution_pb2.WorkflowExecutionGetDataResponse.FULL_INPUTS_FIELD_NUMBER
_FULL_OUTPUTS = execution_pb2.WorkflowExecutionGetDataResponse.FULL_OUTPUTS_FIELD_NUMBER

WHOLE_BYTES_MAX = 256 << 20
"""Largest value that is handed out in one piece to those who ask for just that."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredValue:
    """Where a LiteralMap lies: serialized in a row, or in a blob. The row's is preferred."""

    inline: bytes | None
    uri: str | None


@dataclass(frozen=True, slots=True)
class Handed:
    """A LiteralMap as handed out: itself, serialized, or a link to it when it is too large."""

    literals: bytes = b""
    link: common_pb2.UrlBlob = field(default_factory=common_pb2.UrlBlob)


@dataclass(frozen=True, slots=True)
class Data:
    """What the three Get*Data rpcs have in common."""

    inputs: Handed
    outputs: Handed

    def encode(self) -> bytes:
        """Fields `full_inputs` and `full_outputs` of any of the three answers, serialized."""
        return wire_field(_FULL_INPUTS, self.inputs.literals) + wire_field(_FULL_OUTPUTS, self.outputs.literals)


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

    async def literals(self, value: StoredValue) -> bytes:
        """One value, whole. Raises ApiError as `read` does, and RESOURCE_EXHAUSTED beyond WHOLE_BYTES_MAX."""
        try:
            return await self._load(value, bytes_max=WHOLE_BYTES_MAX)
        except BlobTooLargeError as error:
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the literals have more than {WHOLE_BYTES_MAX >> 20} MiB; the data of their node gives a link to them",
            ) from error

    async def _hand_out(self, value: StoredValue, room: int) -> tuple[Handed, int]:
        """The value within `room` bytes, and the room that is left."""
        try:
            data = await self._load(value, bytes_max=room)
        except BlobTooLargeError:
            return await self._link(value.uri or ""), room
        return Handed(data), room - len(data)

    async def _load(self, value: StoredValue, *, bytes_max: int) -> bytes:
        """The serialized map, empty when there is none. Raises BlobTooLargeError for a blob above `bytes_max`."""
        data = value.inline
        if data is None:
            if value.uri is None:
                return b""
            try:
                data = await self._blobs.get(value.uri, bytes_max)
            except BlobNotFoundError:
                return b""
            except BlobAccessError as error:
                _log.warning("literals outside of the store", uri=value.uri, error=str(error))
                return b""
        try:
            split_literal_map(data)
        except MalformedLiteralMapError as error:
            raise ApiError(grpc.StatusCode.DATA_LOSS, f"{value.uri or 'a row'} holds no LiteralMap") from error
        return data

    async def _link(self, uri: str) -> Handed:
        stat = await self._blobs.stat(uri)
        if stat is None:
            return Handed()
        signed = await self._signer.sign_get(uri, expires_in_s=self._link_life_s)
        return Handed(link=common_pb2.UrlBlob(url=signed.url, bytes=stat.size))
