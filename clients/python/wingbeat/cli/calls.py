"""Calls of an installation's own services by a command: every error ends the command with a sentence."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wingbeat.cli.connection import ca_certificate
from wingbeat.cli.output import fail
from wingbeat.cli.refusals import refusal, silence
from wingbeat.endpoint import EndpointError, find_endpoint
from wingbeatidl.query.v1 import query_pb2, why_pb2

if TYPE_CHECKING:
    import grpc

TIMEOUT_S = 30.0
"""For each call."""

_SERVICE = "/wingbeatidl.query.v1.QueryService/"


class QueryClient:
    """The rpcs of an installation's QueryService. They raise grpc.RpcError."""

    def __init__(self, channel: "grpc.Channel") -> None:
        self._get_execution_at = channel.unary_unary(
            f"{_SERVICE}GetExecutionAt",
            request_serializer=query_pb2.GetExecutionAtRequest.SerializeToString,
            response_deserializer=query_pb2.GetExecutionAtResponse.FromString,
        )
        self._why = channel.unary_unary(
            f"{_SERVICE}Why",
            request_serializer=why_pb2.WhyRequest.SerializeToString,
            response_deserializer=why_pb2.WhyResponse.FromString,
        )

    def get_execution_at(self, request: query_pb2.GetExecutionAtRequest) -> query_pb2.GetExecutionAtResponse:
        """One page of how an execution stood."""
        return self._get_execution_at(request, timeout=TIMEOUT_S)

    def why(self, request: why_pb2.WhyRequest) -> why_pb2.WhyResponse:
        """Why an execution, or a node of it, is not running."""
        return self._why(request, timeout=TIMEOUT_S)


@contextmanager
def query_client(endpoint: str | None, data_dir: str | None) -> Generator[QueryClient]:
    """A client of the installation meant by the flags. Ends the command when it refuses or does not answer."""
    with calls_to(endpoint, data_dir) as channel:
        yield QueryClient(channel)


@contextmanager
def calls_to(endpoint: str | None, data_dir: str | None) -> Generator["grpc.Channel"]:
    """A channel to the installation meant by the flags. Ends the command when a call is refused or not answered."""
    import grpc

    try:
        found = find_endpoint(endpoint, data_dir).trusting(ca_certificate())
        connected = found.connect()
    except EndpointError as error:
        fail(str(error), status=3)
    with connected as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            reason = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                fail(silence(found.address, reason), status=3)
            fail(refusal(reason))
