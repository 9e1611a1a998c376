"""Calls about matchable attributes, the same for each level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyteidl.admin import (
    matchable_resource_pb2,
    project_attributes_pb2,
    project_domain_attributes_pb2,
    workflow_attributes_pb2,
)
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import PROJECT

Attributes = matchable_resource_pb2.MatchingAttributes
Admin = admin_pb2_grpc.AdminServiceStub


@dataclass(frozen=True)
class Where:
    """A level: the project, one of its domains, or a workflow there."""

    domain: str = ""
    workflow: str = ""

    def __str__(self) -> str:
        return "workflow" if self.workflow else "domain" if self.domain else "project"

    @property
    def ids(self) -> dict[str, str]:
        """The fields that name it."""
        named = {"project": PROJECT, "domain": self.domain, "workflow": self.workflow}
        return {field: value for field, value in named.items() if value}


def attributes(**target: Any) -> Attributes:
    """Attributes by the name of their type's field."""
    return Attributes(**target)


def resources(defaults: Mapping[str, str] | None = None, limits: Mapping[str, str] | None = None) -> Attributes:
    """Task resources."""
    return attributes(task_resource_attributes={"defaults": defaults, "limits": limits})


def overrides(**plugins: str) -> Attributes:
    """Plugin overrides, one plugin for each task type."""
    return attributes(
        plugin_overrides={"overrides": [{"task_type": kind, "plugin_id": [plugin]} for kind, plugin in plugins.items()]}
    )


async def update(admin: Admin, where: Where, given: Attributes) -> None:
    """Store attributes."""
    if where.workflow:
        stored = workflow_attributes_pb2.WorkflowAttributes(**where.ids, matching_attributes=given)
        request = workflow_attributes_pb2.WorkflowAttributesUpdateRequest(attributes=stored)
        return await admin.UpdateWorkflowAttributes(request)
    if where.domain:
        stored = project_domain_attributes_pb2.ProjectDomainAttributes(**where.ids, matching_attributes=given)
        request = project_domain_attributes_pb2.ProjectDomainAttributesUpdateRequest(attributes=stored)
        return await admin.UpdateProjectDomainAttributes(request)
    stored = project_attributes_pb2.ProjectAttributes(**where.ids, matching_attributes=given)
    return await admin.UpdateProjectAttributes(project_attributes_pb2.ProjectAttributesUpdateRequest(attributes=stored))


async def get(admin: Admin, where: Where, kind: int) -> Any:
    """What holds at a level, with its ids."""
    if where.workflow:
        request = workflow_attributes_pb2.WorkflowAttributesGetRequest(**where.ids, resource_type=kind)
        return (await admin.GetWorkflowAttributes(request)).attributes
    if where.domain:
        request = project_domain_attributes_pb2.ProjectDomainAttributesGetRequest(**where.ids, resource_type=kind)
        return (await admin.GetProjectDomainAttributes(request)).attributes
    request = project_attributes_pb2.ProjectAttributesGetRequest(**where.ids, resource_type=kind)
    return (await admin.GetProjectAttributes(request)).attributes


async def delete(admin: Admin, where: Where, kind: int) -> None:
    """Take back what a level says."""
    if where.workflow:
        request = workflow_attributes_pb2.WorkflowAttributesDeleteRequest(**where.ids, resource_type=kind)
        return await admin.DeleteWorkflowAttributes(request)
    if where.domain:
        request = project_domain_attributes_pb2.ProjectDomainAttributesDeleteRequest(**where.ids, resource_type=kind)
        return await admin.DeleteProjectDomainAttributes(request)
    request = project_attributes_pb2.ProjectAttributesDeleteRequest(**where.ids, resource_type=kind)
    return await admin.DeleteProjectAttributes(request)


def ids(answer: Any) -> dict[str, str]:
    """The fields of an answer that name its level."""
    fields = (field.name for field, _ in answer.ListFields())
    return {name: getattr(answer, name) for name in fields if name in ("project", "domain", "workflow")}
