"""Every mistake a workflow can contain is reported with its code, its node, and the types involved."""

import pytest
from flyteidl.core import condition_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2, workflow_pb2
from tests.unit.compiler.builders import (
    BOOL,
    FLOAT,
    INT,
    STR,
    bindings,
    branch,
    compare,
    compiled,
    data,
    identifier,
    interface,
    list_of,
    literal,
    mistakes,
    node,
    promise,
    scalar,
    variables,
    workflow,
)

from wingbeat_propeller.compiler.errors import CompilationFailedError
from wingbeat_propeller.compiler.references import LaunchPlanInterface

Node = workflow_pb2.Node
A = promise("", "a")


def _without_condition() -> Node:
    made = branch("b", [(compare("$x", 1), node("n0", a=1))], x=A)
    made.branch_node.if_else.case.ClearField("condition")
    return made


def _without_then() -> Node:
    made = branch("b", [(compare("$x", 1), node("n0", a=1)), (compare("$x", 2), node("n1", a=1))], x=A)
    made.branch_node.if_else.other[0].ClearField("then_node")
    return made


def _without_default() -> Node:
    made = branch("b", [(compare("$x", 1), node("n0", a=1))], x=A)
    made.branch_node.if_else.ClearField("error")
    return made


def _aliased(*aliases: tuple[str, str]) -> Node:
    made = node("n0", a=1)
    for var, alias in aliases:
        made.output_aliases.add(var=var, alias=alias)
    return made


def _gate(**condition: object) -> Node:
    return Node(id="g", gate_node=workflow_pb2.GateNode(**condition))  # type: ignore[arg-type]


def _doubled() -> Node:
    made = node("n0", a=1)
    made.inputs.extend(bindings({"a": 2}))
    return made


def _unset() -> Node:
    made = node("n0", a=1)
    made.inputs[0].ClearField("binding")
    return made


def _untyped_workflow() -> workflow_pb2.WorkflowTemplate:
    template = workflow([node("n0", a=1)])
    template.interface.inputs.variables["a"].ClearField("type")
    return template


def _unbound_end() -> workflow_pb2.WorkflowTemplate:
    return workflow([node("n0", a=1)], outputs={"o0": INT})


def _wrong_end() -> workflow_pb2.WorkflowTemplate:
    return workflow([node("n0", a=1)], outputs={"o0": STR}, returns={"o0": promise("n0")})


NO_ID = workflow([node("n0", a=1)])
NO_ID.ClearField("id")
EMPTY_CONJUNCTION = condition_pb2.BooleanExpression(
    conjunction=condition_pb2.ConjunctionExpression(left_expression=compare("$x", 1))
)


@pytest.mark.parametrize(
    ("template", "code", "node_id", "words"),
    [
        (workflow([]), "NoNodesFound", "p:d:w:v", ["p:d:w:v"]),
        (NO_ID, "ValueRequired", "<workflow>", ["Id"]),
        (workflow([node("", a=1)]), "ValueRequired", "<node>", ["Id"]),
        (workflow([Node(id="n0")]), "ValueRequired", "n0", ["Target"]),
        (workflow([Node(id="n0", task_node={})]), "ValueRequired", "n0", ["TaskNode.ReferenceId"]),
        (workflow([Node(id="n0", workflow_node={})]), "ValueRequired", "n0", ["WorkflowNode.Reference"]),
        (workflow([Node(id="n0", array_node={})]), "ValueRequired", "n0", ["ArrayNode.Node"]),
        (workflow([Node(id="n0", branch_node={})]), "ValueRequired", "n0", ["Branch.IfElse"]),
        (workflow([Node(id="n0", branch_node={"if_else": {}})]), "ValueRequired", "n0", ["Branch.IfElse.Case"]),
        (_untyped_workflow(), "ValueRequired", "start-node", ["type", "[a]", "workflow"]),
        (workflow([_unset()]), "ValueRequired", "n0", ["Binding", "[a]"]),
        (workflow([_gate(signal={"output_variable_name": "o0"})]), "ValueRequired", "g", ["GateNode.Signal.Type"]),
        (
            workflow([_gate(signal={"type": INT})]),
            "ValueRequired",
            "g",
            ["GateNode.Signal.OutputVariableName"],
        ),
        (workflow([_gate()]), "NoConditionFound", "g", []),
        (workflow([node("n0", "nobody", a=1)]), "TaskReferenceNotFound", "n0", ["p:d:nobody:v"]),
        (
            workflow([Node(id="n0", workflow_node={"sub_workflow_ref": identifier("no")})]),
            "WorkflowReferenceNotFound",
            "n0",
            ["sub-workflow", "p:d:no:v"],
        ),
        (
            workflow([Node(id="n0", workflow_node={"launchplan_ref": identifier("no")})]),
            "WorkflowReferenceNotFound",
            "n0",
            ["launch plan", "p:d:no:v"],
        ),
        (workflow([node("n0", a=promise("n9"))]), "NodeReferenceNotFound", "n0", ["n9"]),
        (workflow([node("n0", upstream=["n9"], a=1)]), "NodeReferenceNotFound", "n0", ["n9"]),
        (workflow([node("n0", a=promise("end-node"))]), "NodeReferenceNotFound", "n0", ["end-node"]),
        (workflow([node("n0", a=1, b=2)]), "VariableNameNotFound", "n0", ["[b]", "[a]"]),
        (
            workflow([node("n0", a=1), node("n1", a=promise("n0", "o7"))]),
            "VariableNameNotFound",
            "n1",
            ["o7", "n0", "[a]", "o0"],
        ),
        (workflow([node("n0")]), "ParameterNotBound", "n0", ["[a]", "Integer"]),
        (workflow([node("n0", a=literals_pb2.BindingData())]), "ParameterNotBound", "n0", ["[a]"]),
        (workflow([node("n0", "total", values=[literals_pb2.BindingData()])]), "ParameterNotBound", "n0", ["values"]),
        (_unbound_end(), "ParameterNotBound", "end-node", ["[o0]", "Integer"]),
        (workflow([_doubled()]), "ParameterBoundMoreThanOnce", "n0", ["[a]"]),
        (workflow([_aliased(("o0", "x"), ("o0", "y"))]), "DuplicateAlias", "n0", ["y", "o0"]),
        (workflow([_aliased(("o7", "x"))]), "ParameterNotBound", "n0", ["x", "o7"]),
        (workflow([node("n0", a=1), node("n0", a=2)]), "DuplicateId", "n0", ["n0"]),
        (
            workflow([branch("b", [(compare("$x", 1), node("n0", a=1))], node("n0", a=2), x=A)]),
            "DuplicateId",
            "b-n0",
            ["b-n0"],
        ),
        (workflow([node("n0", a="text")]), "MismatchingTypes", "n0", ["n0.a", "String", "Integer"]),
        (
            workflow([node("n0", "start"), node("n1", a=promise("n0"))]),
            "MismatchingTypes",
            "n1",
            ["n0.o0", "String", "n1.a", "Integer"],
        ),
        (workflow([node("n0", a=1), node("n1", a=promise("n0", "[0].o0"))]), "MismatchingTypes", "n1", ["Integer"]),
        (_wrong_end(), "MismatchingTypes", "end-node", ["n0.o0", "Integer", "end-node.o0", "String"]),
        (
            workflow(
                [branch("b", [(compare("$x", 1), node("n0", a=1))], node("n1", "start"), x=A)],
            ),
            "MismatchingTypes",
            "b",
            ["b-n0.o0", "Integer", "b-n1.o0", "String"],
        ),
        (
            workflow([branch("b", [(compare("$x", "text"), node("n0", a=1))], x=A)]),
            "MismatchingTypes",
            "b",
            ["[x]", "Integer", "String"],
        ),
        (workflow([node("n0", a=[1])]), "MismatchingBindings", "n0", ["n0.a", "Integer", "list"]),
        (workflow([node("n0", "total", values={"k": 1})]), "MismatchingBindings", "n0", ["List[Integer]", "map"]),
        (workflow([node("n0", "total", values=[1, "x"])]), "MismatchingTypes", "n0", ["String", "Integer"]),
        (
            workflow([node("n0", "either", values=[])]),
            "AmbiguousBindingUnionValue",
            "n0",
            ["n0.values", "List[Integer]"],
        ),
        (workflow([node("n0", "either", values=[1.5])]), "IncompatibleBindingUnionValue", "n0", ["n0.values", "Union"]),
        (workflow([node("n0", "either", values=[promise("n9")])]), "NodeReferenceNotFound", "n0", ["n9"]),
        (workflow([node("n0", "paint", color="blue")]), "IllegalEnumValue", "n0", ["n0.color", "'red'", "blue"]),
        (
            workflow([node("n0", "locate"), node("n1", a=promise("n0", "o0", "z"))]),
            "FieldNotFound",
            "n1",
            ["n0.o0", "[z]", "Struct", "[a]"],
        ),
        (workflow([node("n0", a=promise("", "[x].a"))]), "SyntaxError", "n0", ["[x].a", "[a]"]),
        (workflow([node("n0", a=promise("", ""))]), "SyntaxError", "n0", ["[a]"]),
        (
            workflow([node("n0", a=data(literals_pb2.BindingData(scalar={})))]),
            "UnrecognizedValue",
            "n0",
            ["[a]"],
        ),
        (workflow([_without_condition()]), "BranchNodeHasNoCondition", "b", ["Block 0"]),
        (workflow([_without_then()]), "BranchNodeIdNotFound", "b", ["Block 1"]),
        (workflow([_without_default()]), "BranchNodeHasNoDefault", "b", []),
        (workflow([branch("b", [(compare("$y", 1), node("n0", a=1))], x=A)]), "VariableNameNotFound", "b", ["[y]"]),
        (
            workflow([branch("b", [(condition_pb2.BooleanExpression(), node("n0", a=1))], x=A)]),
            "ValueRequired",
            "b",
            ["Expr"],
        ),
        (
            workflow([branch("b", [(compare(condition_pb2.Operand(), 1), node("n0", a=1))], x=A)]),
            "ValueRequired",
            "b",
            ["LeftValue"],
        ),
        (
            workflow([branch("b", [(EMPTY_CONJUNCTION, node("n0", a=1))], x=A)]),
            "ValueRequired",
            "b",
            ["right_expression"],
        ),
        (workflow([branch("b", [(compare("$x", 1), node("", a=1))], x=A)]), "ValueRequired", "b", ["Id"]),
        (workflow([branch("b", [(compare("$x", 1), Node(id="n0"))], x=A)]), "ValueRequired", "b-n0", ["Target"]),
        (
            workflow([branch("b", [(compare("$x", 1), node("n0", a="x"))], x=A)]),
            "MismatchingTypes",
            "b-n0",
            ["b-n0.a", "String", "Integer"],
        ),
        (
            workflow([node("n0", upstream=["n1"], a=A), node("n1", a=promise("n0"))]),
            "CycleDetected",
            "n0",
            ["n0 > n1 > n0"],
        ),
        (
            workflow([node("n0", a=A), node("n1", a=promise("n2")), node("n2", a=promise("n1"))]),
            "UnreachableNodes",
            "n1",
            ["n1", "n2"],
        ),
        (
            workflow([node("n0", a=promise("b")), branch("b", [(compare("$x", 1), node("n0", a=promise("n0")))], x=A)]),
            "CycleDetected",
            "b",
            ["b", "n0"],
        ),
    ],
)
def test_mistake(template: workflow_pb2.WorkflowTemplate, code: str, node_id: str, words: list[str]) -> None:
    """The one mistake is reported, at its node, in words that help, and nothing else is."""
    found = mistakes(template)
    assert [(mistake[0], mistake[1]) for mistake in found] == [(code, node_id)], found
    for word in words:
        assert word in found[0][2]


def test_all_mistakes_are_collected() -> None:
    """Several mistakes come in one error, whose text lists them one a line."""
    template = workflow([node("n0", "nobody"), node("n1", a="x", b=1), node("n2")])
    with pytest.raises(CompilationFailedError) as caught:
        compiled(template)
    lines = str(caught.value).split("\n")
    assert lines[0] == "Collected Errors: 4"
    assert lines[1] == (
        "\tError 0: Code: TaskReferenceNotFound, Node Id: n0, Description: Referenced task [p:d:nobody:v] not found."
    )
    assert [str(error.code) for error in caught.value.errors] == [
        "TaskReferenceNotFound",
        "MismatchingTypes",
        "VariableNameNotFound",
        "ParameterNotBound",
    ]


def test_one_unknown_task_is_one_mistake() -> None:
    """What follows from an unknown task, such as promises of its outputs, is not held against others."""
    template = workflow(
        [node("n0", "nobody"), node("n1", a=promise("n0", "x")), node("n2", "either", values=[promise("n0")])]
    )
    assert [mistake[:2] for mistake in mistakes(template)] == [("TaskReferenceNotFound", "n0")]


def test_mistakes_in_sub_workflows_say_where() -> None:
    """Node ids repeat in every workflow, so the text names the sub-workflow."""
    inner = workflow([node("n0", a="x")], name="inner")
    outer = workflow([Node(id="n0", workflow_node={"sub_workflow_ref": inner.id}, inputs=bindings({"a": 1}))])
    ((code, node_id, text),) = mistakes(outer, inner)
    assert (code, node_id) == ("MismatchingTypes", "n0")
    assert text.endswith("(in sub-workflow inner)")


def test_sub_workflows_that_contain_themselves() -> None:
    """A circle of sub-workflows is refused, direct or not, and so is one given twice."""
    call = lambda node_id, name: Node(  # noqa: E731  # one line is enough
        id=node_id, workflow_node={"sub_workflow_ref": identifier(name)}, inputs=bindings({"a": 1})
    )
    first = workflow([call("n0", "second")], name="first")
    second = workflow([call("n1", "first")], name="second")
    outer = workflow([call("n0", "first")])
    assert [mistake[:2] for mistake in mistakes(outer, first, second)] == [("CycleDetected", "n1")]
    fine = workflow([node("n0", a=1)], name="first")
    assert [mistake[0] for mistake in mistakes(outer, fine, fine)] == ["ValueCollision"]
    itself = workflow([call("n0", "w")])
    assert [mistake[0] for mistake in mistakes(itself, itself)] == ["CycleDetected"]


def test_launch_plan_interfaces() -> None:
    """Required inputs must be bound, defaulted ones may be, fixed ones are unknown."""
    plan = LaunchPlanInterface(
        identifier("w2", identifier_pb2.WORKFLOW),
        interface_pb2.ParameterMap(
            parameters={
                "needed": interface_pb2.Parameter(var={"type": INT}, required=True),
                "spare": interface_pb2.Parameter(var={"type": STR}, default=literal("x")),
            }
        ),
        variables({"o0": INT}),
    )

    def found(**inputs: object) -> list[str]:
        call = Node(id="n0", workflow_node={"launchplan_ref": identifier("plan")}, inputs=bindings(inputs))
        template = workflow([call, node("n1", a=promise("n0"))])
        return [mistake[0] for mistake in mistakes(template, launch_plans={"plan": plan})]

    assert found(needed=1) == []
    assert found(needed=1, spare="y") == []
    assert found(spare="y") == ["ParameterNotBound"]
    assert found(needed=1, spare=2) == ["MismatchingTypes"]
    assert found(needed=1, fixed=2) == ["VariableNameNotFound"]


def test_a_workflow_may_start_itself() -> None:
    """A launch plan with the id of the workflow need not be registered: the workflow's own interface counts."""
    call = Node(
        id="n0",
        workflow_node={"launchplan_ref": identifier("w", identifier_pb2.LAUNCH_PLAN)},
        inputs=bindings({"a": A}),
    )
    assert mistakes(workflow([call], outputs={"o0": INT}, returns={"o0": promise("n0")})) == []
    wrong = workflow([call, node("n1", "say", text=promise("n0"))], outputs={"o0": INT}, returns={"o0": promise("n0")})
    assert [mistake[0] for mistake in mistakes(wrong)] == ["MismatchingTypes"]


def test_arrays_of_original_interfaces_are_wrapped() -> None:
    """With an unwrapped inner interface, inputs become lists except bound ones, and outputs do."""
    array = Node(
        id="n0",
        inputs=bindings({"a": promise("", "many")}),
        array_node=workflow_pb2.ArrayNode(node=node("inner"), is_original_sub_node_interface={"value": True}),
    )
    inputs = {"many": list_of(INT), "a": INT}
    good = workflow([array, node("n1", "total", values=promise("n0"))], inputs=inputs)
    assert mistakes(good) == []
    array.inputs[0].binding.promise.var = "a"
    assert [mistake[:2] for mistake in mistakes(workflow([array], inputs=inputs))] == [("MismatchingTypes", "n0")]
    array.array_node.bound_inputs.append("a")
    assert mistakes(workflow([array], inputs=inputs)) == []


def test_branches_in_any_order() -> None:
    """Branches and approvals may stand before the nodes they read; approvals pass on what they are bound to."""
    approve = Node(id="g", gate_node={"approve": {"signal_id": "s"}}, inputs=bindings({"x": promise("g2", "y")}))
    second = Node(id="g2", gate_node={"approve": {"signal_id": "t"}}, inputs=bindings({"y": promise("n0")}))
    chosen = branch("b", [(compare("$v", 3), node("n0", a=promise("g", "x")))], v=promise("g", "x"))
    template = workflow([chosen, approve, second, node("n1", a=promise("b")), node("n0", a=A)])
    assert mistakes(template) == []
    wrong = workflow([approve, second, node("n1", "say", text=promise("g", "x")), node("n0", a=A)])
    assert [mistake[:2] for mistake in mistakes(wrong)] == [("MismatchingTypes", "n1")]
    circle = workflow([approve, Node(id="g2", gate_node=second.gate_node, inputs=bindings({"y": promise("g", "x")}))])
    assert {mistake[0] for mistake in mistakes(circle)} == {"UnreachableNodes"}


@pytest.mark.parametrize(
    "operand",
    [condition_pb2.Operand(scalar=scalar(1)), condition_pb2.Operand(scalar=scalar(None))],
)
def test_scalar_operands(operand: condition_pb2.Operand) -> None:
    """Conditions may compare with scalars, nothing among them."""
    assert mistakes(workflow([branch("b", [(compare("$x", operand), node("n0", a=1))], x=A)])) == []


def test_attribute_paths() -> None:
    """Attributes lead through lists, maps, dataclasses and optionals to the type at their end."""
    nodes = [node("n0", "locate"), node("n1", "spread", a=promise("n0", "o0", "x"))]
    good = [
        node("g0", a=promise("n1", "o0", 3)),
        node("g1", a=promise("n1", "[3].o0")),
        node("g2", "say", text=promise("n1", "o1", "key", 0)),
        node("g3", "say", text=promise("n0", "o0", "inner", "y", 0)),
    ]
    assert mistakes(workflow([*nodes, *good])) == []
    bad = node("n2", "say", text=promise("n1", "o1", "key"))
    ((code, node_id, text),) = mistakes(workflow([*nodes, bad]))
    assert (code, node_id) == ("MismatchingTypes", "n2")
    assert "n1.o1.key" in text
    assert "List[String]" in text


def test_optional_inputs_may_stay_unbound() -> None:
    """A parameter whose type admits nothing needs no binding."""
    assert mistakes(workflow([node("n0", "maybe")])) == []


def test_unused_sub_workflows_stay_raw() -> None:
    """What is sent and not used is kept as it was sent, mistakes included."""
    spare = workflow([node("n0", a="wrong")], name="spare")
    closure = compiled(workflow([node("n0", a=1)]), spare)
    assert closure.sub_workflows[0].template == spare
    assert not closure.sub_workflows[0].HasField("connections")


def test_templates_with_start_and_end_are_taken() -> None:
    """A template out of a closure compiles to the same closure again."""
    template = workflow([node("n0", a=A)], outputs={"o0": INT}, returns={"o0": promise("n0")})
    closure = compiled(template)
    assert compiled(closure.primary.template) == closure


def test_unset_interface_is_an_empty_one() -> None:
    """A workflow without inputs and outputs need not say so."""
    template = workflow([node("n0", a=1)])
    template.ClearField("interface")
    assert compiled(template).primary.template.interface == interface()


@pytest.mark.parametrize("kind", [FLOAT, BOOL])
def test_condition_constants_have_types(kind: types_pb2.LiteralType) -> None:
    """Nothing is widened in conditions: an integer is compared with integers."""
    template = workflow([branch("b", [(compare("$x", 1), node("n0", a=1))], x=A)], inputs={"a": kind})
    assert [mistake[0] for mistake in mistakes(template)] == ["MismatchingTypes"]
