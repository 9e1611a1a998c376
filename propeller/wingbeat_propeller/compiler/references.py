"""What a workflow refers to outside of itself: tasks and launch plans.

`referenced_ids` lists them without compiling anything, so that a server can load all of them in one query and then
hand the compiler a `References` that answers from memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from flyteidl.core import identifier_pb2, interface_pb2, tasks_pb2, workflow_pb2

EntityKey: TypeAlias = tuple[str, str, str, str]
"""Project, domain, name, version."""


@dataclass(frozen=True, slots=True)
class LaunchPlanInterface:
    """What the compiler needs of a registered launch plan."""

    workflow_id: identifier_pb2.Identifier
    expected_inputs: interface_pb2.ParameterMap
    expected_outputs: interface_pb2.VariableMap


class References(Protocol):
    """Entities by identifier; None for what is not registered. The resource type of the identifier does not count."""

    def task(self, identifier: identifier_pb2.Identifier) -> tasks_pb2.TaskTemplate | None:
        """The template of a task."""
        ...

    def launch_plan(self, identifier: identifier_pb2.Identifier) -> LaunchPlanInterface | None:
        """The interface of a launch plan."""
        ...


class KnownReferences:
    """References out of dictionaries."""

    def __init__(
        self, tasks: Mapping[EntityKey, tasks_pb2.TaskTemplate], launch_plans: Mapping[EntityKey, LaunchPlanInterface]
    ) -> None:
        self._tasks = tasks
        self._launch_plans = launch_plans

    def task(self, identifier: identifier_pb2.Identifier) -> tasks_pb2.TaskTemplate | None:
        """See References."""
        return self._tasks.get(entity_key(identifier))

    def launch_plan(self, identifier: identifier_pb2.Identifier) -> LaunchPlanInterface | None:
        """See References."""
        return self._launch_plans.get(entity_key(identifier))


class ReferencedIds(NamedTuple):
    """Identifiers of everything to load before compiling, each once, in order of first use."""

    tasks: tuple[identifier_pb2.Identifier, ...]
    launch_plans: tuple[identifier_pb2.Identifier, ...]


def entity_key(identifier: identifier_pb2.Identifier) -> EntityKey:
    """What tells entities of one kind apart."""
    return (identifier.project, identifier.domain, identifier.name, identifier.version)


def id_text(identifier: identifier_pb2.Identifier) -> str:
    """An identifier in a message: `project:domain:name:version`."""
    return ":".join(entity_key(identifier))


def referenced_ids(
    template: workflow_pb2.WorkflowTemplate, sub_workflows: Sequence[workflow_pb2.WorkflowTemplate]
) -> ReferencedIds:
    """Tasks and launch plans that `template` and the sub-workflows it uses refer to.

    Sub-workflows that are sent but not used count for nothing, nor does a launch plan with the id of the workflow that
    starts it: it need not exist yet. References that lack an identifier are left to the compiler.
    """
    known = {entity_key(workflow.id): workflow for workflow in sub_workflows}
    pending = [template]
    seen = {entity_key(template.id)}
    tasks: dict[EntityKey, identifier_pb2.Identifier] = {}
    launch_plans: dict[EntityKey, identifier_pb2.Identifier] = {}
    while pending:
        workflow = pending.pop()
        own = entity_key(workflow.id)
        for node in walk_nodes(workflow):
            match node.WhichOneof("target"):
                case "task_node" if node.task_node.HasField("reference_id"):
                    tasks.setdefault(entity_key(node.task_node.reference_id), node.task_node.reference_id)
                case "workflow_node" if node.workflow_node.HasField("launchplan_ref"):
                    key = entity_key(node.workflow_node.launchplan_ref)
                    if key != own:
                        launch_plans.setdefault(key, node.workflow_node.launchplan_ref)
                case "workflow_node":
                    key = entity_key(node.workflow_node.sub_workflow_ref)
                    if key in known and key not in seen:
                        seen.add(key)
                        pending.append(known[key])
                case _:
                    pass
    return ReferencedIds(tuple(tasks.values()), tuple(launch_plans.values()))


def walk_nodes(template: workflow_pb2.WorkflowTemplate) -> Iterator[workflow_pb2.Node]:
    """Every node of a template: top-level ones, arms of branches, inner nodes of arrays, the failure node."""
    for node in template.nodes:
        yield from walk_inner(node)
    if template.HasField("failure_node"):
        yield from walk_inner(template.failure_node)


def walk_inner(node: workflow_pb2.Node) -> Iterator[workflow_pb2.Node]:
    """A node, then every node inside it, outer ones first."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        match current.WhichOneof("target"):
            case "branch_node":
                pending.extend(arms(current.branch_node))
            case "array_node" if current.array_node.HasField("node"):
                pending.append(current.array_node.node)
            case _:
                pass


def arms(branch: workflow_pb2.BranchNode) -> list[workflow_pb2.Node]:
    """The nodes a branch chooses from, in order; blocks without a node are left out."""
    blocks = [branch.if_else.case, *branch.if_else.other]
    nodes = [block.then_node for block in blocks if block.HasField("then_node")]
    if branch.if_else.WhichOneof("default") == "else_node":
        nodes.append(branch.if_else.else_node)
    return nodes
