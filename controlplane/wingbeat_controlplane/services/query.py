"""QueryService: what the rows of an execution alone do not tell."""

from wingbeat_controlplane.executions.history import History
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.query.v1 import query_pb2


class QueryServicer:
    """GetExecutionAt."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def GetExecutionAt(
        self, request: query_pb2.GetExecutionAtRequest, context: CallContext
    ) -> query_pb2.GetExecutionAtResponse:
        """How an execution and its nodes stood at an instant."""
        return await self._history.at(request)
