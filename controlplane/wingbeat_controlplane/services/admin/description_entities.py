"""Description entities."""

from flyteidl.admin import common_pb2, description_entity_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import DESCRIPTION_ENTITIES
from wingbeat_controlplane.registry.description_entities import DescriptionEntityStore
from wingbeat_controlplane.registry.identifiers import check_name
from wingbeat_controlplane.services.rpcs import CallContext


class DescriptionEntityRpcs:
    """GetDescriptionEntity, ListDescriptionEntities."""

    description_entities: DescriptionEntityStore

    async def GetDescriptionEntity(
        self, request: common_pb2.ObjectGetRequest, context: CallContext
    ) -> description_entity_pb2.DescriptionEntity:
        """The description of one version."""
        if not request.HasField("id"):
            raise missing("id")
        return await self.description_entities.get(request.id)

    async def ListDescriptionEntities(
        self, request: description_entity_pb2.DescriptionEntityListRequest, context: CallContext
    ) -> description_entity_pb2.DescriptionEntityList:
        """One page of descriptions of the versions of one name."""
        if not request.HasField("id"):
            raise missing("id")
        check_name(request.id, request.id.name)
        page = parse_page("ListDescriptionEntities", request.limit, request.token)
        query = compile_list(
            DESCRIPTION_ENTITIES,
            page=page,
            scope={
                "resource_type": request.resource_type,
                "project": request.id.project,
                "domain": request.id.domain,
                "name": request.id.name,
            },
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        found = await self.description_entities.list(query)
        return description_entity_pb2.DescriptionEntityList(
            descriptionEntities=found, token=page.next_token(len(found))
        )
