"""Matchable attributes of projects, of domains of a project, and of workflows.

Each get answers under the ids that were asked for, whichever level the attributes come from. A project's own execution
settings are shown with what the installation adds to them, because the console fills its launch form with that.
"""

from typing import Protocol

from flyteidl.admin import (
    matchable_resource_pb2,
    project_attributes_pb2,
    project_domain_attributes_pb2,
    workflow_attributes_pb2,
)

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.executions.effective_settings import with_defaults
from wingbeat_controlplane.registry.attributes import AttributeStore, Level, absent
from wingbeat_controlplane.registry.identifiers import check_text
from wingbeat_controlplane.services.rpcs import CallContext


class _Project(Protocol):
    @property
    def project(self) -> str: ...


class _Domain(_Project, Protocol):
    @property
    def domain(self) -> str: ...


class _Workflow(_Domain, Protocol):
    @property
    def workflow(self) -> str: ...


class AttributeRpcs:
    """Update, Get and Delete of ProjectAttributes, ProjectDomainAttributes and WorkflowAttributes, and
    ListMatchableAttributes."""

    attributes: AttributeStore
    execution_defaults: matchable_resource_pb2.WorkflowExecutionConfig
    """What the installation gives executions that nobody said anything else for."""

    async def UpdateProjectAttributes(
        self, request: project_attributes_pb2.ProjectAttributesUpdateRequest, context: CallContext
    ) -> project_attributes_pb2.ProjectAttributesUpdateResponse:
        """Store what a project says about one resource type."""
        given = request.attributes
        if not request.HasField("attributes"):
            raise missing("attributes")
        await self.attributes.update(
            _project(given), given.matching_attributes if given.HasField("matching_attributes") else None
        )
        return project_attributes_pb2.ProjectAttributesUpdateResponse()

    async def GetProjectAttributes(
        self, request: project_attributes_pb2.ProjectAttributesGetRequest, context: CallContext
    ) -> project_attributes_pb2.ProjectAttributesGetResponse:
        """What the project itself says; about execution settings, together with the installation's defaults."""
        level = _project(request)
        found = await self.attributes.get(level, request.resource_type)
        if request.resource_type == matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG:
            own = matchable_resource_pb2.WorkflowExecutionConfig() if found is None else found.workflow_execution_config
            found = matchable_resource_pb2.MatchingAttributes(
                workflow_execution_config=with_defaults(own, self.execution_defaults)
            )
        if found is None:
            raise absent(level, request.resource_type)
        return project_attributes_pb2.ProjectAttributesGetResponse(
            attributes=project_attributes_pb2.ProjectAttributes(project=request.project, matching_attributes=found)
        )

    async def DeleteProjectAttributes(
        self, request: project_attributes_pb2.ProjectAttributesDeleteRequest, context: CallContext
    ) -> project_attributes_pb2.ProjectAttributesDeleteResponse:
        """Take back what the project itself says; its domains and workflows keep what they say."""
        await self.attributes.delete(_project(request), request.resource_type)
        return project_attributes_pb2.ProjectAttributesDeleteResponse()

    async def UpdateProjectDomainAttributes(
        self, request: project_domain_attributes_pb2.ProjectDomainAttributesUpdateRequest, context: CallContext
    ) -> project_domain_attributes_pb2.ProjectDomainAttributesUpdateResponse:
        """Store what a domain of a project says about one resource type."""
        given = request.attributes
        if not request.HasField("attributes"):
            raise missing("attributes")
        await self.attributes.update(
            _project_domain(given), given.matching_attributes if given.HasField("matching_attributes") else None
        )
        return project_domain_attributes_pb2.ProjectDomainAttributesUpdateResponse()

    async def GetProjectDomainAttributes(
        self, request: project_domain_attributes_pb2.ProjectDomainAttributesGetRequest, context: CallContext
    ) -> project_domain_attributes_pb2.ProjectDomainAttributesGetResponse:
        """What holds for a domain of a project: its own attributes, else the project's."""
        found = await self.attributes.get_effective(_project_domain(request), request.resource_type)
        return project_domain_attributes_pb2.ProjectDomainAttributesGetResponse(
            attributes=project_domain_attributes_pb2.ProjectDomainAttributes(
                project=request.project, domain=request.domain, matching_attributes=found
            )
        )

    async def DeleteProjectDomainAttributes(
        self, request: project_domain_attributes_pb2.ProjectDomainAttributesDeleteRequest, context: CallContext
    ) -> project_domain_attributes_pb2.ProjectDomainAttributesDeleteResponse:
        """Take back what the domain of a project says; its workflows keep what they say."""
        await self.attributes.delete(_project_domain(request), request.resource_type)
        return project_domain_attributes_pb2.ProjectDomainAttributesDeleteResponse()

    async def UpdateWorkflowAttributes(
        self, request: workflow_attributes_pb2.WorkflowAttributesUpdateRequest, context: CallContext
    ) -> workflow_attributes_pb2.WorkflowAttributesUpdateResponse:
        """Store what is said for all versions of a workflow, registered or not, about one resource type."""
        given = request.attributes
        if not request.HasField("attributes"):
            raise missing("attributes")
        await self.attributes.update(
            _workflow(given), given.matching_attributes if given.HasField("matching_attributes") else None
        )
        return workflow_attributes_pb2.WorkflowAttributesUpdateResponse()

    async def GetWorkflowAttributes(
        self, request: workflow_attributes_pb2.WorkflowAttributesGetRequest, context: CallContext
    ) -> workflow_attributes_pb2.WorkflowAttributesGetResponse:
        """What holds for a workflow: its own attributes, else those of the domain, else the project's."""
        found = await self.attributes.get_effective(_workflow(request), request.resource_type)
        return workflow_attributes_pb2.WorkflowAttributesGetResponse(
            attributes=workflow_attributes_pb2.WorkflowAttributes(
                project=request.project, domain=request.domain, workflow=request.workflow, matching_attributes=found
            )
        )

    async def DeleteWorkflowAttributes(
        self, request: workflow_attributes_pb2.WorkflowAttributesDeleteRequest, context: CallContext
    ) -> workflow_attributes_pb2.WorkflowAttributesDeleteResponse:
        """Take back what is said for a workflow."""
        await self.attributes.delete(_workflow(request), request.resource_type)
        return workflow_attributes_pb2.WorkflowAttributesDeleteResponse()

    async def ListMatchableAttributes(
        self, request: matchable_resource_pb2.ListMatchableAttributesRequest, context: CallContext
    ) -> matchable_resource_pb2.ListMatchableAttributesResponse:
        """Everything that is stored about one resource type."""
        found = await self.attributes.list(request.resource_type)
        return matchable_resource_pb2.ListMatchableAttributesResponse(configurations=found)


def _project(ids: _Project) -> Level:
    check_text("project", ids.project)
    return Level(ids.project)


def _project_domain(ids: _Domain) -> Level:
    check_text("domain", ids.domain)
    return Level(_project(ids).project, ids.domain)


def _workflow(ids: _Workflow) -> Level:
    level = _project_domain(ids)
    check_text("name", ids.workflow)
    return Level(level.project, level.domain, ids.workflow)
