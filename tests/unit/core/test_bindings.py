"""Evaluation of bindings and of attribute paths."""

import msgpack
import pytest
from flyteidl.core import literals_pb2
from google.protobuf import struct_pb2

from wingbeat_propeller.core.attributes import PathStep
from wingbeat_propeller.core.bindings import (
    Binding,
    BindingProgram,
    BindingResolutionError,
    Constant,
    Entries,
    Items,
    NeedsContentError,
    Promise,
    evaluate,
)
from wingbeat_propeller.core.values import Apart, Ref


def _primitive(**value: object) -> literals_pb2.Literal:
    primitive = literals_pb2.Primitive(**value)  # type: ignore[arg-type]
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


ONE = _primitive(integer=1)
TWO = _primitive(integer=2)
LIST = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[ONE, TWO]))
MAP = literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"k": LIST}))


def _resolve(binding: Binding, **outputs: literals_pb2.Literal) -> literals_pb2.Literal:
    source = {name: literal.SerializeToString() for name, literal in outputs.items()}
    values = evaluate(BindingProgram((("x", binding),), (3,)), {3: source})
    data = values["x"]
    assert isinstance(data, bytes)
    return literals_pb2.Literal.FromString(data)


def _msgpack(value: object) -> literals_pb2.Literal:
    binary = literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))


def test_whole_promise_keeps_hash_and_metadata() -> None:
    """Literals are passed on byte by byte."""
    literal = literals_pb2.Literal(scalar=ONE.scalar, hash="h", metadata={"a": "b"})
    assert _resolve(Promise(3, "o0"), o0=literal) == literal


def test_collections_and_maps() -> None:
    """Elements may be constants and promises; an element without a value is an empty literal."""
    binding = Items((Constant(ONE.SerializeToString()), Promise(3, "o0"), Constant(b"")))
    assert list(_resolve(binding, o0=TWO).collection.literals) == [ONE, TWO, literals_pb2.Literal()]
    entries = Entries((("a", Promise(3, "o0")),))
    assert dict(_resolve(entries, o0=TWO).map.literals) == {"a": TWO}


@pytest.mark.parametrize(
    ("literal", "path", "expected"),
    [
        (MAP, ("k", 1), TWO),
        (_msgpack({"a": {"b": 5}}), ("a", "b"), _primitive(integer=5)),
        (_msgpack({"a": True}), ("a",), _primitive(boolean=True)),
        (_msgpack({"a": {"b": 5}}), ("a",), _msgpack({"b": 5})),
        (_msgpack({"a": None}), ("a",), _msgpack(None)),
    ],
)
def test_attribute_paths(
    literal: literals_pb2.Literal, path: tuple[PathStep, ...], expected: literals_pb2.Literal
) -> None:
    """Paths lead through maps and collections into dataclasses."""
    assert _resolve(Promise(3, "o0", path), o0=literal) == expected


def test_list_inside_a_dataclass() -> None:
    """A list field becomes a collection of msgpack values."""
    found = _resolve(Promise(3, "o0", ("a",)), o0=_msgpack({"a": [1, "x"]}))
    assert list(found.collection.literals) == [_msgpack(1), _msgpack("x")]


def test_unions_are_looked_through() -> None:
    """A path into an Optional finds the value inside."""
    union = literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=MAP)))
    assert _resolve(Promise(3, "o0", ("k", 0)), o0=union) == ONE


def test_generic_structs() -> None:
    """Numbers of a Struct are floats, lists become collections."""
    struct = struct_pb2.Struct()
    struct.update({"a": {"n": 2}, "l": [1, "x"]})
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(generic=struct))
    assert _resolve(Promise(3, "o0", ("a", "n")), o0=literal) == _primitive(float_value=2.0)
    found = _resolve(Promise(3, "o0", ("l",)), o0=literal)
    assert list(found.collection.literals) == [_primitive(float_value=1.0), _primitive(string_value="x")]


@pytest.mark.parametrize(
    ("path", "message"),
    [(("z",), "no key 'z'"), (("k", 7), "index 7"), (("k", 0, "q"), "does not apply"), (("k", -1), "index -1")],
)
def test_paths_that_do_not_fit(path: tuple[PathStep, ...], message: str) -> None:
    """The error names the input, the output and what is wrong."""
    with pytest.raises(BindingResolutionError, match=f"input 'x'.*'o0'.*{message}"):
        _resolve(Promise(3, "o0", path), o0=MAP)


def test_missing_output_is_named() -> None:
    """An upstream that did not produce the output fails the binding."""
    with pytest.raises(BindingResolutionError, match=r"input 'x'.*'o1'"):
        _resolve(Promise(3, "o1"), o0=ONE)


def _apart(uri: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(uri=uri), hash="h")


def test_what_was_put_apart_is_loaded_where_a_path_leads_into_it() -> None:
    """Bound whole, or at the end of a path, it stays where it is; lists of such values are loaded one by one."""
    listed = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[ONE, _apart("mem://b")]))
    outputs = {3: {"o0": _apart("mem://a").SerializeToString(), "o1": listed.SerializeToString()}}
    stored = {Apart("mem://a"): MAP, Apart("mem://b"): LIST}

    def loaded(place: Ref | Apart) -> bytes | None:
        return stored[place].SerializeToString() if isinstance(place, Apart) else None

    passed = BindingProgram((("x", Promise(3, "o0")), ("y", Promise(3, "o1", (1,)))), (3,))
    assert evaluate(passed, outputs) == {"x": outputs[3]["o0"], "y": _apart("mem://b").SerializeToString()}
    inside = BindingProgram((("x", Promise(3, "o0", ("k",))), ("y", Items((Promise(3, "o1", (1, 0)),)))), (3,))
    with pytest.raises(NeedsContentError) as need:
        evaluate(inside, outputs)
    assert need.value.refs == set(stored)
    values = evaluate(inside, outputs, loaded)
    assert literals_pb2.Literal.FromString(values["x"]) == LIST  # type: ignore[arg-type]
    found = literals_pb2.Literal.FromString(values["y"])  # type: ignore[arg-type]
    assert list(found.collection.literals) == [LIST.collection.literals[0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "is no literal"), (_apart("mem://b").SerializeToString(), "stored apart once more, at mem://b")],
)
def test_what_is_put_apart_must_be_a_whole_literal(content: bytes, message: str) -> None:
    """Nothing is followed in circles."""
    inside = BindingProgram((("x", Promise(3, "o0", ("k",))),), (3,))
    with pytest.raises(BindingResolutionError, match=message):
        evaluate(inside, {3: {"o0": _apart("mem://a").SerializeToString()}}, lambda _: content)


def test_whole_refs_pass_and_others_are_asked_for() -> None:
    """A value in the blob store is loaded only where its content is needed."""
    ref = Ref("mem://a", "o0")
    outputs = {3: {"o0": ref}}
    whole = BindingProgram((("x", Promise(3, "o0")),), (3,))
    inside = BindingProgram((("x", Items((Promise(3, "o0"),))), ("y", Promise(3, "o0", ("k",)))), (3,))
    assert evaluate(whole, outputs) == {"x": ref}
    with pytest.raises(NeedsContentError) as need:
        evaluate(inside, outputs)
    assert need.value.refs == {ref}
    values = evaluate(inside, outputs, lambda _: MAP.SerializeToString())
    assert literals_pb2.Literal.FromString(values["y"]) == LIST  # type: ignore[arg-type]
