"""Branch nodes: whether each block has a node and a condition, and whether conditions compare like with like."""

from flyteidl.core import condition_pb2, literals_pb2, types_pb2, workflow_pb2

from wingbeat_propeller.compiler.binding_types import Place, Scope, binding_type
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, scalar_type_of
from wingbeat_propeller.compiler.type_text import type_text


def check_branch(scope: Scope, node: workflow_pb2.Node) -> None:
    """Report what is missing in a branch node, and conditions on unbound variables or of operands of two types."""
    branch = node.branch_node
    errors = scope.errors
    if not branch.HasField("if_else"):
        errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [Branch.IfElse]")
        return
    if not branch.if_else.HasField("case"):
        errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [Branch.IfElse.Case]")
    elif branch.if_else.WhichOneof("default") is None:
        errors.report(
            ErrorCode.BRANCH_NODE_HAS_NO_DEFAULT, node.id, "The branch has neither an else node nor a default error"
        )
    blocks = [branch.if_else.case] if branch.if_else.HasField("case") else []
    for position, block in enumerate([*blocks, *branch.if_else.other]):
        if not block.HasField("then_node"):
            errors.report(ErrorCode.BRANCH_NODE_ID_NOT_FOUND, node.id, f"Block {position} of the branch has no node")
        if not block.HasField("condition"):
            errors.report(
                ErrorCode.BRANCH_NODE_HAS_NO_CONDITION, node.id, f"Block {position} of the branch has no condition"
            )
        else:
            _check_expression(scope, node, block.condition)


def _check_expression(scope: Scope, node: workflow_pb2.Node, expression: condition_pb2.BooleanExpression) -> None:
    bindings = {binding.var: binding.binding for binding in node.inputs}
    pending = [expression]
    while pending:
        current = pending.pop()
        match current.WhichOneof("expr"):
            case "conjunction":
                for side in ("left_expression", "right_expression"):
                    if current.conjunction.HasField(side):
                        pending.append(getattr(current.conjunction, side))
                    else:
                        scope.errors.report(ErrorCode.VALUE_REQUIRED, node.id, f"Value required [Conjunction.{side}]")
            case "comparison":
                _check_comparison(scope, node.id, current.comparison, bindings)
            case _:
                scope.errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [Expr]")


def _check_comparison(
    scope: Scope,
    node_id: str,
    comparison: condition_pb2.ComparisonExpression,
    bindings: dict[str, literals_pb2.BindingData],
) -> None:
    left = _operand_type(scope, node_id, "LeftValue", comparison.left_value, bindings)
    right = _operand_type(scope, node_id, "RightValue", comparison.right_value, bindings)
    if left is not None and right is not None and not _comparable(left, right):
        scope.errors.report(
            ErrorCode.MISMATCHING_TYPES,
            node_id,
            f"Operand [{_operand_text(comparison.left_value)}] of type [{type_text(left)}] cannot be compared with "
            f"[{_operand_text(comparison.right_value)}] of type [{type_text(right)}]",
        )


def _operand_type(
    scope: Scope,
    node_id: str,
    side: str,
    operand: condition_pb2.Operand,
    bindings: dict[str, literals_pb2.BindingData],
) -> types_pb2.LiteralType | None:
    """The type of an operand; None when it is only known at run time, or wrong, which is then reported."""
    match operand.WhichOneof("val"):
        case "primitive":
            return _scalar_type(scope.errors, node_id, side, literals_pb2.Scalar(primitive=operand.primitive))
        case "scalar":
            literal_type = _scalar_type(scope.errors, node_id, side, operand.scalar)
            # Any optional variable may be compared with nothing.
            is_primitive = operand.scalar.WhichOneof("value") == "primitive"
            return literal_type if is_primitive else None
        case "var" if operand.var:
            if operand.var not in bindings:
                scope.errors.report(
                    ErrorCode.VARIABLE_NAME_NOT_FOUND,
                    node_id,
                    f"Variable [{operand.var}] of a condition not found on node [{node_id}]: it is not bound",
                )
                return None
            data = bindings[operand.var]
            quiet = Scope(scope.outputs, ErrorCollector())  # what is wrong with the binding is reported with it
            literal_type = binding_type(quiet, Place(node_id, operand.var), data)
            is_untyped = literal_type is not None and literal_type.simple == types_pb2.STRUCT
            return None if is_untyped and data.promise.attr_path else literal_type
        case _:
            scope.errors.report(ErrorCode.VALUE_REQUIRED, node_id, f"Value required [{side}] of a condition")
            return None


def _scalar_type(
    errors: ErrorCollector, node_id: str, side: str, scalar: literals_pb2.Scalar
) -> types_pb2.LiteralType | None:
    try:
        return scalar_type_of(scalar)
    except UnknownLiteralError as error:
        errors.report(ErrorCode.UNRECOGNIZED_VALUE, node_id, f"Unrecognized value [{side}] of a condition: {error}")
        return None


def _comparable(left: types_pb2.LiteralType, right: types_pb2.LiteralType) -> bool:
    """Equal but for decoration; values of an enum are strings when they are compared."""
    return _plain_kind(left) == _plain_kind(right)


def _plain_kind(literal_type: types_pb2.LiteralType) -> int | str:
    match literal_type.WhichOneof("type"):
        case "simple":
            return literal_type.simple
        case "enum_type":
            return types_pb2.STRING
        case _:
            return type_text(literal_type)


def _operand_text(operand: condition_pb2.Operand) -> str:
    return operand.var if operand.WhichOneof("val") == "var" else "constant"
