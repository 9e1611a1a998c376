"""Keys are Flyte's, and blind to what does not count."""

import dataclasses
import itertools

import msgpack
import pytest
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, types_pb2
from google.protobuf import json_format, struct_pb2

from wingbeat_catalog.hashing.key_parts import key_parts, serialized_parts
from wingbeat_catalog.hashing.object_hash import message_hash, object_hash, text_of
from wingbeat_catalog.keys import CallKey, DatasetName, TaskKey, call_key, tag_key, task_key
from wingbeat_catalog.task_keys import RECENT_BYTES_MAX, RECENT_MAX, TaskKeys
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.ports.cache import CacheAsk


def _integer(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def _text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def _packed(value: object) -> literals_pb2.Literal:
    binary = literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))


def _union(value: literals_pb2.Literal, variant: types_pb2.LiteralType) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=value, type=variant)))


def _interface(description: str = "", **annotations: object) -> interface_pb2.TypedInterface:
    kind = types_pb2.LiteralType(simple=types_pb2.INTEGER)
    if description:
        kind.metadata.update({"text": description})
    if annotations:
        kind.annotation.annotations.update(annotations)
    inputs = interface_pb2.VariableMap(variables={"a": interface_pb2.Variable(type=kind, description=description)})
    return interface_pb2.TypedInterface(inputs=inputs)


def _task(
    interface: interface_pb2.TypedInterface | None = None, *, version: str = "v1", ignored: tuple[str, ...] = ()
) -> CachedTask:
    serialized = (interface or _interface()).SerializeToString()
    return CachedTask("p", "d", "t", "7", version, serialized, ignored)


def _key(**inputs: literals_pb2.Literal) -> CallKey:
    return call_key(task_key(_task()), literals_pb2.LiteralMap(literals=inputs))


def test_digests_are_flytes() -> None:
    """The vectors of the contract: an empty map, one integer, one variable, a plain object."""
    assert text_of(message_hash(literals_pb2.LiteralMap())) == "GKw-c0PwFokMUQ6T-TUmEWnZ4_VlQ2Qpgw-vCTT0-OQ"
    one = literals_pb2.LiteralMap(literals={"a": _integer(3)})
    assert text_of(message_hash(one)) == "zfJO2-HUAXM2IXGD8SISALOTHhpjXiWXfSxv9J8ranM"
    assert text_of(message_hash(_interface().inputs)) == "rJudYX8lNl9vNQAFoGo-QOXmgmx6kTGmHSLawrwhbv0"
    literals = {"1": _integer(1), "2": _integer(2)}
    assert _key(**literals).exact == "flyte_cached-GQid5LjHbakcW68DS3P2jp80QLbiF0olFHF2hTh5bg8"
    assert _key(a=_integer(3)).exact == "flyte_cached-zfJO2-HUAXM2IXGD8SISALOTHhpjXiWXfSxv9J8ranM"
    assert _key().exact == "flyte_cached-GKw-c0PwFokMUQ6T-TUmEWnZ4_VlQ2Qpgw-vCTT0-OQ"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "+0:"), (1.0, "+0:1"), (-1.0, "-0:1"), (3.0, "+2:011"), (0.5, "+-1:1"), (0.3, None), (5e-324, "+-1074:1")],
)
def test_numbers_are_normalised_bit_by_bit(number: float, text: str | None) -> None:
    """The digest of a number is that of its sign, exponent and binary digits, found by halving and doubling."""
    import hashlib

    plain = _by_halving(number)
    assert text is None or plain == text
    assert object_hash(number) == hashlib.sha256(b"f" + plain.encode()).digest()


def _by_halving(number: float) -> str:
    if number == 0:
        return "+0:"
    text = "+" if number > 0 else "-"
    number, exponent = abs(number), 0
    while number > 1:
        number, exponent = number / 2, exponent + 1
    while number <= 0.5:
        number, exponent = number * 2, exponent - 1
    text += f"{exponent}:"
    while number:
        text += "1" if number >= 1 else "0"
        number = (number - (number >= 1)) * 2
    return text


def test_a_value_put_apart_counts_by_its_hash_wherever_it_lies() -> None:
    """Who puts it apart gives it a hash of its content; the same content inline, without that hash, is another key."""

    def apart(uri: str, content: str) -> literals_pb2.Literal:
        metadata = literals_pb2.LiteralOffloadedMetadata(uri=uri, size_bytes=20)
        return literals_pb2.Literal(offloaded_metadata=metadata, hash=content)

    key = _key(a=apart("s3://b/one", "x"))
    assert key == _key(a=apart("s3://b/two", "x")) == _key(a=literals_pb2.Literal(hash="x"))
    assert key != _key(a=apart("s3://b/one", "y"))
    listed = literals_pb2.LiteralCollection(literals=[apart("s3://b/one", "x")])
    moved = literals_pb2.LiteralCollection(literals=[apart("s3://b/two", "x")])
    assert _key(a=literals_pb2.Literal(collection=listed)) == _key(a=literals_pb2.Literal(collection=moved))


def test_the_dataset_is_named_by_task_version_and_interface() -> None:
    """Blanks around the cache version do not count, and a task without inputs or outputs has the empty signature."""
    key = task_key(_task(version="  v1 "))
    assert key.dataset == DatasetName("p", "d", "flyte_task-t", "v1-rJudYX8l-GKw-c0Pw")
    assert task_key(_task(interface_pb2.TypedInterface())).dataset.version == "v1-GKw-c0Pw-GKw-c0Pw"
    with pytest.raises(ValueError, match="no cache version"):
        task_key(_task(version="  "))


def test_a_workflow_shares_no_dataset_with_its_namesake() -> None:
    """Neither with a task of the same name and interface."""
    task = _task()
    whole = task_key(dataclasses.replace(task, is_workflow=True))
    assert whole.dataset == DatasetName("p", "d", "flyte_workflow-t", "v1-rJudYX8l-GKw-c0Pw")
    assert whole.entity.resource_type == identifier_pb2.WORKFLOW
    assert task_key(task).entity.resource_type == identifier_pb2.TASK
    with pytest.raises(ValueError, match="workflow t is to be cached, but has no cache version"):
        task_key(dataclasses.replace(task, is_workflow=True, cache_version=""))


def test_descriptions_and_annotations_do_not_count() -> None:
    """An edited docstring keeps the key, unless an annotation says that it is part of it."""
    plain = task_key(_task())
    assert task_key(_task(_interface("a number", colour="red"))).digest == plain.digest
    counted = task_key(_task(_interface(**{"cache-key-metadata": "x"})))
    assert counted.digest != plain.digest
    assert counted.dataset.version != plain.dataset.version


def test_hashes_take_the_place_of_values() -> None:
    """A literal with a hash is known by it alone, at any depth; ignored inputs are not looked at."""
    first, second = _integer(1), _text("another")
    first.hash = second.hash = "same"
    assert _key(a=first) == _key(a=second)
    assert _key(a=first) != _key(a=_integer(1))
    nested = [
        literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[literal]))
        for literal in (first, second)
    ]
    assert _key(a=nested[0]) == _key(a=nested[1])
    key = task_key(_task(ignored=("b",)))
    with_other = literals_pb2.LiteralMap(literals={"a": _integer(1), "b": _integer(2)})
    assert call_key(key, with_other) == _key(a=_integer(1))


def test_the_order_of_members_does_not_count() -> None:
    """A hundred orders of a dataclass's or dictionary's members, nested in lists, maps and unions, give one key."""
    members = [("e", 1), ("b", [{"y": 1.5, "x": None}]), ("d", "text"), ("a", {"n": {"q": 1, "p": 2}}), ("c", True)]
    keys: set[str] = set()
    exact: set[str] = set()
    variant = types_pb2.LiteralType(simple=types_pb2.STRUCT)
    for order in itertools.islice(itertools.permutations(members), 100):
        packed = _packed(dict(order))
        collection = literals_pb2.LiteralCollection(literals=[_union(packed, variant)])
        key = _key(a=packed, b=literals_pb2.Literal(collection=collection))
        keys.add(key.canonical)
        exact.add(key.exact)
    assert len(keys) == 1
    assert len(exact) == 100
    in_order = _packed({"a": 1, "b": 2})
    assert _key(a=in_order).exact == _key(a=in_order).canonical == _key(a=_packed({"b": 2, "a": 1})).canonical


def test_what_differs_has_another_key() -> None:
    """Order in lists, kinds of numbers and names of members all count."""
    values: list[object] = [
        [1, 2],
        [2, 1],
        [1.0, 2],
        {"a": 1},
        {"a": 1.0},
        {"b": 1},
        {"a": "1"},
        {"a": b"1"},
        {1: 1},
        None,
    ]
    assert len({_key(a=_packed(value)).canonical for value in values}) == len(values)
    broken = literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=b"\xc1", tag="msgpack")))
    assert _key(a=broken).exact == _key(a=broken).canonical


def test_structs_are_blind_to_order_by_themselves() -> None:
    """JSON objects are hashed member by member."""
    generic = struct_pb2.Struct()
    generic.update({"b": [1, None, {"y": True, "x": 0.25}], "a": "text"})
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(generic=generic))
    plain = object_hash({"literals": {"a": {"scalar": {"generic": json_format.MessageToDict(generic)}}}})
    assert _key(a=literal).exact == "flyte_cached-" + text_of(plain)
    assert _key(a=literal).canonical == _key(a=literal).exact


def test_what_a_union_notes_beside_the_value_does_not_count() -> None:
    """A hash inside of a union counts, and descriptions of the variant do not, although Flyte has it the other way."""
    plain = types_pb2.LiteralType(simple=types_pb2.INTEGER, structure=types_pb2.TypeStructure(tag="int"))
    described = types_pb2.LiteralType(simple=types_pb2.INTEGER, structure=types_pb2.TypeStructure(tag="int"))
    described.metadata.update({"title": "a number"})
    first, second = _integer(1), _integer(2)
    assert _key(a=_union(first, plain)).canonical == _key(a=_union(first, described)).canonical
    assert _key(a=_union(first, plain)).canonical != _key(a=_union(second, plain)).canonical
    first.hash = second.hash = "same"
    assert _key(a=_union(first, plain)).canonical == _key(a=_union(second, plain)).canonical
    assert _key(a=_union(first, plain)).exact != _key(a=_union(second, plain)).exact


def test_names_cannot_run_together() -> None:
    """Datasets whose parts join to one text are different ones; so are their tags."""
    assert DatasetName("a", "bc", "d", "e").digest() != DatasetName("ab", "c", "d", "e").digest()
    first: TaskKey = task_key(_task())
    assert len(tag_key(first.digest, "x")) == 32
    assert tag_key(first.digest, "x") != tag_key(task_key(_task(version="v2")).digest, "x")


def test_the_key_of_a_small_call_is_computed_once_for_its_look_up_and_its_put() -> None:
    """Then it is forgotten; large calls and old ones are never kept."""
    keys, task = TaskKeys(), _task()
    small, large = (
        CacheAsk(task, literals_pb2.LiteralMap(literals={"a": _text("x" * size)}).SerializeToString())
        for size in (10, RECENT_BYTES_MAX)
    )
    looked_up = keys.call(small)
    assert keys.call(small) is looked_up
    assert keys.call(small) is not looked_up
    assert keys.call(small) == looked_up
    assert keys.call(large) is not keys.call(large)
    first = keys.call(small)
    for number in range(RECENT_MAX):
        keys.call(CacheAsk(task, literals_pb2.LiteralMap(literals={"a": _integer(number)}).SerializeToString()))
    assert keys.call(small) is not first


def test_parts_are_the_map_itself_where_nothing_is_left_out() -> None:
    """Whichever way they are made."""
    hashed, listed = _text("long"), literals_pb2.LiteralCollection(literals=[_integer(1)])
    hashed.hash = "h"
    for literals, ignored, size_max in (
        ({"a": _integer(3), "b": _text("x")}, (), 1_000),
        ({"a": _integer(3), "b": _text("x")}, ("b",), 1_000),
        ({"a": hashed}, (), 1_000),
        ({"a": literals_pb2.Literal(collection=listed)}, (), 1_000),
        ({"a": _text("x" * 500)}, (), 100),
        ({}, (), 1_000),
    ):
        inputs = literals_pb2.LiteralMap(literals=literals)
        parts = literals_pb2.LiteralMap.FromString(serialized_parts(inputs, ignored, size_max))
        assert parts == key_parts(inputs, ignored, size_max)
