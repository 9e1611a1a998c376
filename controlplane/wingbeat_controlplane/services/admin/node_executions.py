"""Node executions: get, list, data, workflows that they made."""

from flyteidl.admin import node_execution_pb2

from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.services.rpcs import CallContext, Encoded


class NodeExecutionRpcs:
    """GetNodeExecution, ListNodeExecutions, ListNodeExecutionsForTask, GetNodeExecutionData,
    GetDynamicNodeWorkflow."""

    executions: Executions

    async def GetNodeExecution(
        self, request: node_execution_pb2.NodeExecutionGetRequest, context: CallContext
    ) -> node_execution_pb2.NodeExecution:
        """One node."""
        return await self.executions.nodes.get(request)

    async def ListNodeExecutions(
        self, request: node_execution_pb2.NodeExecutionListRequest, context: CallContext
    ) -> node_execution_pb2.NodeExecutionList:
        """One page of the top-level nodes, or of the children of one."""
        return await self.executions.nodes.list(request)

    async def ListNodeExecutionsForTask(
        self, request: node_execution_pb2.NodeExecutionForTaskListRequest, context: CallContext
    ) -> node_execution_pb2.NodeExecutionList:
        """Nodes that an attempt made: always an empty page."""
        return await self.executions.tasks.list_children(request)

    async def GetNodeExecutionData(
        self, request: node_execution_pb2.NodeExecutionGetDataRequest, context: CallContext
    ) -> Encoded:
        """Inputs and outputs."""
        return Encoded(await self.executions.nodes.data(request))

    async def GetDynamicNodeWorkflow(
        self, request: node_execution_pb2.GetDynamicNodeWorkflowRequest, context: CallContext
    ) -> node_execution_pb2.DynamicNodeWorkflowResponse:
        """The workflow that a dynamic node has made."""
        return await self.executions.nodes.dynamic_workflow(request)
