"""Named entities, and the lists of names of tasks, workflows and launch plans."""

from flyteidl.admin import common_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import Filter, Function, parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import NAMED_ENTITIES
from wingbeat_controlplane.registry.identifiers import GENERATED_PREFIX, check_scope
from wingbeat_controlplane.registry.named_entities import NamedEntityStore, check_named_type
from wingbeat_controlplane.services.rpcs import CallContext

_NOT_GENERATED = (Filter(Function.NOT_LIKE, "", "name", (f"{GENERATED_PREFIX}%",)),)


class NamedEntityRpcs:
    """GetNamedEntity, UpdateNamedEntity, ListNamedEntities, ListTaskIds, ListWorkflowIds, ListLaunchPlanIds."""

    named_entities: NamedEntityStore

    async def GetNamedEntity(
        self, request: common_pb2.NamedEntityGetRequest, context: CallContext
    ) -> common_pb2.NamedEntity:
        """One name with its metadata."""
        return await self.named_entities.get(request.resource_type, request.id)

    async def UpdateNamedEntity(
        self, request: common_pb2.NamedEntityUpdateRequest, context: CallContext
    ) -> common_pb2.NamedEntityUpdateResponse:
        """Overwrite the state, and the description unless it is empty."""
        if not request.HasField("metadata"):
            raise missing("metadata")
        await self.named_entities.update(request.resource_type, request.id, request.metadata)
        return common_pb2.NamedEntityUpdateResponse()

    async def ListNamedEntities(
        self, request: common_pb2.NamedEntityListRequest, context: CallContext
    ) -> common_pb2.NamedEntityList:
        """One page of names; those the server generated are hidden unless a filter is given."""
        check_named_type(request.resource_type)
        check_scope(request)
        page = parse_page("ListNamedEntities", request.limit, request.token)
        query = compile_list(
            NAMED_ENTITIES,
            page=page,
            scope={"resource_type": request.resource_type, "project": request.project, "domain": request.domain},
            filters=parse_filters(request.filters) or _NOT_GENERATED,
            sort_by=sort_of(request.sort_by),
        )
        found = await self.named_entities.list(query)
        return common_pb2.NamedEntityList(entities=found, token=page.next_token(len(found)))

    async def ListTaskIds(
        self, request: common_pb2.NamedEntityIdentifierListRequest, context: CallContext
    ) -> common_pb2.NamedEntityIdentifierList:
        """One page of names of tasks."""
        return await self._ids("ListTaskIds", identifier_pb2.TASK, request)

    async def ListWorkflowIds(
        self, request: common_pb2.NamedEntityIdentifierListRequest, context: CallContext
    ) -> common_pb2.NamedEntityIdentifierList:
        """One page of names of workflows."""
        return await self._ids("ListWorkflowIds", identifier_pb2.WORKFLOW, request)

    async def ListLaunchPlanIds(
        self, request: common_pb2.NamedEntityIdentifierListRequest, context: CallContext
    ) -> common_pb2.NamedEntityIdentifierList:
        """One page of names of launch plans."""
        return await self._ids("ListLaunchPlanIds", identifier_pb2.LAUNCH_PLAN, request)

    async def _ids(
        self,
        method: str,
        resource_type: identifier_pb2.ResourceType,
        request: common_pb2.NamedEntityIdentifierListRequest,
    ) -> common_pb2.NamedEntityIdentifierList:
        check_scope(request)
        page = parse_page(method, request.limit, request.token)
        query = compile_list(
            NAMED_ENTITIES,
            page=page,
            scope={"resource_type": resource_type, "project": request.project, "domain": request.domain},
            sort_by=sort_of(request.sort_by),
        )
        found = await self.named_entities.list(query)
        return common_pb2.NamedEntityIdentifierList(
            entities=[entity.id for entity in found], token=page.next_token(len(found))
        )
