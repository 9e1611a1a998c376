"""What the package offers: the two clients agree, and errors have the classes and fields that servers mean."""

import inspect
import re
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

import wingbeat
from wingbeat import AsyncClient, Client, ExecutionId
from wingbeat.connection import pause_before
from wingbeat.errors import (
    ConversionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
    error_of,
)
from wingbeat.literals.spans import parse_span, span_text


class Refusal(grpc.RpcError):
    """A failed call."""

    def __init__(self, code: grpc.StatusCode, *details: Any) -> None:
        status = status_pb2.Status()
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        self._code = code
        self._trailers = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        """Its code."""
        return self._code

    def details(self) -> str:
        """Its sentence."""
        return "no"

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Where the details travel."""
        return self._trailers


def _methods(kind: type) -> dict[str, Any]:
    return {name: one for name, one in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def _awaited(annotation: str) -> str:
    bare = annotation.replace('"', "").replace("'", "").replace("Async", "")
    return re.sub(r"(Iterable\[[^|]*\]) \| \1", r"\1", bare)


@pytest.mark.parametrize("name", sorted(_methods(AsyncClient)))
def test_the_clients_agree(name: str) -> None:
    """Every method of one is a method of the other, with the same parameters and the same words about it."""
    theirs, ours = inspect.signature(_methods(AsyncClient)[name]), inspect.signature(_methods(Client)[name])
    assert [(one.name, one.kind, one.default) for one in theirs.parameters.values()] == [
        (one.name, one.kind, one.default) for one in ours.parameters.values()
    ]
    assert _awaited(str(theirs.return_annotation)) == _awaited(str(ours.return_annotation))
    assert inspect.getdoc(_methods(AsyncClient)[name]) == inspect.getdoc(_methods(Client)[name])


def test_no_method_is_missing() -> None:
    """The client without asyncio has no methods of its own either."""
    assert _methods(Client).keys() == _methods(AsyncClient).keys()


def test_every_name_is_there() -> None:
    """What the package says it offers can be had."""
    assert set(wingbeat.__all__) <= set(dir(wingbeat))
    for name in wingbeat.__all__:
        assert getattr(wingbeat, name) is not None


def test_details_of_errors() -> None:
    """Violations, reason, metadata and delay are fields; details of unknown types are left out."""
    bad = error_details_pb2.BadRequest(field_violations=[{"field": "inputs.a", "description": "missing"}])
    info = error_details_pb2.ErrorInfo(reason="WHY", metadata={"oldest": "7"})
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    error = error_of(Refusal(grpc.StatusCode.INVALID_ARGUMENT, bad, info, retry, status_pb2.Status()))
    assert isinstance(error, InvalidArgumentError)
    assert (error.violations[0].field, error.violations[0].description) == ("inputs.a", "missing")
    assert (error.reason, error.metadata, error.retry_delay_s) == ("WHY", {"oldest": "7"}, 1.5)
    assert str(error) == "no (INVALID_ARGUMENT)"
    assert type(error_of(Refusal(grpc.StatusCode.DATA_LOSS))) is ServerError


def test_when_calls_are_repeated() -> None:
    """After as long as the server says, or ever longer; not when the server may have done it and that would matter."""
    busy = ResourceExhaustedError("RESOURCE_EXHAUSTED", "")
    busy.retry_delay_s = 2.0
    assert 2.0 <= (pause_before(busy, 1) or 0) <= 2.5
    assert pause_before(busy, 1, repeatable=False) is not None
    gone = UnavailableError("UNAVAILABLE", "")
    assert (pause_before(gone, 1) or 9) < 0.2 < (pause_before(gone, 3) or 0)
    assert pause_before(gone, 1, repeatable=False) is None
    assert pause_before(InvalidArgumentError("INVALID_ARGUMENT", ""), 1) is None


def test_spans() -> None:
    """As Go writes them, and days."""
    assert parse_span("1h30m").total_seconds() == 5400
    assert parse_span("-1.5s").total_seconds() == -1.5
    assert parse_span("200ms").total_seconds() == 0.2
    for seconds, micros, text in ((0, 0, "0s"), (1_234_567, 500_000, "1234567.5s"), (-86_400, 5, "-86399.999995s")):
        span = timedelta(seconds=seconds, microseconds=micros)
        assert span_text(span) == text
        assert parse_span(text) == span
    for text in ("", "5", "1 h", "h", "1x"):
        with pytest.raises(ValueError, match="no span"):
            parse_span(text)


def test_executions_as_callers_write_them() -> None:
    """A name belongs to the client's project and domain; nothing is sent to find out."""
    client = Client("localhost:1", project="p", domain="d")
    assert client.execution_id("e") == ExecutionId("p", "d", "e")
    assert str(client.execution_id("a:b:e")) == "a/b/e"
    with pytest.raises(ConversionError, match="names no execution"):
        client.execution_id("a/b")
    client.close()
