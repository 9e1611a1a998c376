"""From the model of a workflow to the compiled closure that the registry would have stored."""

from typing import NamedTuple

from flyteidl.core import (
    compiler_pb2,
    condition_pb2,
    dynamic_job_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from tests.simulation.programs import (
    INPUT,
    OUTPUT,
    ApproveNode,
    Both,
    BranchNode,
    Compared,
    Condition,
    LaunchPlanNode,
    Listed,
    MapNode,
    Mapped,
    Node,
    Number,
    Of,
    SignalNode,
    SleepNode,
    Task,
    TaskNode,
    Value,
    Workflow,
    WorkflowNode,
    inner_nodes,
    read_by,
)

PROJECT = "sim"
DOMAIN = "development"
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


def boolean(value: bool) -> literals_pb2.Literal:
    """A boolean literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(boolean=value)))


class _Form(NamedTuple):
    """How a workflow is put: as the compiler leaves it, or as clients send it (`is_raw`); and what stands in the place
    of its input, if it is not left open."""

    is_raw: bool = False
    given: int | None = None


def _arm(branch_id: str, position: int, form: _Form) -> str:
    return _ARMS[position] if form.is_raw else arm_id(branch_id, position)


_ARMS = "abcd"
FAILURE = "fn0"
"""Id of the failure node."""
_OR = condition_pb2.ConjunctionExpression.OR
_NOTHING = literals_pb2.BindingData(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
_START = "start-node"
_END = "end-node"


def node_id(number: int) -> str:
    """Id of a node by its number."""
    return f"n{number}" if number else _START


def arm_id(branch_id: str, position: int) -> str:
    """Id of an arm of a branch, as the compiler makes it."""
    return f"{branch_id}-{_ARMS[position]}"


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def closure(workflow: Workflow) -> compiler_pb2.CompiledWorkflowClosure:
    """The compiled closure of a workflow with all that it is made of."""
    tasks, workflows = _parts(workflow)
    return compiler_pb2.CompiledWorkflowClosure(
        primary=_compiled(workflow),
        sub_workflows=[_compiled(one) for one in workflows],
        tasks=[compiler_pb2.CompiledTask(template=_task(task)) for task in tasks],
    )


def futures(workflow: Workflow, given: int) -> dynamic_job_pb2.DynamicJobSpec:
    """What a dynamic task leaves that makes `workflow` out of its input."""
    tasks, workflows = _parts(workflow)
    template = _template(workflow, _Form(is_raw=True, given=given))
    return dynamic_job_pb2.DynamicJobSpec(
        nodes=template.nodes,
        outputs=template.outputs,
        tasks=map(_task, tasks),
        subworkflows=[_template(one, _Form(is_raw=True)) for one in workflows],
    )


def _parts(workflow: Workflow) -> tuple[list[Task], list[Workflow]]:
    """Tasks and workflows that a workflow brings along."""
    tasks: dict[str, Task] = {}
    workflows: dict[str, Workflow] = {}
    pending = [workflow]
    while pending:
        for node in inner_nodes(pending.pop()):
            match node:
                case TaskNode():
                    tasks[node.task.name] = node.task
                case WorkflowNode():
                    workflows[node.workflow.name] = node.workflow
                    pending.append(node.workflow)
                case MapNode() if isinstance(node.element, Task):
                    tasks[node.element.name] = node.element
                case MapNode() if isinstance(node.element, Workflow) and not node.is_launched:
                    workflows[node.element.name] = node.element
                    pending.append(node.element)
                case _:
                    pass
    return list(tasks.values()), list(workflows.values())


def _template(workflow: Workflow, form: _Form) -> workflow_pb2.WorkflowTemplate:
    """Without start node, end node and edges."""
    template = workflow_pb2.WorkflowTemplate(
        id=_identifier(identifier_pb2.WORKFLOW, workflow.name),
        metadata=workflow_pb2.WorkflowMetadata(on_failure=int(workflow.policy)),
        interface=_interface(),
        nodes=[_node(node, node_id(number), workflow, form) for number, node in enumerate(workflow.nodes, 1)],
        outputs=[_binding(OUTPUT, workflow.result, workflow, form)],
    )
    if workflow.failure is not None:
        template.failure_node.CopyFrom(_node(workflow.failure, FAILURE, workflow, form))
        template.failure_node.inputs.append(literals_pb2.Binding(var="err", binding=_NOTHING))
    return template


def _compiled(workflow: Workflow) -> compiler_pb2.CompiledWorkflow:
    template = _template(workflow, _Form())
    nodes = list(template.nodes)
    del template.nodes[:]
    end = workflow_pb2.Node(id=_END, inputs=template.outputs)
    template.nodes.extend([workflow_pb2.Node(id=_START), end, *nodes])
    made = compiler_pb2.CompiledWorkflow(template=template)
    followed: set[int] = set()
    for number in range(1, len(workflow.nodes) + 1):
        for source in sorted(workflow.sources(number)):
            followed.add(source)
            _connect(made, node_id(source), node_id(number))
    for source in range(len(workflow.nodes) + 1):
        if source in read_by(workflow.result) or source not in followed:
            _connect(made, node_id(source), _END)
    return made


def _node(node: Node, spec_id: str, workflow: Workflow, form: _Form) -> workflow_pb2.Node:
    made = workflow_pb2.Node(
        id=spec_id,
        metadata=workflow_pb2.NodeMetadata(name=spec_id),
        inputs=[_binding(INPUT, node.given, workflow, form)],
        upstream_node_ids=[node_id(source) for source in sorted(node.after) if source],
    )
    match node:
        case TaskNode():
            made.task_node.reference_id.CopyFrom(_identifier(identifier_pb2.TASK, node.task.name))
            made.metadata.retries.retries = node.attempts_max - 1
            if node.task.timeout_s:
                made.metadata.timeout.FromMicroseconds(round(node.task.timeout_s * 1e6))
        case WorkflowNode():
            made.workflow_node.sub_workflow_ref.CopyFrom(_identifier(identifier_pb2.WORKFLOW, node.workflow.name))
            if node.is_cached:
                made.metadata.cacheable, made.metadata.cache_version = True, "1"
                made.metadata.cache_serializable = node.is_serialized
        case LaunchPlanNode():
            made.workflow_node.launchplan_ref.CopyFrom(_identifier(identifier_pb2.LAUNCH_PLAN, node.workflow.name))
        case SleepNode():
            del made.inputs[:]
            made.gate_node.sleep.duration.FromMicroseconds(round(node.duration_s * 1e6))
        case SignalNode():
            del made.inputs[:]
            made.gate_node.signal.signal_id = node.signal_id
            made.gate_node.signal.type.CopyFrom(_INTEGER)
            made.gate_node.signal.output_variable_name = OUTPUT
        case ApproveNode():
            made.gate_node.approve.signal_id = node.signal_id
        case MapNode():
            made.array_node.CopyFrom(_array(node))
        case BranchNode():
            made.branch_node.if_else.CopyFrom(_if_else(node, spec_id, workflow, form))
    return made


def _array(node: MapNode) -> workflow_pb2.ArrayNode:
    inner = workflow_pb2.Node(id="element", metadata=workflow_pb2.NodeMetadata(name="element"))
    inner.metadata.retries.retries = node.attempts_max - 1
    match node.element:
        case Task() as task:
            inner.task_node.reference_id.CopyFrom(_identifier(identifier_pb2.TASK, task.name))
            if task.timeout_s:
                inner.metadata.timeout.FromMicroseconds(round(task.timeout_s * 1e6))
        case Workflow() as workflow if node.is_launched:
            inner.workflow_node.launchplan_ref.CopyFrom(_identifier(identifier_pb2.LAUNCH_PLAN, workflow.name))
        case Workflow() as workflow:
            inner.workflow_node.sub_workflow_ref.CopyFrom(_identifier(identifier_pb2.WORKFLOW, workflow.name))
    made = workflow_pb2.ArrayNode(node=inner, parallelism=node.parallelism, run_all_sub_nodes=node.runs_all)
    made.is_original_sub_node_interface.value = not (isinstance(node.element, Task) and node.element.reads_lists)
    if node.min_successes is not None:
        made.min_successes = node.min_successes
    elif node.min_success_ratio is not None:
        made.min_success_ratio = node.min_success_ratio
    return made


def _if_else(node: BranchNode, spec_id: str, workflow: Workflow, form: _Form) -> workflow_pb2.IfElseBlock:
    blocks = [
        workflow_pb2.IfBlock(
            condition=_condition(condition), then_node=_node(arm, _arm(spec_id, position, form), workflow, form)
        )
        for position, (condition, arm) in enumerate(node.cases)
    ]
    made = workflow_pb2.IfElseBlock(case=blocks[0], other=blocks[1:])
    if node.otherwise is None:
        made.error.message = "nothing fits"
    else:
        made.else_node.CopyFrom(_node(node.otherwise, _arm(spec_id, len(blocks), form), workflow, form))
    return made


def _condition(condition: Condition) -> condition_pb2.BooleanExpression:
    match condition:
        case Compared():
            left = condition_pb2.Operand(var=INPUT)
            right = condition_pb2.Operand(scalar=integer(condition.than).scalar)
            comparison = condition_pb2.ComparisonExpression(left_value=left, right_value=right)
            comparison.operator = condition.operator
            return condition_pb2.BooleanExpression(comparison=comparison)
        case Both():
            conjunction = condition_pb2.ConjunctionExpression(
                left_expression=_condition(condition.left), right_expression=_condition(condition.right)
            )
            conjunction.operator = condition_pb2.ConjunctionExpression.AND if condition.is_and else _OR
            return condition_pb2.BooleanExpression(conjunction=conjunction)


def _task(task: Task) -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(
        id=_identifier(identifier_pb2.TASK, task.name),
        type=task.style,
        interface=_interface(),
        metadata=tasks_pb2.TaskMetadata(
            discoverable=task.is_cached,
            discovery_version="1" if task.is_cached else "",
            cache_serializable=task.is_serialized,
        ),
    )


def _binding(var: str, value: Value, workflow: Workflow, form: _Form) -> literals_pb2.Binding:
    return literals_pb2.Binding(var=var, binding=_data(value, workflow, form))


def _data(value: Value, workflow: Workflow, form: _Form) -> literals_pb2.BindingData:
    match value:
        case Of() if not value.node and form.given is not None:
            return literals_pb2.BindingData(scalar=integer(form.given).scalar)
        case Number():
            return literals_pb2.BindingData(scalar=integer(value.value).scalar)
        case Of():
            is_handed_on = not value.node or isinstance(workflow.nodes[value.node - 1], ApproveNode)
            promise = types_pb2.OutputReference(
                node_id=node_id(value.node) if value.node else "", var=INPUT if is_handed_on else OUTPUT
            )
            return literals_pb2.BindingData(promise=promise)
        case Listed():
            elements = [_data(element, workflow, form) for element in value.elements]
            return literals_pb2.BindingData(collection=literals_pb2.BindingDataCollection(bindings=elements))
        case Mapped():
            entries = {f"k{i}": _data(element, workflow, form) for i, element in enumerate(value.elements)}
            return literals_pb2.BindingData(map=literals_pb2.BindingDataMap(bindings=entries))


def _connect(workflow: compiler_pb2.CompiledWorkflow, source: str, target: str) -> None:
    workflow.connections.downstream[source].ids.append(target)
    workflow.connections.upstream[target].ids.append(source)


def _interface() -> interface_pb2.TypedInterface:
    return interface_pb2.TypedInterface(
        inputs=interface_pb2.VariableMap(variables={INPUT: interface_pb2.Variable(type=_INTEGER)}),
        outputs=interface_pb2.VariableMap(variables={OUTPUT: interface_pb2.Variable(type=_INTEGER)}),
    )


def _identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version="1")
