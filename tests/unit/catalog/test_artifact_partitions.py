"""Partitions of artifacts: where their values come from, and what is refused."""

import base64
from datetime import UTC, datetime

import pytest
from flyteidl.core import artifact_id_pb2, interface_pb2, literals_pb2

from wingbeat_catalog.artifacts.partitions import (
    PartitionError,
    PartitionValues,
    asked_partitions,
    cut,
    made_partitions,
)
from wingbeat_catalog.artifacts.queries import InvalidQueryError, check_query

AT = datetime(2026, 5, 17, 13, 45, 10, tzinfo=UTC)
LabelValue = artifact_id_pb2.LabelValue


def _text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def _time(at: datetime) -> literals_pb2.Literal:
    literal = literals_pb2.Literal()
    literal.scalar.primitive.datetime.FromDatetime(at)
    return literal


def _bound(var: str) -> LabelValue:
    return LabelValue(input_binding=artifact_id_pb2.InputBindingData(var=var))


def _declared(**labels: LabelValue) -> artifact_id_pb2.ArtifactID:
    return artifact_id_pb2.ArtifactID(partitions=artifact_id_pb2.Partitions(value=labels))


def _output(at: datetime | None = None, **partitions: str) -> literals_pb2.Literal:
    set_by_task = _declared(**{key: LabelValue(static_value=value) for key, value in partitions.items()})
    if at is not None:
        set_by_task.time_partition.value.time_value.FromDatetime(at)
    encoded = base64.b64encode(set_by_task.SerializeToString()).decode()
    literal = _text("x")
    literal.metadata["_uap"] = encoded
    return literal


def test_values_from_everywhere() -> None:
    """Fixed ones, those of inputs (inside of unions, too) and those that the task set."""
    optional = literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=_text("north"))))
    declared = _declared(
        a=LabelValue(static_value="fixed"),
        b=_bound("region"),
        c=LabelValue(runtime_binding=artifact_id_pb2.RuntimeBinding()),
        d=LabelValue(static_value=""),
    )
    made = made_partitions(declared, _output(c="set", d="also"), {"region": optional})
    assert made == PartitionValues({"a": "fixed", "b": "north", "c": "set", "d": "also"})


@pytest.mark.parametrize("bound", [True, False])
def test_times(bound: bool) -> None:
    """A time partition comes from an input or from the task, and is cut to its granularity."""
    label = _bound("day") if bound else LabelValue(runtime_binding=artifact_id_pb2.RuntimeBinding())
    declared = artifact_id_pb2.ArtifactID(time_partition=artifact_id_pb2.TimePartition(value=label))
    made = made_partitions(declared, _text("x") if bound else _output(AT), {"day": _time(AT)})
    assert made == PartitionValues({}, datetime(2026, 5, 17, tzinfo=UTC), artifact_id_pb2.DAY)


def test_cut() -> None:
    """To the minute, hour, day and month."""
    granularities = (artifact_id_pb2.MINUTE, artifact_id_pb2.HOUR, artifact_id_pb2.DAY, artifact_id_pb2.MONTH)
    assert [cut(AT, granularity).isoformat()[:16] for granularity in granularities] == [
        "2026-05-17T13:45",
        "2026-05-17T13:00",
        "2026-05-17T00:00",
        "2026-05-01T00:00",
    ]


@pytest.mark.parametrize(
    ("declared", "output", "words"),
    [
        (_declared(a=LabelValue(static_value="")), _text("x"), "partition 'a' has no value: the task did not set it"),
        (_declared(a=_bound("gone")), _text("x"), "bound to input 'gone', which has no value"),
        (_declared(a=_bound("list")), _text("x"), "which is no text, number, time or truth value"),
        (_declared(a=_bound("empty")), _text("x"), "which is empty"),
        (_declared(), _output(b="1"), "the task set partition 'b', which the artifact does not have"),
        (_declared(**{f"k{i}": LabelValue(static_value="v") for i in range(11)}), _text("x"), "at most 10"),
        (_declared(a=LabelValue(static_value="v" * 1_001)), _text("x"), "empty, too long or has a NUL"),
        (_declared(), literals_pb2.Literal(metadata={"_uap": "?"}), "cannot be read"),
    ],
)
def test_what_cannot_be(declared: artifact_id_pb2.ArtifactID, output: literals_pb2.Literal, words: str) -> None:
    """Whatever has no value that can be stored is refused with a sentence."""
    inputs = {"list": literals_pb2.Literal(collection=literals_pb2.LiteralCollection()), "empty": _text("")}
    with pytest.raises(PartitionError, match=words):
        made_partitions(declared, output, inputs)


def test_questions() -> None:
    """A query's partitions are fixed or bound to inputs; those without a value stand for any."""
    asked = _declared(a=LabelValue(static_value="1"), b=LabelValue(static_value=""), c=_bound("x"))
    asked.time_partition.value.CopyFrom(_bound("day"))
    found = asked_partitions(asked, {"x": _text("y"), "day": _time(AT)})
    assert (found.values, found.time) == ({"a": "1", "c": "y"}, datetime(2026, 5, 17, tzinfo=UTC))
    with pytest.raises(PartitionError, match="cannot be a triggered_binding"):
        asked_partitions(_declared(a=LabelValue(triggered_binding=artifact_id_pb2.ArtifactBindingData())), {})


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "the query is empty"),
        ({"artifact_id": {}}, "the artifact's name is missing"),
        ({"artifact_id": {"artifact_key": {"name": "n"}, "partitions": {"value": {"a": _bound("z")}}}}, "bound to 'z'"),
        ({"artifact_tag": {"artifact_key": {"name": "n"}, "value": _bound("z")}}, "bound to 'z'"),
        ({"uri": "s3://b/k"}, "is no URI of an artifact"),
        ({"binding": {}}, "triggers are not supported"),
    ],
)
def test_queries_that_cannot_be_registered(query: dict[str, object], words: str) -> None:
    """A launch plan's query is judged when it is registered, as far as it can be."""
    with pytest.raises(InvalidQueryError, match=words):
        check_query(artifact_id_pb2.ArtifactQuery(**query), {"x": interface_pb2.Variable()})
