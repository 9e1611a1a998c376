"""Tasks, workflows and launch plans as far as a client needs them: what they are called, what they take and give."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from wingbeat.core import ADMIN, PAGE, Core, pages
from wingbeat.errors import NotFoundError
from wingbeat.identifiers import EntityId, Kind

if TYPE_CHECKING:
    from flyteidl.admin import common_pb2, launch_plan_pb2, project_pb2, task_pb2, workflow_pb2
    from flyteidl.core import interface_pb2, literals_pb2, types_pb2

T = TypeVar("T")

KNOWN_MAX = 1_000
"""Interfaces of fixed versions that a client keeps."""


class Version(Enum):
    """Which version is meant by a name without one."""

    ACTIVE = "active"
    """The launch plan that was activated; its absence is an error."""
    NEWEST = "newest"
    """The version registered last."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One version of something that can be launched, with its interface. Launching it needs no further lookup."""

    id: EntityId
    inputs: Mapping[str, "types_pb2.LiteralType"] = field(repr=False)
    defaults: Mapping[str, "literals_pb2.Literal"] = field(repr=False)
    """Of inputs that need not be given."""
    outputs: Mapping[str, "types_pb2.LiteralType"] = field(repr=False)

    @property
    def required(self) -> list[str]:
        """Names of inputs that must be given."""
        return [name for name in self.inputs if name not in self.defaults]


class Entities(Core):
    """What is registered."""

    _known: "OrderedDict[EntityId, Entity]"

    async def entity(
        self,
        name: str,
        version: str | Version | None = None,
        *,
        kind: Kind = Kind.LAUNCH_PLAN,
        project: str | None = None,
        domain: str | None = None,
    ) -> Entity:
        """A launch plan, a workflow (which means its default launch plan) or a task, with its interface.

        Without a version: the active launch plan if there is one, else the newest. Raises NotFoundError.
        """
        known = self.__dict__.setdefault("_known", OrderedDict())
        identifier = EntityId(
            kind, project or self.project, domain or self.domain, name, version if isinstance(version, str) else ""
        )
        if identifier.version and identifier in known:
            return known[identifier]
        if kind is Kind.TASK:
            entity = _entity_of_task(await self._find_task(identifier))
        else:
            entity = _entity_of_plan(await self._find_plan(identifier, version), kind)
        known[entity.id] = entity
        while len(known) > KNOWN_MAX:
            known.popitem(last=False)
        return entity

    async def _find_task(self, identifier: EntityId) -> "task_pb2.Task":
        from flyteidl.admin import common_pb2, task_pb2

        if identifier.version:
            request = common_pb2.ObjectGetRequest(id=identifier.flyte())
            return await self.call(f"{ADMIN}GetTask", request, task_pb2.Task)
        page = await self.call(f"{ADMIN}ListTasks", _newest(identifier), task_pb2.TaskList)
        return _first(page.tasks, identifier)

    async def _find_plan(self, identifier: EntityId, version: str | Version | None) -> "launch_plan_pb2.LaunchPlan":
        from flyteidl.admin import common_pb2, launch_plan_pb2
        from flyteidl.core import identifier_pb2

        name = identifier_pb2.Identifier(
            resource_type=identifier_pb2.LAUNCH_PLAN,
            project=identifier.project,
            domain=identifier.domain,
            name=identifier.name,
            version=identifier.version,
        )
        if identifier.version:
            request = common_pb2.ObjectGetRequest(id=name)
            return await self.call(f"{ADMIN}GetLaunchPlan", request, launch_plan_pb2.LaunchPlan)
        if version is not Version.NEWEST and not (identifier.kind is Kind.WORKFLOW and version is None):
            try:
                return await self.call(
                    f"{ADMIN}GetActiveLaunchPlan",
                    launch_plan_pb2.ActiveLaunchPlanRequest(id=_named(identifier)),
                    launch_plan_pb2.LaunchPlan,
                )
            except NotFoundError:
                if version is Version.ACTIVE:
                    raise
        page = await self.call(f"{ADMIN}ListLaunchPlans", _newest(identifier), launch_plan_pb2.LaunchPlanList)
        return _first(page.launch_plans, identifier)

    async def projects(self, *, limit: int | None = None) -> AsyncIterator["project_pb2.Project"]:
        """All projects with their domains, as FlyteIDL's messages."""
        from flyteidl.admin import project_pb2

        async def fetch(token: str) -> "tuple[list[project_pb2.Project], str]":
            request = project_pb2.ProjectListRequest(limit=PAGE, token=token)
            page = await self.call(f"{ADMIN}ListProjects", request, project_pb2.Projects)
            return list(page.projects), page.token

        async for project in pages(fetch, limit):
            yield project

    async def names(
        self, kind: Kind, *, project: str | None = None, domain: str | None = None, limit: int | None = None
    ) -> AsyncIterator[str]:
        """Names of the tasks, workflows or launch plans of a project and domain, each once."""
        from flyteidl.admin import common_pb2

        method = {Kind.TASK: "ListTaskIds", Kind.WORKFLOW: "ListWorkflowIds", Kind.LAUNCH_PLAN: "ListLaunchPlanIds"}

        async def fetch(token: str) -> tuple[list[str], str]:
            request = common_pb2.NamedEntityIdentifierListRequest(
                project=project or self.project, domain=domain or self.domain, limit=PAGE, token=token
            )
            page = await self.call(f"{ADMIN}{method[kind]}", request, common_pb2.NamedEntityIdentifierList)
            return [entity.name for entity in page.entities], page.token

        async for name in pages(fetch, limit):
            yield name

    async def tasks(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> AsyncIterator["task_pb2.Task"]:
        """Versions of tasks, newest first, as FlyteIDL's messages; `name`: of one task."""
        from flyteidl.admin import task_pb2

        async def fetch(token: str) -> "tuple[list[task_pb2.Task], str]":
            request = self._versions(name, project, domain, filters, token)
            page = await self.call(f"{ADMIN}ListTasks", request, task_pb2.TaskList)
            return list(page.tasks), page.token

        async for task in pages(fetch, limit):
            yield task

    async def workflows(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> AsyncIterator["workflow_pb2.Workflow"]:
        """Versions of workflows, newest first, as FlyteIDL's messages; `name`: of one workflow."""
        from flyteidl.admin import workflow_pb2

        async def fetch(token: str) -> "tuple[list[workflow_pb2.Workflow], str]":
            request = self._versions(name, project, domain, filters, token)
            page = await self.call(f"{ADMIN}ListWorkflows", request, workflow_pb2.WorkflowList)
            return list(page.workflows), page.token

        async for workflow in pages(fetch, limit):
            yield workflow

    async def launch_plans(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> AsyncIterator["launch_plan_pb2.LaunchPlan"]:
        """Versions of launch plans, newest first, as FlyteIDL's messages; `name`: of one launch plan."""
        from flyteidl.admin import launch_plan_pb2

        async def fetch(token: str) -> "tuple[list[launch_plan_pb2.LaunchPlan], str]":
            request = self._versions(name, project, domain, filters, token)
            page = await self.call(f"{ADMIN}ListLaunchPlans", request, launch_plan_pb2.LaunchPlanList)
            return list(page.launch_plans), page.token

        async for plan in pages(fetch, limit):
            yield plan

    def _versions(
        self, name: str, project: str | None, domain: str | None, filters: str, token: str
    ) -> "common_pb2.ResourceListRequest":
        from flyteidl.admin import common_pb2

        return common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(
                project=project or self.project, domain=domain or self.domain, name=name
            ),
            limit=PAGE,
            token=token,
            filters=filters,
            sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
        )


def _named(identifier: EntityId) -> "common_pb2.NamedEntityIdentifier":
    from flyteidl.admin import common_pb2

    return common_pb2.NamedEntityIdentifier(project=identifier.project, domain=identifier.domain, name=identifier.name)


def _newest(identifier: EntityId) -> "common_pb2.ResourceListRequest":
    from flyteidl.admin import common_pb2

    newest = common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING)
    return common_pb2.ResourceListRequest(id=_named(identifier), limit=1, sort_by=newest)


def _first(found: "Sequence[T]", identifier: EntityId) -> T:
    if not found:
        word = identifier.kind.value.replace("_", " ")
        place = f"{identifier.project}/{identifier.domain}"
        raise NotFoundError("NOT_FOUND", f"there is no {word} {identifier.name!r} in {place}")
    return found[0]


def _entity_of_task(task: "task_pb2.Task") -> Entity:
    interface = task.closure.compiled_task.template.interface
    return Entity(EntityId.of(task.id, Kind.TASK), _types(interface.inputs), {}, _types(interface.outputs))


def _entity_of_plan(plan: "launch_plan_pb2.LaunchPlan", kind: Kind) -> Entity:
    parameters = plan.closure.expected_inputs.parameters
    defaults = {name: one.default for name, one in parameters.items() if one.HasField("default")}
    optional = {name: one.default for name, one in parameters.items() if not one.required}
    return Entity(
        EntityId.of(plan.id, kind),
        {name: one.var.type for name, one in parameters.items()},
        {**optional, **defaults},
        _types(plan.closure.expected_outputs),
    )


def _types(variables: "interface_pb2.VariableMap") -> dict[str, "types_pb2.LiteralType"]:
    return {name: variable.type for name, variable in variables.variables.items()}
