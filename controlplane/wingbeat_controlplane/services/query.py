"""QueryService: what the rows of an execution alone do not tell."""

from wingbeat_controlplane.executions.history import History
from wingbeat_controlplane.executions.why.explanations import Explanations
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.query.v1 import query_pb2, why_pb2


class QueryServicer:
    """GetExecutionAt, Why."""

    def __init__(self, history: History, explanations: Explanations) -> None:
        self._history = history
        self._explanations = explanations

    async def GetExecutionAt(
        self, request: query_pb2.GetExecutionAtRequest, context: CallContext
    ) -> query_pb2.GetExecutionAtResponse:
        """How an execution and its nodes stood at an instant."""
        return await self._history.at(request)

    async def Why(self, request: why_pb2.WhyRequest, context: CallContext) -> why_pb2.WhyResponse:
        """Why an execution, or a node of it, is not running."""
        return await self._explanations.why(request)
