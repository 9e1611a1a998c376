"""JSON of messages: what the fast encoder writes is what json_format says, with nulls for unset messages."""

import math
from typing import Any

import orjson
import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2, node_execution_pb2, task_execution_pb2, workflow_pb2
from flyteidl.core import literals_pb2
from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.messages import messages

from wingbeat_controlplane.gateway.descriptors import SPECIAL_MESSAGES, is_map, is_message, is_repeated
from wingbeat_controlplane.gateway.json_decoding import merge_json
from wingbeat_controlplane.gateway.json_encoding import JsonEncoder

TYPES = [
    execution_pb2.ExecutionList,
    execution_pb2.ExecutionCreateRequest,
    launch_plan_pb2.LaunchPlan,
    node_execution_pb2.NodeExecutionGetDataResponse,
    task_execution_pb2.TaskExecution,
    workflow_pb2.Workflow,
    literals_pb2.LiteralMap,
    struct_pb2.Struct,
]


def reference(message: Message, *, proto_names: bool) -> Any:
    """The JSON by google's own json_format, completed by what it leaves out: null for every unset message."""
    found = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=proto_names
    )
    return with_nulls(message, found, proto_names=proto_names)


def with_nulls(message: Any, found: Any, *, proto_names: bool) -> Any:
    if message.DESCRIPTOR.full_name in SPECIAL_MESSAGES:
        return found
    for field in message.DESCRIPTOR.fields:
        name = field.name if proto_names else field.json_name
        value = getattr(message, field.name)
        if is_map(field):
            if is_message(field.message_type.fields_by_name["value"]):
                for key, item in value.items():
                    found[name][_key(key)] = with_nulls(item, found[name][_key(key)], proto_names=proto_names)
        elif not is_message(field):
            continue
        elif is_repeated(field):
            found[name] = [
                with_nulls(item, out, proto_names=proto_names) for item, out in zip(value, found[name], strict=True)
            ]
        elif message.HasField(field.name):
            found[name] = with_nulls(value, found[name], proto_names=proto_names)
        elif field.containing_oneof is None:
            found[name] = None
    return found


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


@pytest.mark.parametrize("proto_names", [False, True])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_equals_json_format(proto_names: bool, data: st.DataObject) -> None:
    """Any message of the big types is written as json_format would, plus nulls, in both casings."""
    message = data.draw(messages(data.draw(st.sampled_from(TYPES))))
    written = orjson.loads(JsonEncoder(proto_names=proto_names).encode(message))
    assert written == orjson.loads(orjson.dumps(reference(message, proto_names=proto_names)))


@pytest.mark.parametrize("proto_names", [False, True])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_roundtrip(proto_names: bool, data: st.DataObject) -> None:
    """What the encoder writes, the decoder reads back to an equal message, in both casings."""
    message = data.draw(messages(data.draw(st.sampled_from(TYPES))))
    copy = type(message)()
    merge_json(copy, JsonEncoder(proto_names=proto_names).encode(message))
    assert _comparable(copy) == _comparable(message)


def _comparable(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def test_unset_fields() -> None:
    """Everything that is not in a oneof is there: zeros, [], {}, null; members of oneofs only when set."""
    empty = orjson.loads(JsonEncoder(proto_names=True).encode(execution_pb2.ExecutionClosure()))
    assert empty["phase"] == "UNDEFINED"
    assert empty["started_at"] is None
    assert empty["notifications"] == []
    assert "outputs" not in empty
    assert "error" not in empty
    aborted = execution_pb2.ExecutionClosure(error={"code": "x"}, computed_inputs={})  # type: ignore[arg-type]
    written = orjson.loads(JsonEncoder(proto_names=False).encode(aborted))
    assert written["computedInputs"] == {"literals": {}}
    assert written["error"] == {
        "code": "x",
        "message": "",
        "errorUri": "",
        "kind": "UNKNOWN",
        "timestamp": None,
        "worker": "",
    }


def test_special_values() -> None:
    """64-bit integers are strings, non-finite numbers have names, unknown enum numbers stay numbers."""
    encoder = JsonEncoder(proto_names=False)
    primitive = literals_pb2.Primitive(integer=2**62)
    assert encoder.value(primitive) == {"integer": str(2**62)}
    for number, text in ((math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")):
        assert encoder.value(literals_pb2.Primitive(float_value=number)) == {"floatValue": text}
    closure = execution_pb2.ExecutionClosure()
    closure.MergeFromString(bytes([4 << 3, 99]))
    assert orjson.loads(encoder.encode(closure))["phase"] == 99
    struct = struct_pb2.Struct()
    struct.update({"huge": 1e300, "whole": 3.0, "nothing": None})
    assert orjson.loads(encoder.encode(struct)) == {"huge": 1e300, "whole": 3, "nothing": None}


@pytest.mark.parametrize(
    "packed",
    [
        literals_pb2.Primitive(string_value="x"),
        wrappers_pb2.Int64Value(value=7),
        timestamp_pb2.Timestamp(seconds=1),
        duration_pb2.Duration(seconds=1, nanos=5000),
        any_pb2.Any(),
    ],
)
def test_any(packed: Message) -> None:
    """A packed message stands with its type, special ones under `value`; it reads back the same."""
    message = any_pb2.Any()
    message.Pack(packed)
    written = JsonEncoder(proto_names=False).encode(message)
    assert orjson.loads(written)["@type"] == f"type.googleapis.com/{packed.DESCRIPTOR.full_name}"
    copy = any_pb2.Any()
    merge_json(copy, written)
    assert copy == message


def test_any_of_unknown_type() -> None:
    """A packed message whose type is unknown here does not break the answer."""
    message = any_pb2.Any(type_url="type.googleapis.com/unknown.Message", value=b"\xff")
    assert JsonEncoder(proto_names=False).value(message) == {"@type": message.type_url, "value": "/w=="}
    broken = any_pb2.Any(type_url="type.googleapis.com/flyteidl.core.Primitive", value=b"\xff")
    assert JsonEncoder(proto_names=False).value(broken) == {"@type": broken.type_url, "value": "/w=="}


def test_impossible_time() -> None:
    """A time that JSON cannot express is a ValueError, not a wrong time."""
    closure = execution_pb2.ExecutionClosure(started_at=timestamp_pb2.Timestamp(seconds=1 << 60))
    with pytest.raises(ValueError, match="seconds"):
        JsonEncoder(proto_names=False).encode(closure)


def test_float_fields() -> None:
    """32-bit numbers are written as their shortest decimal."""
    value = wrappers_pb2.FloatValue(value=0.1)
    assert JsonEncoder(proto_names=False).encode(value) == b"0.1"
    assert value.DESCRIPTOR.fields_by_name["value"].cpp_type == FieldDescriptor.CPPTYPE_FLOAT
    for number in (3.4028234663852886e38, 1.17549435e-38, 16777216.0, -2.5):
        written = orjson.loads(JsonEncoder(proto_names=False).encode(wrappers_pb2.FloatValue(value=number)))
        assert wrappers_pb2.FloatValue(value=written) == wrappers_pb2.FloatValue(value=number)
