"""Workflows."""

from flyteidl.admin import common_pb2, workflow_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import WORKFLOWS
from wingbeat_controlplane.registry.identifiers import imply_type
from wingbeat_controlplane.registry.workflows import WorkflowStore
from wingbeat_controlplane.services.admin.scopes import entity_scope
from wingbeat_controlplane.services.rpcs import CallContext


class WorkflowRpcs:
    """CreateWorkflow, GetWorkflow, ListWorkflows."""

    workflows: WorkflowStore

    async def CreateWorkflow(
        self, request: workflow_pb2.WorkflowCreateRequest, context: CallContext
    ) -> workflow_pb2.WorkflowCreateResponse:
        """Register one version."""
        await self.workflows.create(request)
        return workflow_pb2.WorkflowCreateResponse()

    async def GetWorkflow(self, request: common_pb2.ObjectGetRequest, context: CallContext) -> workflow_pb2.Workflow:
        """One version, in full."""
        if not request.HasField("id"):
            raise missing("id")
        imply_type(request.id, identifier_pb2.WORKFLOW)
        return (await self.workflows.get(request.id)).workflow

    async def ListWorkflows(
        self, request: common_pb2.ResourceListRequest, context: CallContext
    ) -> workflow_pb2.WorkflowList:
        """One page of versions, of one name or of all."""
        page = parse_page("ListWorkflows", request.limit, request.token)
        query = compile_list(
            WORKFLOWS,
            page=page,
            scope=entity_scope(request),
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        found = await self.workflows.list(query)
        return workflow_pb2.WorkflowList(workflows=found, token=page.next_token(len(found)))
