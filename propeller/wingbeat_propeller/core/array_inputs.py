"""What an array node maps over: the lists among its inputs, their common length, and the inputs of one element."""

from collections.abc import Mapping
from typing import NamedTuple

from wingbeat_propeller.core.bindings import NeedsContentError
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.plan import ArraySpec
from wingbeat_propeller.core.values import (
    Items,
    MalformedLiteralMapError,
    Ref,
    Value,
    count_items,
    offloaded_uri,
)


class ArrayInputs(NamedTuple):
    """Inputs of an array node, taken apart."""

    size: int | Failure
    """Number of elements, or why there is none to speak of."""
    items: Mapping[str, Items]
    """Lists that are mapped over, where the spec picks from them or elements are looked up in the cache."""
    whole: Mapping[str, Value]
    """Inputs that every element gets as they are."""


class OffloadedError(Exception):
    """A list stands elsewhere, by `uri` as the content of input `var`."""

    def __init__(self, var: str, uri: str) -> None:
        super().__init__(f"input '{var}' is stored at {uri}")
        self.var = var
        self.uri = uri


def take_apart(spec: ArraySpec, values: Mapping[str, Value]) -> ArrayInputs:
    """Find the lists and how long they are, in time linear in their length.

    Raises NeedsContentError for lists that stay in the blob store, OffloadedError for those that were put apart there.
    """
    missing = frozenset(
        value
        for var, value in values.items()
        if isinstance(value, Ref) and (var not in spec.bound_inputs or needs_content(spec))
    )
    if missing:
        raise NeedsContentError(missing)
    items: dict[str, Items] = {}
    whole: dict[str, Value] = {}
    sizes: dict[str, int] = {}
    for var, value in values.items():
        try:
            size = None if var in spec.bound_inputs or isinstance(value, Ref) else _length(var, value)
        except MalformedLiteralMapError as error:
            text = f"input '{var}' cannot be read: {error}"
            return ArrayInputs(Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text), {}, {})
        if size is None:
            whole[var] = value
            continue
        sizes[var] = size
        if spec.picks or spec.cached is not None:
            assert isinstance(value, bytes), "content is at hand"
            items[var] = Items(value)
    return ArrayInputs(_common_size(spec, values, sizes), items, whole)


def needs_content(spec: ArraySpec) -> bool:
    """Whether each element has a file of its own with all that it is given, or is known in the cache by all of it."""
    return (spec.picks and spec.runs_attempts) or spec.cached is not None


def element_inputs(inputs: ArrayInputs, element: int) -> dict[str, Value]:
    """What one element is given, where the spec picks."""
    return {**inputs.whole, **{var: items[element] for var, items in inputs.items.items()}}


def _length(var: str, literal: bytes) -> int | None:
    size = count_items(literal)
    if size is None and (uri := offloaded_uri(literal)) is not None:
        raise OffloadedError(var, uri)
    return size


def _common_size(spec: ArraySpec, values: Mapping[str, Value], sizes: Mapping[str, int]) -> int | Failure:
    if not values.keys() - spec.bound_inputs:
        return 1  # nothing to map over, by intention
    lengths = set(sizes.values())
    if len(lengths) == 1:
        return lengths.pop()
    if not lengths:
        text = f"none of the inputs ({', '.join(sorted(values))}) is a list"
    else:
        given = ", ".join(f"{var} has {size}" for var, size in sorted(sizes.items()))
        text = f"the lists to map over differ in length: {given}"
    return Failure(ErrorKind.USER, "InvalidArrayLength", text)
