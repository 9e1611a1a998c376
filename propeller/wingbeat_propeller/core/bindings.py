"""Input bindings compiled to small programs, and their evaluation over upstream outputs.

Evaluation moves serialized literals; only an attribute path looks inside one. A value that stays in the blob store (a
Ref, or a literal that a task has put apart) passes through untouched where it is bound whole; where its content is
needed `evaluate` raises NeedsContentError, the shell loads it and evaluates again, which may need more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wingbeat_propeller.core.attributes import AttributePathError, NeedsApartError, PathStep, resolve_attribute
from wingbeat_propeller.core.values import Apart, Ref, Value, Values, build_literal_map, wire_field


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal known at compile time, serialized."""

    literal: bytes


@dataclass(frozen=True, slots=True)
class Promise:
    """Output `var` of the node at plan index `node`, then `path` into it."""

    node: int
    var: str
    path: tuple[PathStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Items:
    """A collection literal from element bindings."""

    elements: "tuple[Binding, ...]"


@dataclass(frozen=True, slots=True)
class Entries:
    """A map literal from entry bindings."""

    entries: "tuple[tuple[str, Binding], ...]"


Binding: TypeAlias = Constant | Promise | Items | Entries


@dataclass(frozen=True, slots=True)
class BindingProgram:
    """All bindings of one node, by input variable. `sources` are the plan indexes it reads, each once."""

    bindings: tuple[tuple[str, Binding], ...] = ()
    sources: tuple[int, ...] = field(default=())


class BindingResolutionError(Exception):
    """A binding has no value: the upstream node lacks the output, or an attribute path does not fit. The text names
    the input variable and the output."""


class NeedsContentError(Exception):
    """Evaluation must look inside values that are still in the blob store."""

    def __init__(self, refs: frozenset[Ref | Apart]) -> None:
        super().__init__(f"{len(refs)} values must be loaded")
        self.refs = refs


Load: TypeAlias = Callable[[Ref | Apart], bytes | None]
"""Content of what is stored elsewhere if it is at hand."""


def evaluate(program: BindingProgram, outputs: Mapping[int, Values], load: Load | None = None) -> dict[str, Value]:
    """Inputs of a node by variable.

    `outputs` holds the outputs of upstream nodes by plan index. Raises NeedsContentError naming every Ref whose content
    is needed and that `load` does not have, and BindingResolutionError.
    """
    values: dict[str, Value] = {}
    missing: set[Ref | Apart] = set()
    for var, binding in program.bindings:
        if type(binding) is Promise:
            value = _output(var, binding, outputs)
            if binding.path:
                value = _attribute(var, binding, value, load, missing) or value
            values[var] = value
        elif type(binding) is Constant:
            values[var] = binding.literal
        else:
            literal = _literal(var, binding, outputs, load, missing)
            if literal is not None:
                values[var] = literal
    if missing:
        raise NeedsContentError(frozenset(missing))
    return values


def _output(var: str, promise: Promise, outputs: Mapping[int, Values]) -> Value:
    try:
        return outputs[promise.node][promise.var]
    except KeyError:
        raise BindingResolutionError(
            f"input '{var}' is bound to output '{promise.var}', which its upstream node did not produce"
        ) from None


def _content(value: Value, load: Load | None, missing: set[Ref | Apart]) -> bytes | None:
    if isinstance(value, bytes):
        return value
    content = load(value) if load is not None else None
    if content is None:
        missing.add(value)
    return content


def _attribute(var: str, promise: Promise, value: Value, load: Load | None, missing: set[Ref | Apart]) -> bytes | None:
    """The part of a value that is bound; None when something is missing (and noted)."""
    literal = _content(value, load, missing)
    if literal is None:
        return None
    try:
        return resolve_attribute(literal, promise.path, None if load is None else lambda uri: load(Apart(uri)))
    except NeedsApartError as error:
        missing.add(Apart(error.uri))
        return None
    except AttributePathError as error:
        raise BindingResolutionError(f"input '{var}' is bound to a part of output '{promise.var}': {error}") from error


def _literal(
    var: str, binding: Binding, outputs: Mapping[int, Values], load: Load | None, missing: set[Ref | Apart]
) -> bytes | None:
    """Serialized literal of a binding inside a collection or map; None when something is missing (and noted)."""
    match binding:
        case Constant():
            return binding.literal
        case Promise():
            value = _output(var, binding, outputs)
            if binding.path:
                return _attribute(var, binding, value, load, missing)
            return _content(value, load, missing)
        case Items():
            elements = [_literal(var, element, outputs, load, missing) for element in binding.elements]
            return wire_field(2, b"".join([wire_field(1, element) for element in elements if element is not None]))
        case Entries():
            entries = {key: _literal(var, entry, outputs, load, missing) for key, entry in binding.entries}
            return wire_field(3, build_literal_map({key: entry for key, entry in entries.items() if entry is not None}))
