"""From a CompiledWorkflowClosure to the Plan that the core runs. Called once a workflow version and process."""

from collections.abc import Mapping, Sequence

from flyteidl.core import compiler_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2, workflow_pb2

from wingbeat_propeller.compiler.cached_tasks import cached_task, cached_workflow
from wingbeat_propeller.compiler.mapped_task import mapped_task
from wingbeat_propeller.compiler.overrides import overridden
from wingbeat_propeller.compiler.plan_arrays import LEGACY_TASK_TYPE, array_spec, element_plan, legacy_array_spec, wraps
from wingbeat_propeller.compiler.plan_branches import arms_of, branch_spec
from wingbeat_propeller.compiler.plan_gates import gate_spec
from wingbeat_propeller.core.attributes import PathStep
from wingbeat_propeller.core.bindings import Binding, BindingProgram, Constant, Entries, Items, Promise
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.plan import (
    ArraySpec,
    FailurePolicy,
    GateKind,
    GateSpec,
    LaunchPlanSpec,
    NodeKind,
    Plan,
    Target,
    TaskSpec,
)
from wingbeat_propeller.core.references import may_refer

_START_ID = "start-node"
_END_ID = "end-node"
_KINDS = {
    "task_node": NodeKind.TASK,
    "branch_node": NodeKind.BRANCH,
    "gate_node": NodeKind.GATE,
    "array_node": NodeKind.ARRAY,
}

_Key = tuple[str, str, str, str]


class MalformedClosureError(ValueError):
    """The closure is not what the compiler produces; it cannot be run."""


def build_plan(closure: compiler_pb2.CompiledWorkflowClosure) -> Plan:
    """The plan of the closure's primary workflow, with those of its sub-workflows inside.

    Raises MalformedClosureError.
    """
    return _Builder(closure).build(closure.primary)


class _Builder:
    def __init__(self, closure: compiler_pb2.CompiledWorkflowClosure) -> None:
        self._tasks = {_key(task.template.id): task.template for task in closure.tasks}
        self._workflows = {_key(workflow.template.id): workflow for workflow in closure.sub_workflows}
        self._plans: dict[_Key, Plan] = {}
        self._building: set[_Key] = set()

    def build(self, workflow: compiler_pb2.CompiledWorkflow) -> Plan:
        template = workflow.template
        if tuple(node.id for node in template.nodes[:2]) != (_START_ID, _END_ID):
            raise MalformedClosureError(f"workflow '{template.id.name}' does not begin with start-node and end-node")
        nodes, owners = _flattened(template)
        failure_node = len(template.nodes) if template.HasField("failure_node") else None
        ids = tuple(node.id for node in nodes)
        index = {node_id: position for position, node_id in enumerate(ids)}
        if len(index) != len(ids):
            raise MalformedClosureError(f"workflow '{template.id.name}' has two nodes of one id")
        aliases = {node.id: {alias.alias: alias.var for alias in node.output_aliases} for node in nodes}
        bindings = tuple(
            _program(template.outputs if node.id == _END_ID else node.inputs, index, aliases) for node in nodes
        )
        uses = [0] * len(ids)
        for program in bindings:
            for source in program.sources:
                uses[source] += 1
        successors, indegree = _edges(workflow, index)
        for arm, owner in enumerate(owners):
            if owner >= 0:
                indegree[arm] = len(bindings[arm].sources) + 1  # and the decision of its branch
                for source in bindings[arm].sources:
                    successors[source] = (*successors[source], arm)
        if failure_node is not None:
            indegree[failure_node] = 1  # which nothing ever decrements
        kinds = tuple(self._kind(node) for node in nodes)
        targets = self._targets(nodes, kinds, index, _read_outputs(bindings, owners))
        return Plan(
            name=template.id.name,
            policy=FailurePolicy(template.metadata.on_failure),
            ids=ids,
            names=tuple(node.metadata.name for node in nodes),
            kinds=kinds,
            indegree=tuple(indegree),
            successors=tuple(successors),
            bindings=bindings,
            uses=tuple(uses),
            targets=targets,
            owners=owners,
            failure_node=failure_node,
            attempts_max=tuple(_attempts_max(node, target) for node, target in zip(nodes, targets, strict=True)),
            timeout_s=tuple(_timeout_s(node, target) for node, target in zip(nodes, targets, strict=True)),
            interruptible=tuple(_interruptible(node) for node in nodes),
            interruptible_default=template.metadata_defaults.interruptible,
            input_names=tuple(sorted(template.interface.inputs.variables)),
            output_names=tuple(sorted(template.interface.outputs.variables)),
            makes_artifacts=_makes_artifacts(template.interface.outputs),
            cached_workflows=self._cached_workflows(nodes, kinds),
        )

    def _cached_workflows(
        self, nodes: Sequence[workflow_pb2.Node], kinds: Sequence[NodeKind]
    ) -> Mapping[int, CachedTask]:
        found: dict[int, CachedTask] = {}
        for position, (node, kind) in enumerate(zip(nodes, kinds, strict=True)):
            if kind is NodeKind.WORKFLOW:
                template = self._workflows[_key(node.workflow_node.sub_workflow_ref)].template
                known = cached_workflow(template, node.metadata)
                if known is not None:
                    found[position] = known
        return found

    def _targets(
        self,
        nodes: Sequence[workflow_pb2.Node],
        kinds: Sequence[NodeKind],
        index: Mapping[str, int],
        read: Sequence[tuple[str, ...]],
    ) -> tuple[Target | None, ...]:
        targets: list[Target | None] = [None] * len(nodes)
        # From the last to the first: the outputs of a branch are those of its arms, which come after it.
        for position in reversed(range(len(nodes))):
            node = nodes[position]
            match kinds[position]:
                case NodeKind.TASK:
                    targets[position] = self._task(node)
                case NodeKind.WORKFLOW:
                    targets[position] = self._sub_plan(node)
                case NodeKind.BRANCH:
                    targets[position] = branch_spec(node.branch_node.if_else, index, targets)
                case NodeKind.LAUNCH_PLAN:
                    targets[position] = _launch_plan(node.workflow_node.launchplan_ref, read[position])
                case NodeKind.GATE:
                    targets[position] = gate_spec(node)
                case NodeKind.ARRAY:
                    targets[position] = self._array(node, read[position])
                case _:
                    pass
        return tuple(targets)

    def _kind(self, node: workflow_pb2.Node) -> NodeKind:
        kind = _kind(node)
        if kind is NodeKind.TASK:
            template = self._tasks.get(_key(node.task_node.reference_id))
            if template is not None and template.type == LEGACY_TASK_TYPE:
                return NodeKind.ARRAY
        return kind

    def _array(self, node: workflow_pb2.Node, read: Sequence[str]) -> ArraySpec:
        """`read` are the outputs that other nodes bind."""
        if node.WhichOneof("target") == "array_node":
            return self._array_over(node, tuple(sorted(binding.var for binding in node.inputs)), read)
        try:
            return legacy_array_spec(node, self._task(node, maps=True))
        except ValueError as error:
            raise MalformedClosureError(str(error)) from error

    def _array_over(self, node: workflow_pb2.Node, inputs: tuple[str, ...], read: Sequence[str]) -> ArraySpec:
        array = node.array_node
        inner = array.node
        match inner.WhichOneof("target"):
            case "task_node":
                task = self._task(inner, maps=not wraps(array))
                return array_spec(array, inner.task_node.reference_id, task, inputs)
            case "workflow_node" if inner.workflow_node.WhichOneof("reference") == "launchplan_ref":
                identifier = inner.workflow_node.launchplan_ref
                plan = element_plan(inner, NodeKind.LAUNCH_PLAN, _launch_plan(identifier, tuple(read)), inputs)
                return array_spec(array, identifier, plan, inputs)
            case "workflow_node":
                return array_spec(array, inner.workflow_node.sub_workflow_ref, self._sub_plan(inner), inputs)
            case "array_node":
                spec = self._array_over(inner, inputs, read)
                identifier = identifier_pb2.Identifier(
                    project=spec.project, domain=spec.domain, name=spec.name, version=spec.version
                )
                return array_spec(array, identifier, element_plan(inner, NodeKind.ARRAY, spec, inputs), inputs)
            case target:
                raise MalformedClosureError(f"node '{node.id}' is an array over '{target}', which cannot be run")

    def _task(self, node: workflow_pb2.Node, *, maps: bool = False) -> TaskSpec:
        """`maps`: the task is run for each item of the lists that its interface speaks of."""
        identifier = node.task_node.reference_id
        template = self._tasks.get(_key(identifier))
        if template is None:
            raise MalformedClosureError(f"node '{node.id}' refers to task '{identifier.name}', which is not included")
        return TaskSpec(
            project=identifier.project,
            domain=identifier.domain,
            name=identifier.name,
            version=identifier.version,
            type=template.type,
            template=overridden(template, node.task_node.overrides),
            output_names=tuple(sorted(template.interface.outputs.variables)),
            wants_deck=template.metadata.generates_deck.value if template.metadata.HasField("generates_deck") else None,
            referring_outputs=frozenset(
                name for name, variable in template.interface.outputs.variables.items() if may_refer(variable.type)
            ),
            # What a mapped task declares is known where it is registered, not here.
            makes_artifacts=_makes_artifacts(template.interface.outputs)
            or (maps and mapped_task(template) is not None and bool(template.interface.outputs.variables)),
            cached=cached_task(template, node.metadata, maps=maps),
        )

    def _sub_plan(self, node: workflow_pb2.Node) -> Plan:
        key = _key(node.workflow_node.sub_workflow_ref)
        if key in self._plans:
            return self._plans[key]
        workflow = self._workflows.get(key)
        if workflow is None:
            raise MalformedClosureError(f"node '{node.id}' refers to sub-workflow '{key[2]}', which is not included")
        if key in self._building:
            raise MalformedClosureError(f"sub-workflow '{key[2]}' contains itself")
        self._building.add(key)
        plan = self._plans[key] = self.build(workflow)
        self._building.discard(key)
        return plan


def _flattened(template: workflow_pb2.WorkflowTemplate) -> tuple[list[workflow_pb2.Node], tuple[int, ...]]:
    """All nodes of a workflow in the order of the plan, and for each the position of the branch that owns it or -1."""
    nodes = list(template.nodes)
    if template.HasField("failure_node"):
        nodes.append(template.failure_node)
    owners = [-1] * len(nodes)
    position = 0
    while position < len(nodes):  # arms of arms come behind all that was known before
        arms = arms_of(nodes[position])
        nodes.extend(arms)
        owners.extend([position] * len(arms))
        position += 1
    return nodes, tuple(owners)


def _key(identifier: identifier_pb2.Identifier) -> _Key:
    return (identifier.project, identifier.domain, identifier.name, identifier.version)


def _kind(node: workflow_pb2.Node) -> NodeKind:
    if node.id == _START_ID:
        return NodeKind.START
    if node.id == _END_ID:
        return NodeKind.END
    target = node.WhichOneof("target")
    if target == "workflow_node":
        is_launch_plan = node.workflow_node.WhichOneof("reference") == "launchplan_ref"
        return NodeKind.LAUNCH_PLAN if is_launch_plan else NodeKind.WORKFLOW
    if target is None:
        raise MalformedClosureError(f"node '{node.id}' has no target")
    kind = _KINDS.get(target)
    if kind is None:
        raise MalformedClosureError(f"node '{node.id}' has the unknown target '{target}'")
    return kind


def _edges(
    workflow: compiler_pb2.CompiledWorkflow, index: Mapping[str, int]
) -> tuple[list[tuple[int, ...]], list[int]]:
    downstream = workflow.connections.downstream
    indegree = [0] * len(index)
    successors: list[tuple[int, ...]] = []
    for node_id in index:
        # Arms of branches have connections too, but are no nodes of this level.
        targets = (
            tuple(index[target] for target in downstream[node_id].ids if target in index)
            if (node_id in downstream)
            else ()
        )
        for target in targets:
            indegree[target] += 1
        successors.append(targets)
    return successors, indegree


def _program(
    inputs: Sequence[literals_pb2.Binding], index: Mapping[str, int], aliases: Mapping[str, Mapping[str, str]]
) -> BindingProgram:
    sources: dict[int, None] = {}

    def convert(data: literals_pb2.BindingData) -> Binding:
        match data.WhichOneof("value"):
            case "promise":
                promise = _promise(data.promise, index, aliases)
                sources[promise.node] = None
                return promise
            case "collection":
                return Items(tuple(convert(element) for element in data.collection.bindings))
            case "map":
                return Entries(tuple((key, convert(data.map.bindings[key])) for key in sorted(data.map.bindings)))
            case "scalar":
                return Constant(literals_pb2.Literal(scalar=data.scalar).SerializeToString())
            case "offloaded_metadata":
                literal = literals_pb2.Literal(offloaded_metadata=data.offloaded_metadata)
                return Constant(literal.SerializeToString())
            case _:
                return Constant(b"")

    bindings = tuple((binding.var, convert(binding.binding)) for binding in inputs)
    return BindingProgram(bindings, tuple(sources))


def _promise(
    reference: types_pb2.OutputReference, index: Mapping[str, int], aliases: Mapping[str, Mapping[str, str]]
) -> Promise:
    node_id = reference.node_id or _START_ID
    if node_id not in index:
        raise MalformedClosureError(f"a binding refers to node '{node_id}', which is not in the workflow")
    var = reference.var
    path: tuple[PathStep, ...] = tuple(
        step.string_value if step.WhichOneof("value") == "string_value" else step.int_value
        for step in reference.attr_path
    )
    if var.startswith("["):  # the older form of an index: `[3].name`
        position, _, var = var.partition("].")
        path = (int(position[1:]), *path)
    return Promise(index[node_id], aliases.get(node_id, {}).get(var, var), path)


def _makes_artifacts(outputs: interface_pb2.VariableMap) -> bool:
    return any(variable.HasField("artifact_partial_id") for variable in outputs.variables.values())


def _attempts_max(node: workflow_pb2.Node, target: Target | None) -> int:
    if node.metadata.retries.retries:
        return 1 + node.metadata.retries.retries
    return 1 + target.template.metadata.retries.retries if isinstance(target, TaskSpec) else 1


def _timeout_s(node: workflow_pb2.Node, target: Target | None) -> float:
    timeout_s = node.metadata.timeout.ToMicroseconds() / 1e6
    # flytekit sends an hour with every gate, whatever the length of the sleep; Flyte v1 then ends longer ones.
    is_long_sleep = isinstance(target, GateSpec) and target.kind is GateKind.SLEEP and target.duration_s >= timeout_s
    return 0.0 if is_long_sleep else timeout_s


def _read_outputs(programs: Sequence[BindingProgram], owners: Sequence[int]) -> Sequence[tuple[str, ...]]:
    """Names of the outputs that are read of each node; those of an arm are read as its branch's."""
    found: list[dict[str, None]] = [{} for _ in programs]
    pending = [binding for program in programs for _, binding in program.bindings]
    while pending:
        binding = pending.pop()
        match binding:
            case Promise():
                found[binding.node][binding.var] = None
            case Items():
                pending.extend(binding.elements)
            case Entries():
                pending.extend(entry for _, entry in binding.entries)
            case Constant():
                pass
    for arm, owner in enumerate(owners):  # owners come before their arms
        if owner >= 0:
            found[arm] |= found[owner]
    return [tuple(sorted(names)) for names in found]


def _launch_plan(identifier: identifier_pb2.Identifier, read: tuple[str, ...]) -> LaunchPlanSpec:
    return LaunchPlanSpec(
        project=identifier.project,
        domain=identifier.domain,
        name=identifier.name,
        version=identifier.version,
        output_names=read,
    )


def _interruptible(node: workflow_pb2.Node) -> bool | None:
    return node.metadata.interruptible if node.metadata.WhichOneof("interruptible_value") is not None else None
