"""Inputs of items in the form they were said, and what they are for a target. Pure.

Until the interface is known, JSON stays JSON: an item is the same item whatever `newest` happens to be today.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

import orjson
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.launching.json_literals import Json, JsonValueError, literal_of
from wingbeat_controlplane.launching.refusals import invalid_field, invalid_value
from wingbeatidl.launch.v1 import item_pb2

INPUT_BYTES_MAX = 10 << 20
"""Most bytes of the inputs of one item."""


class GivenInputs(NamedTuple):
    """Each input is in one of the two. Read only."""

    literals: literals_pb2.LiteralMap
    json: Mapping[str, Json]

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self.json and not self.literals.literals

    def over(self, other: "GivenInputs") -> "GivenInputs":
        """These, and those of `other` whose names are free."""
        literals = literals_pb2.LiteralMap()
        for name in other.literals.literals:
            if name not in self.json:
                literals.literals[name].CopyFrom(other.literals.literals[name])
        literals.MergeFrom(self.literals)
        rest = {name: value for name, value in other.json.items() if name not in self.literals.literals}
        return GivenInputs(literals, {**rest, **self.json})

    def content(self) -> bytes:
        """Equal for equal inputs in equal forms. Raises RefusedError."""
        literals = self.literals.SerializeToString(deterministic=True)
        text = json_text(self.json) if self.json else b""
        return len(literals).to_bytes(8) + literals + text

    def for_target(self, types: Mapping[str, types_pb2.LiteralType]) -> literals_pb2.LiteralMap:
        """All as literals by the types of inputs; only JSON is judged. Raises RefusedError."""
        if not self.json:
            return self.literals
        made = literals_pb2.LiteralMap()
        made.CopyFrom(self.literals)
        for name, value in self.json.items():
            wanted = types.get(name)
            if wanted is None:
                raise invalid_field(f"inputs.{name}", "there is no such input")
            try:
                made.literals[name].CopyFrom(literal_of(value, wanted))
            except JsonValueError as error:
                raise invalid_value(name, error) from None
        return made


_NO_LITERALS = literals_pb2.LiteralMap()
NO_INPUTS = GivenInputs(_NO_LITERALS, {})


def given(inputs: item_pb2.Inputs) -> GivenInputs:
    """What an item or template says. Raises RefusedError."""
    match inputs.WhichOneof("form"):
        case "literals":
            _check_size(len(inputs.literals))
            try:
                return GivenInputs(literals_pb2.LiteralMap.FromString(inputs.literals), {})
            except DecodeError:
                raise invalid_field("inputs.literals", "the bytes are no flyteidl.core.LiteralMap") from None
        case "json":
            text = inputs.json
            _check_size(len(text))
            return GivenInputs(_NO_LITERALS, json_object(text))
        case _:
            return NO_INPUTS


def json_object(text: str | bytes) -> dict[str, Json]:
    """A JSON object. Raises RefusedError."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid_field("inputs.json", f"it is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid_field("inputs.json", "an object of values by the names of inputs is expected")
    return cast("dict[str, Json]", value)


def json_text(values: Mapping[str, Json]) -> bytes:
    """As JSON, keys in order. Raises RefusedError."""
    try:
        return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise invalid_field("inputs.json", f"a value cannot be written as JSON: {error}") from None


def _check_size(size: int) -> None:
    if size > INPUT_BYTES_MAX:
        raise invalid_field("inputs", f"{size} bytes are more than the {INPUT_BYTES_MAX} allowed for one item")
