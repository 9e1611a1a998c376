"""ForetellService: what a launch would find in the cache."""

from collections.abc import Callable

from wingbeat_controlplane.executions.foretelling.foretelling import Foretelling
from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.cache.v1 import foretell_pb2


class ForetellServicer:
    """Foretell."""

    def __init__(self, foretelling: Foretelling, principal: Callable[[CallContext], str]) -> None:
        self._foretelling = foretelling
        self._principal = principal

    async def Foretell(
        self, request: foretell_pb2.ForetellRequest, context: CallContext
    ) -> foretell_pb2.ForetellResponse:
        """Say of each node of a launch whether it would run, and why; nothing is launched."""
        return await self._foretelling.foretell(request, Caller(self._principal(context), context.peer()))
