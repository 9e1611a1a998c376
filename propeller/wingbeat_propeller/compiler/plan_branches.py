"""Branch nodes of a plan: their arms in order, and their conditions as the core evaluates them."""

from collections.abc import Mapping, Sequence

from flyteidl.core import condition_pb2, literals_pb2, workflow_pb2

from wingbeat_propeller.compiler.references import arms
from wingbeat_propeller.core.conditions import Comparison, Condition, Conjunction, Fixed, Operand, Operator, Variable
from wingbeat_propeller.core.plan import BranchSpec, Target


def arms_of(node: workflow_pb2.Node) -> list[workflow_pb2.Node]:
    """The arms of a branch node, in order; none for other nodes."""
    return arms(node.branch_node) if node.WhichOneof("target") == "branch_node" else []


def branch_spec(
    block: workflow_pb2.IfElseBlock, index: Mapping[str, int], targets: Sequence[Target | None]
) -> BranchSpec:
    """What a branch node chooses from; `index` has the arms' plan indexes, `targets` what they do."""
    cases = tuple(
        (condition(case.condition), index[case.then_node.id])
        for case in (block.case, *block.other)
        if case.HasField("then_node")
    )
    default = block.WhichOneof("default")
    otherwise = index[block.else_node.id] if default == "else_node" else None
    names: set[str] = set()
    for arm in [*(arm for _, arm in cases), *([] if otherwise is None else [otherwise])]:
        target = targets[arm]
        names.update(() if target is None else target.output_names)
    error = block.error.message if default == "error" else None
    return BranchSpec(cases, otherwise, error, tuple(sorted(names)))


def condition(expression: condition_pb2.BooleanExpression) -> Condition:
    """A condition; its depth is bounded by protobuf's limit on nesting."""
    if expression.WhichOneof("expr") == "conjunction":
        conjunction = expression.conjunction
        is_and = conjunction.operator == condition_pb2.ConjunctionExpression.AND
        return Conjunction(is_and, condition(conjunction.left_expression), condition(conjunction.right_expression))
    comparison = expression.comparison
    left, right = _operand(comparison.left_value), _operand(comparison.right_value)
    return Comparison(Operator(comparison.operator), left, right)


def _operand(operand: condition_pb2.Operand) -> Operand:
    match operand.WhichOneof("val"):
        case "var":
            return Variable(operand.var)
        case "scalar":
            return Fixed(literals_pb2.Literal(scalar=operand.scalar).SerializeToString())
        case _:
            scalar = literals_pb2.Scalar(primitive=operand.primitive)
            return Fixed(literals_pb2.Literal(scalar=scalar).SerializeToString())
