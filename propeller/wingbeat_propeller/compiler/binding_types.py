"""What bindings refer to and which type they carry by themselves.

Everything here is asked in the scope of one workflow: `outputs` says which variables each of its nodes produces, None
where a node's outputs could not be determined (its own mistake is reported already, so nothing is said again). Nodes
inside a branch bind in the scope of the workflow around it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_none
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, scalar_type_of
from wingbeat_propeller.compiler.type_text import type_text

START_ID = "start-node"
END_ID = "end-node"

Types: TypeAlias = Mapping[str, types_pb2.LiteralType]
"""Types of variables by name."""

_NAMES_MAX = 20
_PROMISE_VARIABLE = re.compile(r"(\[\d+\]\.)?([^\[].*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """The parameter a binding is for, as messages name it."""

    node_id: str
    var: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The nodes whose outputs the bindings of one workflow may refer to, and where mistakes are reported."""

    outputs: Mapping[str, Types | None]
    errors: ErrorCollector


def promises(bindings: Iterable[literals_pb2.Binding]) -> Iterator[types_pb2.OutputReference]:
    """Every promise inside some bindings, however deep."""
    pending = [binding.binding for binding in bindings]
    while pending:
        data = pending.pop()
        match data.WhichOneof("value"):
            case "promise":
                yield data.promise
            case "collection":
                pending.extend(data.collection.bindings)
            case "map":
                pending.extend(data.map.bindings.values())
            case _:
                pass


def binding_type(scope: Scope, place: Place, data: literals_pb2.BindingData) -> types_pb2.LiteralType | None:
    """The type that a binding carries by itself; None when it is unknown, which is then reported."""
    match data.WhichOneof("value"):
        case "scalar":
            return bound_scalar_type(scope, place, data.scalar)
        case "promise":
            return promise_type(scope, place, data.promise)
        case "offloaded_metadata":
            return data.offloaded_metadata.inferred_type
        case "collection":
            element = _element_type(scope, place, data.collection.bindings)
            return None if element is None else types_pb2.LiteralType(collection_type=element)
        case "map":
            element = _element_type(scope, place, data.map.bindings.values())
            return None if element is None else types_pb2.LiteralType(map_value_type=element)
        case _:
            report_unset(scope, place)
            return None


def _element_type(
    scope: Scope, place: Place, elements: Iterable[literals_pb2.BindingData]
) -> types_pb2.LiteralType | None:
    """The common type of elements, their union when they differ, NONE without any; None when one is unknown."""
    distinct: dict[bytes, types_pb2.LiteralType] = {}
    for element in elements:
        element_type = binding_type(scope, place, element)
        if element_type is None:
            return None
        distinct.setdefault(element_type.SerializeToString(deterministic=True), element_type)
    if not distinct:
        return types_pb2.LiteralType(simple=types_pb2.NONE)
    variants = list(distinct.values())
    if len(variants) == 1:
        return variants[0]
    return types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=variants))


def bound_scalar_type(scope: Scope, place: Place, scalar: literals_pb2.Scalar) -> types_pb2.LiteralType | None:
    """The type of a constant; None, and reported, when it is of no known kind."""
    try:
        return scalar_type_of(scalar)
    except UnknownLiteralError as error:
        scope.errors.report(
            ErrorCode.UNRECOGNIZED_VALUE, place.node_id, f"Unrecognized value bound to [{place.var}]: {error}"
        )
        return None


def promise_type(scope: Scope, place: Place, promise: types_pb2.OutputReference) -> types_pb2.LiteralType | None:
    """The type of what a promise refers to; None when it is unknown, which is then reported."""
    if promise.node_id not in scope.outputs:
        return None  # reported where the promise was connected
    outputs = scope.outputs[promise.node_id]
    if outputs is None:
        return None
    parsed = _PROMISE_VARIABLE.fullmatch(promise.var)
    if parsed is None:
        scope.errors.report(
            ErrorCode.SYNTAX_ERROR,
            place.node_id,
            f"Input [{place.var}] is bound to [{promise.var}], which is neither a name nor of the form [0].name",
        )
        return None
    index, name = parsed.groups()
    source = outputs.get(name)
    if source is None:
        scope.errors.report(
            ErrorCode.VARIABLE_NAME_NOT_FOUND,
            place.node_id,
            f"Variable [{name}] bound to the input [{place.var}] not found on node [{promise.node_id}], "
            f"which has the outputs [{variable_names(outputs)}]",
        )
        return None
    if index is not None:
        if source.WhichOneof("type") != "collection_type":
            scope.errors.report(
                ErrorCode.MISMATCHING_TYPES,
                place.node_id,
                f"Variable [{promise.node_id}.{promise.var}] takes an element of type [{type_text(source)}], "
                f"which is no list, for the input [{place.var}]",
            )
            return None
        source = source.collection_type
    return _attribute_type(scope, place, promise, source)


def _attribute_type(
    scope: Scope, place: Place, promise: types_pb2.OutputReference, source: types_pb2.LiteralType
) -> types_pb2.LiteralType | None:
    """The type at the end of a promise's attribute path; steps into untyped values leave the type as it is."""
    for step in promise.attr_path:
        source = _unwrap_optional(source)
        match source.WhichOneof("type"):
            case "collection_type":
                source = source.collection_type
            case "map_value_type":
                source = source.map_value_type
            case _:
                fields = source.structure.dataclass_type
                if not fields:
                    continue
                if step.string_value not in fields:
                    scope.errors.report(
                        ErrorCode.FIELD_NOT_FOUND,
                        place.node_id,
                        f"Variable [{promise.node_id}.{promise.var}] of type [{type_text(source)}], bound to the input "
                        f"[{place.var}], does not have the field [{step.string_value or step.int_value}]",
                    )
                    return None
                source = fields[step.string_value]
    return source


def _unwrap_optional(literal_type: types_pb2.LiteralType) -> types_pb2.LiteralType:
    """What is inside an optional type, for attributes are looked up through it."""
    present = [variant for variant in literal_type.union_type.variants if not is_none(variant)]
    return present[0] if len(present) == 1 else literal_type


def promise_text(promise: types_pb2.OutputReference) -> str:
    """Variable and attribute path of a promise as messages show them: `o0.field[2]`."""
    steps = (
        f".{step.string_value}" if step.WhichOneof("value") == "string_value" else f"[{step.int_value}]"
        for step in promise.attr_path
    )
    return promise.var + "".join(steps)


def report_unset(scope: Scope, place: Place) -> None:
    """Report a binding, or an element of one, that has no value."""
    scope.errors.report(ErrorCode.PARAMETER_NOT_BOUND, place.node_id, f"Parameter not bound [{place.var}]: no value")


def variable_names(types: Types) -> str:
    """The first variables by name, for messages that say what would have been possible."""
    return ", ".join(sorted(types)[:_NAMES_MAX])
