"""Task executions: get, list, data."""

from flyteidl.admin import task_execution_pb2

from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.services.rpcs import CallContext, Encoded


class TaskExecutionRpcs:
    """GetTaskExecution, ListTaskExecutions, GetTaskExecutionData."""

    executions: Executions

    async def GetTaskExecution(
        self, request: task_execution_pb2.TaskExecutionGetRequest, context: CallContext
    ) -> task_execution_pb2.TaskExecution:
        """One attempt of a task node."""
        return await self.executions.tasks.get(request)

    async def ListTaskExecutions(
        self, request: task_execution_pb2.TaskExecutionListRequest, context: CallContext
    ) -> task_execution_pb2.TaskExecutionList:
        """One page of a node's attempts."""
        return await self.executions.tasks.list(request)

    async def GetTaskExecutionData(
        self, request: task_execution_pb2.TaskExecutionGetDataRequest, context: CallContext
    ) -> Encoded:
        """Inputs and outputs."""
        return Encoded(await self.executions.tasks.data(request))
