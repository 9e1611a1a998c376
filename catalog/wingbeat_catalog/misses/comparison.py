"""PURE: in what an entry differs from a call: place, cache version, interface, ignored inputs, and which part of which
input."""

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from flyteidl.core import interface_pb2, literals_pb2

from wingbeat_catalog.hashing.key_parts import DIGEST_PREFIX
from wingbeat_catalog.hashing.literal_hash import canonical_hash, exact_hash
from wingbeat_catalog.hashing.object_hash import text_of
from wingbeat_catalog.keys import DatasetName, TaskKey
from wingbeat_catalog.misses.values import ValueDifference, shown_literal, value_differences
from wingbeat_propeller.compiler.type_text import type_text

VALUE_DIFFERENCES_MAX = 5
"""Of one input."""
SIGNATURES_LENGTH = 18
"""What follows the cache version in the version of a dataset: two dashes and two signatures."""


class Kind(Enum):
    """What differs; the values are those of DifferenceKind in wingbeatidl.cache.v1."""

    PLACE = 1
    CACHE_VERSION = 2
    INTERFACE = 3
    INPUT = 4
    IGNORED_INPUTS = 5
    UNKNOWN = 6


_WEIGHTS = {Kind.PLACE: 2, Kind.UNKNOWN: 4}


class Difference(NamedTuple):
    """One thing that differs; `asked` is the call's side and `kept` the entry's, empty where there is none."""

    kind: Kind
    variable: str
    path: str
    asked: str
    kept: str
    sentence: str


class AskedCall(NamedTuple):
    """The call, with digests of its inputs by name."""

    task: TaskKey
    cache_version: str
    inputs: Mapping[str, literals_pb2.Literal]
    digests: Mapping[str, bytes]
    exact: Mapping[str, bytes]


class KeptEntry(NamedTuple):
    """What is known of an entry; None where another engine has put it."""

    dataset: DatasetName
    cache_version: str | None
    interface: bytes | None
    inputs: literals_pb2.LiteralMap | None
    ignored: Collection[str] | None


def asked_call(task: TaskKey, cache_version: str, inputs: literals_pb2.LiteralMap) -> AskedCall:
    """The call with what comparisons need of it. Raises ValueError for inputs without a JSON form."""
    counted = {name: literal for name, literal in inputs.literals.items() if name not in task.ignored}
    return AskedCall(
        task,
        cache_version,
        counted,
        {name: canonical_hash(_alone(literal), ()) for name, literal in counted.items()},
        {name: exact_hash(_alone(literal), ()) for name, literal in counted.items()},
    )


def compare(call: AskedCall, entry: KeptEntry) -> list[Difference]:
    """All that differs; nothing when the entry is one of an equal call."""
    return [
        *_place(call, entry),
        *_cache_version(call, entry),
        *_interface(call, entry),
        *_ignored(call, entry),
        *_inputs(call, entry),
    ]


def distance(differences: Collection[Difference]) -> int:
    """How far an entry is from the call: one for each thing that differs, not for each place in a value."""
    return sum(
        _WEIGHTS.get(kind, 1) for kind, _ in {(difference.kind, difference.variable) for difference in differences}
    )


def cache_version_of(dataset_version: str) -> str:
    """The cache version in the version of a task's dataset."""
    return dataset_version[:-SIGNATURES_LENGTH]


def _place(call: AskedCall, entry: KeptEntry) -> Iterator[Difference]:
    asked, kept = call.task.dataset, entry.dataset
    if (asked.project, asked.domain) != (kept.project, kept.domain):
        ours, theirs = f"{asked.project}/{asked.domain}", f"{kept.project}/{kept.domain}"
        yield Difference(Kind.PLACE, "", "", ours, theirs, f"it was put in {theirs}, and the task is of {ours}")


def _cache_version(call: AskedCall, entry: KeptEntry) -> Iterator[Difference]:
    kept = cache_version_of(entry.dataset.version) if entry.cache_version is None else entry.cache_version
    if kept != call.cache_version:
        text = f"its cache version is {kept!r}, and the task's {call.cache_version!r}"
        yield Difference(Kind.CACHE_VERSION, "", "", call.cache_version, kept, text)


def _interface(call: AskedCall, entry: KeptEntry) -> Iterator[Difference]:
    if entry.interface is None:
        signatures = (call.task.dataset.version[-SIGNATURES_LENGTH:], entry.dataset.version[-SIGNATURES_LENGTH:])
        if signatures[0] != signatures[1]:
            text = "its interface is another one; which is not known, since another engine has put it"
            yield Difference(Kind.INTERFACE, "", "", signatures[0][1:], signatures[1][1:], text)
        return
    if entry.interface == call.task.interface:
        return
    asked = interface_pb2.TypedInterface.FromString(call.task.interface)
    kept = interface_pb2.TypedInterface.FromString(entry.interface)
    yield from _variables("input", asked.inputs, kept.inputs)
    yield from _variables("output", asked.outputs, kept.outputs)


def _variables(side: str, asked: interface_pb2.VariableMap, kept: interface_pb2.VariableMap) -> Iterator[Difference]:
    for name in sorted({*asked.variables, *kept.variables}):
        ours = type_text(asked.variables[name].type) if name in asked.variables else ""
        theirs = type_text(kept.variables[name].type) if name in kept.variables else ""
        if name not in kept.variables:
            text = f"the task had no {side} {name} when it was put"
        elif name not in asked.variables:
            text = f"the task had an {side} {name} ({theirs}) when it was put, and has none now"
        elif asked.variables[name] == kept.variables[name]:
            continue
        elif ours == theirs:
            text = f"{side} {name} is declared otherwise, though it is {ours} as before"
        else:
            text = f"{side} {name} was of type {theirs} when it was put, and is {ours} now"
        yield Difference(Kind.INTERFACE, name, "", ours, theirs, text)


def _ignored(call: AskedCall, entry: KeptEntry) -> Iterator[Difference]:
    if entry.ignored is None or frozenset(entry.ignored) == call.task.ignored:
        return
    ours, theirs = ", ".join(sorted(call.task.ignored)), ", ".join(sorted(entry.ignored))
    text = f"inputs that it ignored: {theirs or 'none'}; that the task ignores now: {ours or 'none'}"
    yield Difference(Kind.IGNORED_INPUTS, "", "", ours, theirs, text)


def _inputs(call: AskedCall, entry: KeptEntry) -> Iterator[Difference]:
    if entry.inputs is None:
        text = "its inputs are not known, since another engine has put it"
        yield Difference(Kind.UNKNOWN, "", "", "", "", text)
        return
    kept = entry.inputs.literals
    for name in sorted({*call.inputs, *kept}):
        if name not in kept:
            shown = shown_literal(call.inputs[name])
            text = f"it was made without input {name}, which is {shown} here"
            yield Difference(Kind.INPUT, name, "", shown, "", text)
        elif name not in call.inputs:
            shown = shown_literal(kept[name])
            if name not in call.task.ignored:
                text = f"it was made with input {name} = {shown}, which is not given here"
                yield Difference(Kind.INPUT, name, "", "", shown, text)
        elif not _same(call, name, kept[name]):
            for found in value_differences(call.inputs[name], kept[name], VALUE_DIFFERENCES_MAX):
                yield Difference(
                    Kind.INPUT, name, found.path, found.asked or "", found.kept or "", _value_sentence(name, found)
                )


def _same(call: AskedCall, name: str, kept: literals_pb2.Literal) -> bool:
    if kept.hash.startswith(DIGEST_PREFIX):
        return kept.hash == DIGEST_PREFIX + text_of(call.exact[name])
    return canonical_hash(_alone(kept), ()) == call.digests[name]


def _value_sentence(name: str, found: ValueDifference) -> str:
    where = f"input {name}{found.path}"
    if found.kept is None:
        return f"{where} is {found.asked} here, and was not there when it was made"
    if found.asked is None:
        return f"{where} was {found.kept} when it was made, and is not there here"
    return f"{where} was {found.kept} when it was made, and is {found.asked} here"


def _alone(literal: literals_pb2.Literal) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={"": literal})
