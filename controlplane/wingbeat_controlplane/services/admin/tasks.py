"""Tasks."""

from flyteidl.admin import common_pb2, task_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import TASKS
from wingbeat_controlplane.registry.tasks import TaskStore
from wingbeat_controlplane.services.admin.scopes import entity_scope
from wingbeat_controlplane.services.rpcs import CallContext


class TaskRpcs:
    """CreateTask, GetTask, ListTasks."""

    tasks: TaskStore

    async def CreateTask(
        self, request: task_pb2.TaskCreateRequest, context: CallContext
    ) -> task_pb2.TaskCreateResponse:
        """Register one version."""
        await self.tasks.create(request)
        return task_pb2.TaskCreateResponse()

    async def GetTask(self, request: common_pb2.ObjectGetRequest, context: CallContext) -> task_pb2.Task:
        """One version, in full."""
        if not request.HasField("id"):
            raise missing("id")
        return (await self.tasks.get(request.id)).task

    async def ListTasks(self, request: common_pb2.ResourceListRequest, context: CallContext) -> task_pb2.TaskList:
        """One page of versions, of one name or of all."""
        page = parse_page("ListTasks", request.limit, request.token)
        query = compile_list(
            TASKS,
            page=page,
            scope=entity_scope(request),
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        found = await self.tasks.list(query)
        return task_pb2.TaskList(tasks=found, token=page.next_token(len(found)))
