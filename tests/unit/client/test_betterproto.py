"""The dataclasses of `wingbeat.messages` are the same messages on the wire as those of protobuf's own library."""

import importlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from wingbeat.messages.flyteidl.core import Literal, Primitive, Scalar
from wingbeat.messages.message_pool import default_message_pool
from wingbeat.messages.wingbeatidl.launch.v1 import LaunchItem, LaunchStatus, Target, TargetKind

DEPTH = 3
PACKAGES = ("flyteidl.admin", "flyteidl.core", "flyteidl.service", "flyteidl.event", "wingbeatidl")


def _load() -> list[str]:
    """Every message of FlyteIDL's main packages and of ours, by full name; their modules are imported."""
    for package in ("flyteidl.admin", "flyteidl.service", "flyteidl.event", "wingbeatidl"):
        for area in ("", "batch", "launch", "query", "recovery", "watch", "tenants", "blobs", "operations"):
            if package == "wingbeatidl" and area:
                importlib.import_module(f"wingbeat.messages.wingbeatidl.{area}.v1")
                importlib.import_module(f"wingbeatidl.{area}.v1.{'why' if area == 'query' else area}_pb2")
            elif package != "wingbeatidl" and not area:
                importlib.import_module(f"wingbeat.messages.{package}")
    importlib.import_module("wingbeatidl.query.v1.query_pb2")
    importlib.import_module("flyteidl.service.admin_pb2")
    importlib.import_module("flyteidl.service.signal_pb2")
    importlib.import_module("flyteidl.service.dataproxy_pb2")
    known = (url.rpartition("/")[2] for url in default_message_pool.url_to_type)
    return sorted(name for name in known if name.startswith(PACKAGES) and _descriptor(name) is not None)


def _descriptor(name: str) -> Descriptor | None:
    try:
        return descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return None


def _value(field: FieldDescriptor, depth: int) -> object:
    """Something that is not the default."""
    kinds = FieldDescriptor
    if field.type == kinds.TYPE_MESSAGE:
        return _filled(field.message_type, depth - 1, variant=0)
    if field.type == kinds.TYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.type == kinds.TYPE_STRING:
        return "straße ✈"
    if field.type == kinds.TYPE_BYTES:
        return b"\x00\xff"
    if field.type == kinds.TYPE_BOOL:
        return True
    if field.type in (kinds.TYPE_DOUBLE, kinds.TYPE_FLOAT):
        return -1.5
    is_signed = field.type in (kinds.TYPE_INT32, kinds.TYPE_INT64, kinds.TYPE_SINT32, kinds.TYPE_SINT64)
    return -7 if is_signed else 7


def _filled(descriptor: Descriptor, depth: int, variant: int) -> Message:
    """A message with all fields set; of each oneof the field whose turn it is."""
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name == "google.protobuf.Any":
        return message
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.FromJsonString("2026-05-01T12:00:00.5Z" if "Time" in descriptor.name else "1.5s")  # pyright: ignore
        return message
    for field in descriptor.fields:
        group = field.containing_oneof
        if group is not None and group.fields.index(field) != variant % len(group.fields):
            continue
        if field.message_type is not None and depth == 0:
            continue
        if field.label == FieldDescriptor.LABEL_REPEATED:
            _fill_repeated(message, field, depth)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(field, depth))
        else:
            setattr(message, field.name, _value(field, depth))
    return message


def _fill_repeated(message: Message, field: FieldDescriptor, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value_field = field.message_type.fields_by_name["value"]
        key = 7 if field.message_type.fields_by_name["key"].type != FieldDescriptor.TYPE_STRING else "k"
        if value_field.message_type is None:
            target[key] = _value(value_field, depth)
        else:
            target[key].CopyFrom(_value(value_field, depth))
    else:
        target.extend([_value(field, depth)] * 2)


def _variants(descriptor: Descriptor) -> Iterator[int]:
    yield from range(max([len(one.fields) for one in descriptor.oneofs], default=1))


@pytest.mark.parametrize("name", _load())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_round_trips(name: str) -> None:
    """What one library writes the other reads, and back again, with every field and every choice set."""
    descriptor = _descriptor(name)
    assert descriptor is not None
    ours = message_factory.GetMessageClass(descriptor)
    theirs = default_message_pool.url_to_type[f"type.googleapis.com/{name}"]
    for variant in _variants(descriptor):
        message = _filled(descriptor, DEPTH, variant)
        parsed = theirs.parse(message.SerializeToString())
        written = bytes(parsed)
        assert ours.FromString(written) == message
        assert theirs.parse(ours.FromString(written).SerializeToString()) == parsed


def test_they_are_dataclasses() -> None:
    """Typed fields with defaults, Enums with short names, choices that are None unless they are set."""
    item = LaunchItem(target=Target(kind=TargetKind.TASK, name="t"), labels={"a": "b"}, priority=0)
    assert LaunchItem.parse(bytes(item)) == item
    assert item.overrides is None
    literal = Literal(scalar=Scalar(primitive=Primitive(integer=3)))
    assert literal.scalar is not None
    assert literal.map is None
    assert LaunchStatus.CREATED == 1


def test_the_client_does_without() -> None:
    """Nothing of betterproto2 is loaded by the client, and without it a sentence says what to install."""
    code = (
        "import sys; sys.modules['betterproto2'] = None\n"
        "import wingbeat.async_client, wingbeat.cli.kinds\n"
        "try:\n    import wingbeat.messages\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "install wingbeat[betterproto]" in done.stdout
