"""Whether the parameters of a node accept what they are bound to."""

from collections.abc import Iterable

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.compiler.binding_types import (
    Place,
    Scope,
    Types,
    binding_type,
    bound_scalar_type,
    promise_text,
    promise_type,
    report_unset,
    variable_names,
)
from wingbeat_propeller.compiler.castability import is_castable, is_optional
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.type_text import type_text


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
                f"Variable [{binding.var}] not found on node [{node_id}], "
                f"which has the inputs [{variable_names(parameters)}]",
            )
    for name in sorted(set(parameters or ()) - bound):
        if parameters is not None and not is_optional(parameters[name]):
            expected = type_text(parameters[name])
            scope.errors.report(
                ErrorCode.PARAMETER_NOT_BOUND, node_id, f"Parameter not bound [{name}] of type [{expected}]"
            )


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
                literal_type = bound_scalar_type(self._scope, self._place, data.scalar)
                return literal_type is None or self._scalar_accepts(expected, literal_type, data.scalar)
            case "promise":
                source = promise_type(self._scope, self._place, data.promise)
                return source is None or self._castable(
                    source, expected, f"{data.promise.node_id}.{promise_text(data.promise)}"
                )
            case "offloaded_metadata":
                return self._castable(data.offloaded_metadata.inferred_type, expected, "offloaded value")
            case _:
                report_unset(self._scope, self._place)
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
