"""LaunchService: many executions at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.launching.bulk import BulkLauncher
from wingbeat_controlplane.launching.item_settings import Defaults
from wingbeat_controlplane.launching.launch_stream import launch_stream
from wingbeat_controlplane.launching.limits import check_count
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.launch.v1 import launch_pb2


class LaunchServicer:
    """Launch, LaunchStream."""

    def __init__(self, launcher: BulkLauncher, pressure: BackPressure, principal: Callable[[CallContext], str]) -> None:
        self._launcher = launcher
        self._pressure = pressure
        self._principal = principal

    async def Launch(self, request: launch_pb2.LaunchRequest, context: CallContext) -> launch_pb2.LaunchResponse:
        """Launch the items of one call."""
        check_count(len(request.items))
        if not request.items:
            return launch_pb2.LaunchResponse()
        await self._pressure.check(len(request.items))
        defaults = Defaults(request.project, request.domain, request.template)
        lookups = self._launcher.lookups(defaults, self._caller(context))
        return launch_pb2.LaunchResponse(outcomes=await self._launcher.launch(request.items, lookups))

    async def LaunchStream(
        self, requests: AsyncIterator[launch_pb2.LaunchStreamRequest], context: CallContext
    ) -> AsyncGenerator[launch_pb2.LaunchStreamResponse, None]:
        """Launch items as they come."""
        answers = launch_stream(requests, self._launcher, self._pressure, self._caller(context))
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    def _caller(self, context: CallContext) -> Caller:
        return Caller(self._principal(context), context.peer())
