"""WatchService: transitions as they become durable."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from wingbeat_controlplane.executions.watch.waiting import Waits
from wingbeat_controlplane.executions.watch.watching import Watching
from wingbeat_controlplane.services.rpcs import CallContext, Encoded
from wingbeatidl.watch.v1 import watch_pb2


class WatchServicer:
    """WatchTransitions, WaitExecutions, GetCursor."""

    def __init__(self, watching: Watching, waits: Waits) -> None:
        self._watching = watching
        self._waits = waits

    async def WatchTransitions(
        self, request: watch_pb2.WatchTransitionsRequest, context: CallContext
    ) -> AsyncGenerator[Encoded, None]:
        """Portions as they were encoded for all watchers of the kind."""
        async with aclosing(self._watching.watch(request)) as portions:
            async for portion in portions:
                yield Encoded(portion.data)

    async def WaitExecutions(
        self, request: watch_pb2.WaitExecutionsRequest, context: CallContext
    ) -> AsyncGenerator[watch_pb2.WaitExecutionsResponse, None]:
        """Ends of executions as they come."""
        async with aclosing(self._waits.wait(request)) as responses:
            async for response in responses:
                yield response

    async def GetCursor(self, request: watch_pb2.GetCursorRequest, context: CallContext) -> watch_pb2.GetCursorResponse:
        """The cursors of this moment."""
        return await self._watching.cursors()
