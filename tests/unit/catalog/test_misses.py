"""What differs between a call and an entry is named down to the part of a value."""

import msgpack
import pytest
from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from google.protobuf import struct_pb2

from wingbeat_catalog.hashing.key_parts import key_parts
from wingbeat_catalog.keys import task_key
from wingbeat_catalog.misses.comparison import Difference, KeptEntry, Kind, asked_call, compare, distance
from wingbeat_catalog.misses.values import value_differences
from wingbeat_propeller.core.cached_task import CachedTask

Literal = literals_pb2.Literal
INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
TEXT = types_pb2.LiteralType(simple=types_pb2.STRING)


def _number(value: int) -> Literal:
    return Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def _float(value: float) -> Literal:
    return Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(float_value=value)))


def _text(value: str) -> Literal:
    return Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def _packed(value: object) -> Literal:
    return Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")))


def _struct(value: dict[str, object]) -> Literal:
    struct = struct_pb2.Struct()
    struct.update(value)
    return Literal(scalar=literals_pb2.Scalar(generic=struct))


def _list(*members: Literal) -> Literal:
    return Literal(collection=literals_pb2.LiteralCollection(literals=members))


def _map(**members: Literal) -> Literal:
    return Literal(map=literals_pb2.LiteralMap(literals=members))


def _union(value: Literal) -> Literal:
    return Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=value, type=INTEGER)))


@pytest.mark.parametrize(
    ("asked", "kept", "expected"),
    [
        (_number(1), _number(2), [("", "1", "2")]),
        (_number(1), _float(1.0), [("", "1", "1.0")]),
        (_number(1), _text("1"), [("", "1", '"1"')]),
        (_list(_number(1), _number(2)), _list(_number(1), _number(3)), [("[1]", "2", "3")]),
        (_list(_number(1)), _list(_number(1), _number(3)), [("", "1 item", "2 items")]),
        (_map(a=_number(1), b=_number(2)), _map(a=_number(1), c=_number(2)), [(".b", "2", None), (".c", None, "2")]),
        (
            _struct({"a": {"b": [1, {"c d": "x"}]}}),
            _struct({"a": {"b": [1, {"c d": "y"}]}}),
            [('.a.b[1]["c d"]', '"x"', '"y"')],
        ),
        (
            _packed({"rows": [{"a": 1}], "n": None}),
            _packed({"rows": [{"a": 2}], "n": None}),
            [(".rows[0].a", "1", "2")],
        ),
        (_packed({1: "x"}), _packed({1: "y"}), [("[1]", '"x"', '"y"')]),
        (_union(_packed({"a": 1})), _union(_packed({"a": True})), [(".a", "1", "true")]),
        (
            _union(_number(1)),
            _union(Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))),
            [("", "1", "null")],
        ),
        (Literal(hash="x"), Literal(hash="y"), [("", "hash x", "hash y")]),
        (
            Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/a"))),
            Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/b"))),
            [("", "file /a", "file /b")],
        ),
    ],
)
def test_the_place_in_a_value_is_named(asked: Literal, kept: Literal, expected: list[tuple[str, str, str]]) -> None:
    """Through lists, maps, Structs, MessagePack and unions; the kind of a number counts."""
    assert [tuple(found) for found in value_differences(asked, kept, 5)] == expected


def test_long_values_are_cut_and_many_places_are_not_all_told() -> None:
    """Texts are shortened but still told apart, and only the first places are named."""
    (found,) = value_differences(_text("x" * 5000 + "a"), _text("x" * 5001), 5)
    assert found.asked is not None
    assert len(found.asked) < 200
    assert (found.asked != found.kept) or "characters" in found.asked
    many = value_differences(_list(*map(_number, range(50))), _list(*map(_number, range(1, 51))), 5)
    assert [one.path for one in many] == [f"[{place}]" for place in range(5)]
    (large,) = value_differences(_text("x" * (2 << 20)), _text("y"), 5)
    assert large.asked is not None
    assert "bytes" in large.asked
    (whole,) = value_differences(Literal(), Literal(), 5)
    assert whole.path == ""


def _task(
    *, version: str = "1", ignored: tuple[str, ...] = (), domain: str = "d", **inputs: types_pb2.LiteralType
) -> CachedTask:
    interface = interface_pb2.TypedInterface(
        inputs=interface_pb2.VariableMap(
            variables={name: interface_pb2.Variable(type=kind) for name, kind in (inputs or {"a": INTEGER}).items()}
        )
    )
    return CachedTask("p", domain, "t", "7", version, interface.SerializeToString(), ignored)


def _compare(
    asked: CachedTask, given: dict[str, Literal], kept: CachedTask, had: dict[str, Literal], size_max: int = 1 << 16
) -> list[Difference]:
    call = asked_call(task_key(asked), asked.cache_version, literals_pb2.LiteralMap(literals=given))
    entry = task_key(kept)
    parts = key_parts(literals_pb2.LiteralMap(literals=had), entry.ignored, size_max)
    return compare(call, KeptEntry(entry.dataset, kept.cache_version, entry.interface, parts, kept.ignored_inputs))


def test_equal_calls_differ_in_nothing() -> None:
    """Orders of members, hashes and ignored inputs are no differences."""
    assert _compare(_task(), {"a": _packed({"x": 1, "y": 2})}, _task(), {"a": _packed({"y": 2, "x": 1})}) == []
    first, second = _number(1), _number(2)
    first.hash = second.hash = "same"
    assert _compare(_task(), {"a": first}, _task(), {"a": second}) == []
    ignoring = _task(ignored=("b",))
    assert _compare(ignoring, {"a": first, "b": _number(1)}, ignoring, {"a": first, "b": _number(2)}) == []
    large = _text("x" * 1000)
    assert _compare(_task(), {"a": large}, _task(), {"a": large}, size_max=100) == []


def test_each_part_of_the_key_is_told() -> None:
    """Version, interface, place, ignored inputs, inputs that are only on one side, and values."""

    def told(*arguments: object, **options: int) -> list[tuple[Kind, str, str]]:
        return [(one.kind, one.variable, one.sentence) for one in _compare(*arguments, **options)]  # type: ignore[arg-type]

    one = {"a": _number(1)}
    ((kind, _, text),) = told(_task(version="2"), one, _task(version="1"), one)
    assert (kind, text) == (Kind.CACHE_VERSION, "its cache version is '1', and the task's '2'")
    ((kind, name, text),) = told(_task(a=TEXT), one, _task(a=INTEGER), one)
    assert (kind, name) == (Kind.INTERFACE, "a")
    assert text == "input a was of type Integer when it was put, and is String now"
    ((kind, name, text),) = told(_task(a=INTEGER, b=INTEGER), one, _task(a=INTEGER), one)
    assert (kind, name, text) == (Kind.INTERFACE, "b", "the task had no input b when it was put")
    ((kind, name, text),) = told(_task(a=INTEGER), one, _task(a=INTEGER, b=TEXT), one)
    assert (kind, name) == (Kind.INTERFACE, "b")
    ((kind, _, text),) = told(_task(domain="e"), one, _task(domain="d"), one)
    assert (kind, text) == (Kind.PLACE, "it was put in p/d, and the task is of p/e")
    ((kind, _, text),) = told(_task(ignored=("z",)), one, _task(), one)
    assert kind is Kind.IGNORED_INPUTS
    ((kind, name, text),) = told(_task(), one, _task(), {"a": _number(2)})
    assert (kind, name, text) == (Kind.INPUT, "a", "input a was 2 when it was made, and is 1 here")
    ((kind, name, text),) = told(_task(), {**one, "b": _number(3)}, _task(), one)
    assert (kind, name, text) == (Kind.INPUT, "b", "it was made without input b, which is 3 here")
    ((kind, name, text),) = told(_task(), one, _task(), {**one, "b": _number(3)})
    assert (kind, name, text) == (Kind.INPUT, "b", "it was made with input b = 3, which is not given here")
    ((kind, name, text),) = told(_task(), {"a": _text("x" * 999)}, _task(), {"a": _text("y" * 999)}, size_max=100)
    assert (kind, name) == (Kind.INPUT, "a")
    assert "only the digest was kept" in text


def test_what_another_engine_has_put_is_not_known() -> None:
    """Without inputs and interface: that they are not known, and whether versions or signatures differ."""
    call = asked_call(task_key(_task()), "1", literals_pb2.LiteralMap(literals={"a": _number(1)}))
    foreign = KeptEntry(task_key(_task(version="2", a=TEXT)).dataset, None, None, None, None)
    kinds = [one.kind for one in compare(call, foreign)]
    assert kinds == [Kind.CACHE_VERSION, Kind.INTERFACE, Kind.UNKNOWN]


def test_nearer_is_what_differs_in_fewer_things() -> None:
    """Places in one value are one thing; another project weighs more than another version."""
    given = {"a": _list(_number(1), _number(2)), "b": _number(1)}
    one_input = _compare(_task(), given, _task(), {"a": _list(_number(3), _number(4)), "b": _number(1)})
    two_inputs = _compare(_task(), given, _task(), {"a": _list(_number(3), _number(4)), "b": _number(2)})
    assert len(one_input) == 2
    assert distance([]) < distance(one_input) < distance(two_inputs)
    version = _compare(_task(version="2"), given, _task(), given)
    place = _compare(_task(domain="e"), given, _task(), given)
    assert distance(version) < distance(place)
