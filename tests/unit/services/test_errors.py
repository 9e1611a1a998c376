"""What may leave a handler, and how much of it fits into trailers."""

import asyncio
from urllib.parse import quote

import asyncpg
import grpc
import pytest
from flyteidl.admin import project_pb2, version_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.services.errors import OWN_STATUS_BYTES_MAX, STATUS_BYTES_MAX, cut, guard, status_of

_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What gRPC sends as it is in a status message; everything else is percent-encoded."""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ApiError(grpc.StatusCode.NOT_FOUND, "x"), grpc.StatusCode.NOT_FOUND),
        (asyncpg.CharacterNotInRepertoireError("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (asyncpg.ProgramLimitExceededError("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (asyncpg.ConnectionDoesNotExistError("x"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.CannotConnectNowError("x"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.InterfaceError("pool is closing"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.InternalClientError("cannot switch to state"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.DeadlockDetectedError("x"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.ClientConfigurationError("x"), grpc.StatusCode.INTERNAL),
        (ConnectionRefusedError("x"), grpc.StatusCode.UNAVAILABLE),
        (TimeoutError("x"), grpc.StatusCode.UNAVAILABLE),
        (asyncpg.DataError("x"), grpc.StatusCode.INTERNAL),
        (KeyError("x"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_every_error_has_its_code(raised: Exception, code: grpc.StatusCode) -> None:
    """Nothing but ApiError comes out, and never UNKNOWN."""

    async def fail() -> version_pb2.Version:
        raise raised

    with pytest.raises(ApiError) as caught:
        await guard("/s/m", fail)
    assert caught.value.code is code


async def test_cancellation_passes() -> None:
    """A cancelled call is cancelled, not an error of ours."""

    async def fail() -> version_pb2.Version:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await guard("/s/m", fail)


@given(st.text(max_size=300), st.integers(40, 400))
def test_cut_text_fits_as_grpc_encodes_it(text: str, size_max: int) -> None:
    """The percent-encoded form has at most the size asked for, and what remains is a beginning of the text."""
    shown = cut(text, size_max)
    assert len(quote(shown, safe=_PLAIN)) <= size_max
    assert shown == text or text.startswith(shown.removesuffix("... (cut)"))


@pytest.mark.parametrize("size_max", [STATUS_BYTES_MAX, OWN_STATUS_BYTES_MAX])
@pytest.mark.parametrize("detail_size", [0, 10, 5_000, 12_000, 50_000])
def test_status_with_details_fits(detail_size: int, size_max: int) -> None:
    """Message and details together stay within the limit; details too large for it are left out."""
    details = [project_pb2.InactiveProject(id="p" * detail_size)] if detail_size else []
    status = status_of(invalid_argument("é" * 40_000, details), size_max)
    plain = len(quote(status.message, safe=_PLAIN))
    sent = plain + (status.ByteSize() * 4 // 3 if status.details else 0)
    assert sent <= size_max
    assert bool(status.details) == (0 < detail_size <= (5_000 if size_max == STATUS_BYTES_MAX else 10))
    assert status.code == 3
