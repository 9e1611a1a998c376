"""Projects and domains."""

from flyteidl.admin import project_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.listing.filters import Filter, Function, parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import PROJECTS
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.services.rpcs import CallContext

_NOT_ARCHIVED = (Filter(Function.NE, "", "state", ("ARCHIVED",)),)


class ProjectRpcs:
    """RegisterProject, UpdateProject, GetProject, ListProjects, GetDomains."""

    projects: ProjectStore

    async def RegisterProject(
        self, request: project_pb2.ProjectRegisterRequest, context: CallContext
    ) -> project_pb2.ProjectRegisterResponse:
        """Add a project; it has all configured domains."""
        if not request.HasField("project"):
            raise missing("project")
        await self.projects.register(request.project)
        return project_pb2.ProjectRegisterResponse()

    async def UpdateProject(
        self, request: project_pb2.Project, context: CallContext
    ) -> project_pb2.ProjectUpdateResponse:
        """Overwrite the state, and each other field that is not empty."""
        await self.projects.update(request)
        return project_pb2.ProjectUpdateResponse()

    async def GetProject(self, request: project_pb2.ProjectGetRequest, context: CallContext) -> project_pb2.Project:
        """One project."""
        return await self.projects.get(request.id)

    async def ListProjects(self, request: project_pb2.ProjectListRequest, context: CallContext) -> project_pb2.Projects:
        """One page of projects by identifier; limit 0 means all, archived ones are hidden unless a filter is given."""
        page = parse_page("ListProjects", request.limit, request.token, zero_is_all=True)
        query = compile_list(
            PROJECTS,
            page=page,
            scope={},
            filters=parse_filters(request.filters) or _NOT_ARCHIVED,
            sort_by=sort_of(request.sort_by),
            default_order=("identifier",),
        )
        found = await self.projects.list(query)
        return project_pb2.Projects(projects=found, token=page.next_token(len(found)))

    async def GetDomains(
        self, request: project_pb2.GetDomainRequest, context: CallContext
    ) -> project_pb2.GetDomainsResponse:
        """The configured domains."""
        return project_pb2.GetDomainsResponse(domains=self.projects.domains())
