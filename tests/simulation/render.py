"""From the model of a workflow to the compiled closure that the registry would have stored."""

from flyteidl.core import (
    compiler_pb2,
    condition_pb2,
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
    """Id of an arm of a branch."""
    return f"{branch_id}{'abcd'[position]}"


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def closure(workflow: Workflow) -> compiler_pb2.CompiledWorkflowClosure:
    """The compiled closure of a workflow with all that it is made of."""
    made = compiler_pb2.CompiledWorkflowClosure(primary=_compiled(workflow))
    _gather(workflow, made, set())
    return made


def _gather(workflow: Workflow, into: compiler_pb2.CompiledWorkflowClosure, seen: set[str]) -> None:
    for node in inner_nodes(workflow):
        match node:
            case TaskNode():
                if node.task.name not in seen:
                    seen.add(node.task.name)
                    into.tasks.append(compiler_pb2.CompiledTask(template=_task(node.task)))
            case WorkflowNode():
                if node.workflow.name not in seen:
                    seen.add(node.workflow.name)
                    into.sub_workflows.append(_compiled(node.workflow))
                    _gather(node.workflow, into, seen)
            case _:
                pass


def _compiled(workflow: Workflow) -> compiler_pb2.CompiledWorkflow:
    template = workflow_pb2.WorkflowTemplate(
        id=_identifier(identifier_pb2.WORKFLOW, workflow.name),
        metadata=workflow_pb2.WorkflowMetadata(on_failure=int(workflow.policy)),
        interface=_interface(),
        nodes=[
            workflow_pb2.Node(id=_START),
            workflow_pb2.Node(id=_END, inputs=[_binding(OUTPUT, workflow.result, workflow)]),
            *(_node(node, node_id(number), workflow) for number, node in enumerate(workflow.nodes, 1)),
        ],
        outputs=[_binding(OUTPUT, workflow.result, workflow)],
    )
    if workflow.failure is not None:
        template.failure_node.CopyFrom(_node(workflow.failure, FAILURE, workflow))
        template.failure_node.inputs.append(literals_pb2.Binding(var="err", binding=_NOTHING))
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


def _node(node: Node, spec_id: str, workflow: Workflow) -> workflow_pb2.Node:
    made = workflow_pb2.Node(
        id=spec_id,
        metadata=workflow_pb2.NodeMetadata(name=spec_id),
        inputs=[_binding(INPUT, node.given, workflow)],
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
        case BranchNode():
            made.branch_node.if_else.CopyFrom(_if_else(node, spec_id, workflow))
    return made


def _if_else(node: BranchNode, spec_id: str, workflow: Workflow) -> workflow_pb2.IfElseBlock:
    blocks = [
        workflow_pb2.IfBlock(condition=_condition(condition), then_node=_node(arm, arm_id(spec_id, position), workflow))
        for position, (condition, arm) in enumerate(node.cases)
    ]
    made = workflow_pb2.IfElseBlock(case=blocks[0], other=blocks[1:])
    if node.otherwise is None:
        made.error.message = "nothing fits"
    else:
        made.else_node.CopyFrom(_node(node.otherwise, arm_id(spec_id, len(blocks)), workflow))
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
    )


def _binding(var: str, value: Value, workflow: Workflow) -> literals_pb2.Binding:
    return literals_pb2.Binding(var=var, binding=_data(value, workflow))


def _data(value: Value, workflow: Workflow) -> literals_pb2.BindingData:
    match value:
        case Number():
            return literals_pb2.BindingData(scalar=integer(value.value).scalar)
        case Of():
            is_handed_on = not value.node or isinstance(workflow.nodes[value.node - 1], ApproveNode)
            promise = types_pb2.OutputReference(
                node_id=node_id(value.node) if value.node else "", var=INPUT if is_handed_on else OUTPUT
            )
            return literals_pb2.BindingData(promise=promise)
        case Listed():
            elements = [_data(element, workflow) for element in value.elements]
            return literals_pb2.BindingData(collection=literals_pb2.BindingDataCollection(bindings=elements))
        case Mapped():
            entries = {f"k{i}": _data(element, workflow) for i, element in enumerate(value.elements)}
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
