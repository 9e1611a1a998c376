"""What executions are found by."""

import json

from flyteidl.core.literals_pb2 import Literal, LiteralMap, Primitive, Scalar, Union

from wingbeat_controlplane.executions.searched import searched_inputs, searched_labels


def _primitive(**value: object) -> Literal:
    return Literal(scalar=Scalar(primitive=Primitive(**value)))  # pyright: ignore[reportArgumentType]


def test_small_primitive_inputs() -> None:
    """Primitives become JSON, through unions too; what is large, structured or unknown to JSON is left out."""
    moment = Literal()
    moment.scalar.primitive.datetime.FromJsonString("2026-05-01T12:00:00Z")
    beyond = Literal()
    beyond.scalar.primitive.datetime.seconds = 2**60
    inputs = {
        "whole": _primitive(integer=42),
        "real": _primitive(float_value=0.5),
        "endless": _primitive(float_value=float("inf")),
        "yes": _primitive(boolean=True),
        "text": _primitive(string_value="a"),
        "optional": Literal(scalar=Scalar(union=Union(value=_primitive(integer=7)))),
        "moment": moment,
        "beyond": beyond,
        "long": _primitive(string_value="x" * 300),
        "nul": _primitive(string_value="a\0"),
        "list": Literal(collection={"literals": [_primitive(integer=1)]}),
        "none": Literal(scalar=Scalar(none_type={})),
    }
    found = searched_inputs(LiteralMap(literals=inputs).SerializeToString())
    assert found is not None
    assert json.loads(found) == {
        "whole": 42,
        "real": 0.5,
        "endless": "inf",
        "yes": True,
        "text": "a",
        "optional": 7,
        "moment": "2026-05-01T12:00:00Z",
    }


def test_nothing_to_find() -> None:
    """Without anything to search by there is no row."""
    assert searched_inputs(b"") is None
    assert searched_inputs(LiteralMap(literals={"n": Literal()}).SerializeToString()) is None
    assert searched_inputs(b"\xff") is None
    assert searched_labels({}) is None
    assert searched_labels({"a": "\0"}) is None
    assert searched_labels({"team": "vision"}) == '{"team":"vision"}'
