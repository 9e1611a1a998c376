"""RecoveryService: executions that go on from what others have done."""

from collections.abc import Callable

from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.executions.recover import Recoverer
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.recovery.v1 import recovery_pb2


class RecoveryServicer:
    """RecoverExecution."""

    def __init__(self, recoverer: Recoverer, principal: Callable[[CallContext], str]) -> None:
        self._recoverer = recoverer
        self._principal = principal

    async def RecoverExecution(
        self, request: recovery_pb2.RecoverExecutionRequest, context: CallContext
    ) -> recovery_pb2.RecoverExecutionResponse:
        """Recover an execution, with the same or another version, or say what that would do."""
        return await self._recoverer.recover_version(request, Caller(self._principal(context), context.peer()))
