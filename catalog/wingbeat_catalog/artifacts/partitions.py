"""Partitions of artifacts: which values a declaration, a task and a query give them. Pure.

A declaration (`Variable.artifact_partial_id`) says of each partition where its value comes from: it is fixed, bound to
an input, or set by the task while it runs (in the output's metadata, as flytekit's `create_from` leaves it). A query
says it the same way, but for what only a task can set.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flyteidl.core import artifact_id_pb2, literals_pb2
from google.protobuf import timestamp_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.tasks.literal_text import UnprintableLiteralError, literal_text

PARTITIONS_MAX = 10
"""Partition keys of an artifact; flytekit allows as many."""
TEXT_LENGTH_MAX = 1_000
RUNTIME_KEY = "_uap"
"""Where the metadata of an output literal hold what the task set."""

Inputs = Mapping[str, literals_pb2.Literal]


class PartitionError(ValueError):
    """A partition has no value, or one that cannot be; the text is the sentence for people."""


@dataclass(frozen=True, slots=True)
class PartitionValues:
    """Values of all partitions."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    time: datetime | None = None
    """Cut to the granularity, in UTC."""
    granularity: int = artifact_id_pb2.UNSET


def made_partitions(
    declared: artifact_id_pb2.ArtifactID, output: literals_pb2.Literal, inputs: Inputs
) -> PartitionValues:
    """Partitions of an output that becomes an artifact. Raises PartitionError."""
    runtime = runtime_partitions(output)
    set_by_task = runtime.partitions.value
    values: dict[str, str] = {}
    for key in sorted(declared.partitions.value):
        label = declared.partitions.value[key]
        kind = label.WhichOneof("value")
        if kind == "input_binding":
            values[key] = _bound_text(f"partition '{key}'", label.input_binding.var, inputs)
        elif kind == "static_value" and label.static_value:
            values[key] = label.static_value
        elif key in set_by_task and set_by_task[key].static_value:
            values[key] = set_by_task[key].static_value
        else:
            raise PartitionError(f"partition '{key}' has no value: the task did not set it when it made the output")
    unknown = sorted(set(set_by_task) - set(values))
    if unknown:
        raise PartitionError(f"the task set partition '{unknown[0]}', which the artifact does not have")
    check_values(values)
    if not declared.HasField("time_partition"):
        return PartitionValues(values)
    label = declared.time_partition.value
    granularity = declared.time_partition.granularity or artifact_id_pb2.DAY
    match label.WhichOneof("value"):
        case "time_value":
            time = _moment(label.time_value)
        case "input_binding":
            time = _bound_time(label.input_binding.var, inputs)
        case _:
            if not runtime.time_partition.value.HasField("time_value"):
                raise PartitionError("the time partition has no value: the task did not set it when it made the output")
            time = _moment(runtime.time_partition.value.time_value)
    return PartitionValues(values, cut(time, granularity), granularity)


def runtime_partitions(output: literals_pb2.Literal) -> artifact_id_pb2.ArtifactID:
    """What the task set, empty if nothing. Raises PartitionError."""
    text = output.metadata.get(RUNTIME_KEY, "")
    try:
        return artifact_id_pb2.ArtifactID.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, ValueError) as error:
        raise PartitionError(f"the partitions that the task set cannot be read: {error}") from error


def asked_partitions(asked: artifact_id_pb2.ArtifactID, inputs: Inputs) -> PartitionValues:
    """Partitions that a query names; any value will do for those that it does not. Raises PartitionError."""
    values: dict[str, str] = {}
    for key in sorted(asked.partitions.value):
        text = asked_text(f"partition '{key}'", asked.partitions.value[key], inputs)
        if text:
            values[key] = text
    label = asked.time_partition.value
    time: datetime | None = None
    match label.WhichOneof("value"):
        case "time_value":
            time = _moment(label.time_value)
        case "input_binding":
            time = _bound_time(label.input_binding.var, inputs)
        case None:
            pass
        case kind:
            raise PartitionError(f"the time partition of a query cannot be a {kind}")
    granularity = asked.time_partition.granularity or artifact_id_pb2.DAY
    return PartitionValues(values, None if time is None else cut(time, granularity), granularity)


def asked_text(what: str, label: artifact_id_pb2.LabelValue, inputs: Inputs) -> str:
    """The text that a label of a query stands for; empty: none. Raises PartitionError."""
    match label.WhichOneof("value"):
        case "static_value":
            return label.static_value
        case "input_binding":
            return _bound_text(what, label.input_binding.var, inputs)
        case None:
            return ""
        case kind:
            raise PartitionError(f"{what} of a query cannot be a {kind}")


def check_values(values: Mapping[str, str]) -> None:
    """Raises PartitionError for more or longer values than there may be."""
    if len(values) > PARTITIONS_MAX:
        raise PartitionError(f"an artifact has at most {PARTITIONS_MAX} partition keys, not {len(values)}")
    for key, value in values.items():
        if not key or max(len(key), len(value)) > TEXT_LENGTH_MAX or "\0" in key + value:
            raise PartitionError(f"partition '{key[:100]}' has a key or value that is empty, too long or has a NUL")


def cut(moment: datetime, granularity: int) -> datetime:
    """The beginning of the minute, hour, day or month that an instant lies in, in UTC."""
    moment = moment.astimezone(UTC).replace(second=0, microsecond=0)
    if granularity == artifact_id_pb2.MINUTE:
        return moment
    moment = moment.replace(minute=0)
    if granularity == artifact_id_pb2.HOUR:
        return moment
    moment = moment.replace(hour=0)
    return moment.replace(day=1) if granularity == artifact_id_pb2.MONTH else moment


def _input(what: str, var: str, inputs: Inputs) -> literals_pb2.Literal:
    literal = inputs.get(var)
    if literal is None:
        raise PartitionError(f"{what} is bound to input '{var}', which has no value")
    while literal.scalar.WhichOneof("value") == "union":
        literal = literal.scalar.union.value
    return literal


def _bound_text(what: str, var: str, inputs: Inputs) -> str:
    literal = _input(what, var, inputs)
    if literal.scalar.WhichOneof("value") != "primitive":
        raise PartitionError(f"{what} is bound to input '{var}', which is no text, number, time or truth value")
    try:
        text = literal_text(literal)
    except UnprintableLiteralError as error:
        raise PartitionError(f"{what} is bound to input '{var}': {error}") from error
    if not text:
        raise PartitionError(f"{what} is bound to input '{var}', which is empty")
    return text


def _bound_time(var: str, inputs: Inputs) -> datetime:
    primitive = _input("the time partition", var, inputs).scalar.primitive
    if primitive.WhichOneof("value") != "datetime":
        raise PartitionError(f"the time partition is bound to input '{var}', which is no time")
    return _moment(primitive.datetime)


def _moment(timestamp: timestamp_pb2.Timestamp) -> datetime:
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise PartitionError(f"the time partition is no time: {error}") from error
