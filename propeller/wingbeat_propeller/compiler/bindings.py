"""Bindings: what they refer to, which type they carry, and whether a parameter accepts them.

Everything here is asked in the scope of one workflow: `outputs` says which variables each of its nodes produces, None
where a node's outputs could not be determined (its own mistake is reported already, so nothing is said again). Nodes
inside a branch bind in the scope of the workflow around it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable, is_none, is_optional
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, scalar_type_of
from wingbeat_propeller.compiler.type_text import type_text

START_ID = "start-node"
END_ID = "end-node"

Types: TypeAlias = Mapping[str, types_pb2.LiteralType]
"""Types of variables by name."""

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


def check_bindings(
    scope: Scope, node_id: str, bindings: Iterable[literals_pb2.Binding], parameters: Types | None
) -> None:
    """Report bindings that are doubled, unknown or of a wrong type, and parameters left unbound.

    `parameters` None: the node takes whatever it is bound to.
    """
    bound: set[str] = set()
    for binding in bindings:
        place = Place(node_id, binding.var)
        if binding.var in bound:
            scope.errors.report(
                ErrorCode.PARAMETER_BOUND_MORE_THAN_ONCE, node_id, f"Input [{binding.var}] is bound more than once"
            )
            continue
        bound.add(binding.var)
        if not binding.HasField("binding"):
            scope.errors.report(
                ErrorCode.VALUE_REQUIRED, node_id, f"Value required [Binding] for the input [{binding.var}]"
            )
        elif parameters is None:
            binding_type(scope, place, binding.binding)
        elif binding.var in parameters:
            _Check(scope, place).accepts(parameters[binding.var], binding.binding)
        else:
            scope.errors.report(
                ErrorCode.VARIABLE_NAME_NOT_FOUND,
                node_id,
                f"Variable [{binding.var}] not found on node [{node_id}], which has the inputs [{_names(parameters)}]",
            )
    for name in sorted(set(parameters or ()) - bound):
        if parameters is not None and not is_optional(parameters[name]):
            expected = type_text(parameters[name])
            scope.errors.report(
                ErrorCode.PARAMETER_NOT_BOUND, node_id, f"Parameter not bound [{name}] of type [{expected}]"
            )


def binding_type(scope: Scope, place: Place, data: literals_pb2.BindingData) -> types_pb2.LiteralType | None:
    """The type that a binding carries by itself; None when it is unknown, which is then reported."""
    match data.WhichOneof("value"):
        case "scalar":
            return _scalar_type(scope, place, data.scalar)
        case "promise":
            return _promise_type(scope, place, data.promise)
        case "offloaded_metadata":
            return data.offloaded_metadata.inferred_type
        case "collection":
            element = _element_type(scope, place, data.collection.bindings)
            return None if element is None else types_pb2.LiteralType(collection_type=element)
        case "map":
            element = _element_type(scope, place, data.map.bindings.values())
            return None if element is None else types_pb2.LiteralType(map_value_type=element)
        case _:
            _report_unset(scope, place)
            return None


class _Check:
    """Whether one parameter accepts a binding."""

    def __init__(self, scope: Scope, place: Place) -> None:
        self._scope = scope
        self._place = place
        self._trials: dict[tuple[int, int], bool] = {}
        self._kept: list[object] = []

    def accepts(self, expected: types_pb2.LiteralType, data: literals_pb2.BindingData) -> bool:
        """Report and return False when `expected` does not accept `data`."""
        match data.WhichOneof("value"):
            case "collection":
                return self._container_accepts(expected, "collection_type", data, data.collection.bindings)
            case "map":
                return self._container_accepts(expected, "map_value_type", data, data.map.bindings.values())
            case "scalar":
                literal_type = _scalar_type(self._scope, self._place, data.scalar)
                return literal_type is None or self._scalar_accepts(expected, literal_type, data.scalar)
            case "promise":
                source = _promise_type(self._scope, self._place, data.promise)
                return source is None or self._castable(
                    source, expected, f"{data.promise.node_id}.{_promise_text(data.promise)}"
                )
            case "offloaded_metadata":
                return self._castable(data.offloaded_metadata.inferred_type, expected, "offloaded value")
            case _:
                _report_unset(self._scope, self._place)
                return False

    def _container_accepts(
        self,
        expected: types_pb2.LiteralType,
        kind: str,
        data: literals_pb2.BindingData,
        elements: Iterable[literals_pb2.BindingData],
    ) -> bool:
        expected_kind = expected.WhichOneof("type")
        if expected_kind == "union_type":
            return self._union_accepts(expected, data)
        if expected_kind != kind:
            received = "a list of bindings" if kind == "collection_type" else "a map of bindings"
            self._report(
                ErrorCode.MISMATCHING_BINDINGS,
                f"Input [{self._name}] expects a binding of type [{type_text(expected)}] but received {received}",
            )
            return False
        element_type = expected.collection_type if kind == "collection_type" else expected.map_value_type
        verdicts = [self.accepts(element_type, element) for element in elements]  # all of them, for their mistakes
        return all(verdicts)

    def _union_accepts(self, expected: types_pb2.LiteralType, data: literals_pb2.BindingData) -> bool:
        if binding_type(self._scope, self._place, data) is None:
            return False  # something inside has no type, which no variant is to blame for
        matching = [variant for variant in expected.union_type.variants if self._try(variant, data)]
        if len(matching) == 1:
            return True
        if matching:
            self._report(
                ErrorCode.AMBIGUOUS_BINDING_UNION_VALUE,
                f"Input [{self._name}] of type [{type_text(expected)}] received a binding that both "
                f"[{type_text(matching[0])}] and [{type_text(matching[1])}] accept",
            )
        else:
            self._report(
                ErrorCode.INCOMPATIBLE_BINDING_UNION_VALUE,
                f"Input [{self._name}] of type [{type_text(expected)}] received a {data.WhichOneof('value')} binding "
                "that none of its variants accepts",
            )
        return False

    def _try(self, variant: types_pb2.LiteralType, data: literals_pb2.BindingData) -> bool:
        """Whether a variant accepts the binding, without a word. Judged once a pair: unions nest in lists of unions."""
        pair = (id(variant), id(data))
        verdict = self._trials.get(pair)
        if verdict is None:
            self._kept += (variant, data)
            quiet = _Check(Scope(self._scope.outputs, ErrorCollector()), self._place)
            quiet._trials = self._trials
            quiet._kept = self._kept
            verdict = self._trials[pair] = quiet.accepts(variant, data)
        return verdict

    def _scalar_accepts(
        self, expected: types_pb2.LiteralType, literal_type: types_pb2.LiteralType, scalar: literals_pb2.Scalar
    ) -> bool:
        if not self._castable(literal_type, expected, "constant"):
            return False
        values = expected.enum_type.values
        value = scalar.primitive.string_value
        if values and value not in values:
            self._report(
                ErrorCode.ILLEGAL_ENUM_VALUE,
                f"Input [{self._name}] of type [{type_text(expected)}] received the value [{value}]",
            )
            return False
        return True

    def _castable(self, source: types_pb2.LiteralType, expected: types_pb2.LiteralType, origin: str) -> bool:
        if is_castable(source, expected):
            return True
        self._report(
            ErrorCode.MISMATCHING_TYPES,
            f"Variable [{origin}] of type [{type_text(source)}] does not match the input [{self._name}] "
            f"of type [{type_text(expected)}]",
        )
        return False

    @property
    def _name(self) -> str:
        return f"{self._place.node_id}.{self._place.var}"

    def _report(self, code: ErrorCode, description: str) -> None:
        self._scope.errors.report(code, self._place.node_id, description)


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


def _scalar_type(scope: Scope, place: Place, scalar: literals_pb2.Scalar) -> types_pb2.LiteralType | None:
    try:
        return scalar_type_of(scalar)
    except UnknownLiteralError as error:
        scope.errors.report(
            ErrorCode.UNRECOGNIZED_VALUE, place.node_id, f"Unrecognized value bound to [{place.var}]: {error}"
        )
        return None


def _promise_type(scope: Scope, place: Place, promise: types_pb2.OutputReference) -> types_pb2.LiteralType | None:
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
            f"which has the outputs [{_names(outputs)}]",
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


def _promise_text(promise: types_pb2.OutputReference) -> str:
    steps = (
        f".{step.string_value}" if step.WhichOneof("value") == "string_value" else f"[{step.int_value}]"
        for step in promise.attr_path
    )
    return promise.var + "".join(steps)


def _report_unset(scope: Scope, place: Place) -> None:
    scope.errors.report(ErrorCode.PARAMETER_NOT_BOUND, place.node_id, f"Parameter not bound [{place.var}]: no value")


def _names(types: Types) -> str:
    return ", ".join(sorted(types)[:20])
