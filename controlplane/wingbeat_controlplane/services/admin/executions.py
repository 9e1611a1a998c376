"""Executions: create, relaunch, recover, get, list, update, terminate, data, metrics."""

from collections.abc import Callable

from flyteidl.admin import common_pb2, execution_pb2

from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.services.rpcs import CallContext, Encoded


class ExecutionRpcs:
    """The rpcs of AdminService about executions."""

    executions: Executions
    pressure: BackPressure
    principal: Callable[[CallContext], str]
    """The authenticated subject of a call, empty without authentication."""

    async def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest, context: CallContext
    ) -> execution_pb2.ExecutionCreateResponse:
        """Launch a launch plan or a single task."""
        await self.pressure.check(1)
        identifier = await self.executions.launcher.create(request, self._caller(context))
        return execution_pb2.ExecutionCreateResponse(id=identifier)

    async def RelaunchExecution(
        self, request: execution_pb2.ExecutionRelaunchRequest, context: CallContext
    ) -> execution_pb2.ExecutionCreateResponse:
        """Launch an execution again with what its caller gave then."""
        await self.pressure.check(1)
        identifier = await self.executions.relauncher.relaunch(request, self._caller(context))
        return execution_pb2.ExecutionCreateResponse(id=identifier)

    async def RecoverExecution(
        self, request: execution_pb2.ExecutionRecoverRequest, context: CallContext
    ) -> execution_pb2.ExecutionCreateResponse:
        """Go on from what an execution has done."""
        await self.pressure.check(1)
        identifier = await self.executions.recoverer.recover(request, self._caller(context))
        return execution_pb2.ExecutionCreateResponse(id=identifier)

    async def GetExecution(
        self, request: execution_pb2.WorkflowExecutionGetRequest, context: CallContext
    ) -> execution_pb2.Execution:
        """One execution."""
        return await self.executions.reads.get(request)

    async def ListExecutions(
        self, request: common_pb2.ResourceListRequest, context: CallContext
    ) -> execution_pb2.ExecutionList:
        """One page of a project's executions in a domain."""
        return await self.executions.reads.list(request)

    async def GetExecutionData(
        self, request: execution_pb2.WorkflowExecutionGetDataRequest, context: CallContext
    ) -> Encoded:
        """Inputs and outputs."""
        return Encoded(await self.executions.reads.data(request))

    async def GetExecutionMetrics(
        self, request: execution_pb2.WorkflowExecutionGetMetricsRequest, context: CallContext
    ) -> Encoded:
        """Where its time went."""
        return Encoded(await self.executions.metrics.get(request))

    async def UpdateExecution(
        self, request: execution_pb2.ExecutionUpdateRequest, context: CallContext
    ) -> execution_pb2.ExecutionUpdateResponse:
        """Archive or restore."""
        await self.executions.archiver.update(request, principal=self.principal(context))
        return execution_pb2.ExecutionUpdateResponse()

    async def TerminateExecution(
        self, request: execution_pb2.ExecutionTerminateRequest, context: CallContext
    ) -> execution_pb2.ExecutionTerminateResponse:
        """Ask for an abort."""
        await self.executions.terminator.terminate(request, principal=self.principal(context))
        return execution_pb2.ExecutionTerminateResponse()

    def _caller(self, context: CallContext) -> Caller:
        return Caller(self.principal(context), context.peer())
