"""Launch plans."""

from flyteidl.admin import common_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import LAUNCH_PLANS
from wingbeat_controlplane.registry.identifiers import check_scope, imply_type
from wingbeat_controlplane.registry.launch_plans import LaunchPlanStore
from wingbeat_controlplane.services.admin.scopes import entity_scope
from wingbeat_controlplane.services.rpcs import CallContext


class LaunchPlanRpcs:
    """Create, Update, Get and ListLaunchPlan(s), GetActiveLaunchPlan, ListActiveLaunchPlans."""

    launch_plans: LaunchPlanStore

    async def CreateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanCreateRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlanCreateResponse:
        """Register one version."""
        await self.launch_plans.create(request)
        return launch_plan_pb2.LaunchPlanCreateResponse()

    async def GetLaunchPlan(
        self, request: common_pb2.ObjectGetRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlan:
        """One version, in full."""
        if not request.HasField("id"):
            raise missing("id")
        imply_type(request.id, identifier_pb2.LAUNCH_PLAN)
        return (await self.launch_plans.get(request.id)).launch_plan

    async def ListLaunchPlans(
        self, request: common_pb2.ResourceListRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlanList:
        """One page of versions, of one name or of all."""
        page = parse_page("ListLaunchPlans", request.limit, request.token)
        query = compile_list(
            LAUNCH_PLANS,
            page=page,
            scope=entity_scope(request),
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        found = await self.launch_plans.list(query)
        return launch_plan_pb2.LaunchPlanList(launch_plans=found, token=page.next_token(len(found)))

    async def UpdateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanUpdateRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlanUpdateResponse:
        """Activate or deactivate one version."""
        if not request.HasField("id"):
            raise missing("id")
        await self.launch_plans.set_state(request.id, request.state)
        return launch_plan_pb2.LaunchPlanUpdateResponse()

    async def GetActiveLaunchPlan(
        self, request: launch_plan_pb2.ActiveLaunchPlanRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlan:
        """The active version of a name."""
        if not request.HasField("id"):
            raise missing("id")
        return (await self.launch_plans.active(request.id)).launch_plan

    async def ListActiveLaunchPlans(
        self, request: launch_plan_pb2.ActiveLaunchPlanListRequest, context: CallContext
    ) -> launch_plan_pb2.LaunchPlanList:
        """One page of the active versions of a project and domain."""
        check_scope(request)
        page = parse_page("ListActiveLaunchPlans", request.limit, request.token)
        query = compile_list(
            LAUNCH_PLANS,
            page=page,
            scope={"project": request.project, "domain": request.domain, "state": launch_plan_pb2.ACTIVE},
            sort_by=sort_of(request.sort_by),
        )
        found = await self.launch_plans.list(query)
        return launch_plan_pb2.LaunchPlanList(launch_plans=found, token=page.next_token(len(found)))
