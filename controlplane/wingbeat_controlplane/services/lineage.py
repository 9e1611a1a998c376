"""LineageService: what values were made from, and what was made from them."""

import grpc

from wingbeat_catalog.lineage.tracer import InvalidTraceError, Tracer, UnknownStartError
from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.lineage.v1 import lineage_pb2


class LineageServicer:
    """Trace."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def Trace(self, request: lineage_pb2.TraceRequest, context: CallContext) -> lineage_pb2.TraceResponse:
        """One page of the steps that lead to, or away from, a value."""
        try:
            return await self._tracer.trace(request)
        except InvalidTraceError as error:
            raise invalid_argument(str(error)) from error
        except UnknownStartError as error:
            raise ApiError(grpc.StatusCode.NOT_FOUND, str(error)) from error
