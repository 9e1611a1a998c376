"""Primitive values as text, both ways."""

import math

import pytest
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from wingbeat_propeller.copilot import values_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (1.7976931348623157e308, "17976931348623157" + "0" * 292),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_floats(value: float, text: str) -> None:
    """No exponent, no digit too many, and the same number again."""
    assert values_text.float_text(value) == text
    back = values_text.parse_float(text)
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "0s"),
        (0, 1, "1ns"),
        (0, 1_500, "1.5µs"),
        (0, 1_500_000, "1.5ms"),
        (0, -999_000_000, "-999ms"),
        (1, 0, "1s"),
        (59, 500_000_000, "59.5s"),
        (60, 0, "1m0s"),
        (3600, 0, "1h0m0s"),
        (3723, 0, "1h2m3s"),
        (-3723, -250_000_000, "-1h2m3.25s"),
        (86_400, 0, "24h0m0s"),
    ],
)
def test_durations(seconds: int, nanos: int, text: str) -> None:
    """Go's notation, and the same duration again."""
    span = duration_pb2.Duration(seconds=seconds, nanos=nanos)
    assert values_text.duration_text(span) == text
    assert values_text.parse_duration(text) == span


@pytest.mark.parametrize(("text", "seconds"), [("1.5h", 5400), ("+90m", 5400), ("0", 0), ("1h1s", 3601), (".5m", 30)])
def test_other_notations_of_durations(text: str, seconds: int) -> None:
    """What Go reads beside what it writes."""
    assert values_text.parse_duration(text) == duration_pb2.Duration(seconds=seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1 h", "h1", "1d", "--1s", "1h-2m", "9000000h"])
def test_no_durations(text: str) -> None:
    """A number without a unit and an unknown unit are refused."""
    with pytest.raises(ValueError, match="duration"):
        values_text.parse_duration(text)


@pytest.mark.parametrize("part", ["9", "1h", "."])
def test_endless_durations(part: str) -> None:
    """They are refused at a glance: to look for all ways to read 100,000 digits takes longer than anybody waits."""
    with pytest.raises(ValueError, match="duration"):
        values_text.parse_duration(part * 100_000)


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z"),
        (-1, 1, "1969-12-31T23:59:59.000000001Z"),
    ],
)
def test_timestamps(seconds: int, nanos: int, text: str) -> None:
    """RFC 3339 in UTC without trailing zeros, and the same moment again."""
    moment = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    assert values_text.timestamp_text(moment) == text
    assert values_text.parse_timestamp(text) == moment


def test_timestamps_with_an_offset() -> None:
    """An offset is part of the notation; a date alone is none."""
    assert values_text.parse_timestamp("2023-11-14T23:13:20+01:00").seconds == 1_700_000_000
    with pytest.raises(ValueError, match="2006-01-02T15:04:05Z"):
        values_text.parse_timestamp("2023-11-14")


def test_integers_and_booleans() -> None:
    """Whole numbers of 64 bits and Go's words for booleans; nothing else."""
    assert values_text.parse_integer("-9223372036854775808") == -(1 << 63)
    assert [values_text.parse_boolean(text) for text in ("true", "False", "1", "f")] == [True, False, True, False]
    for text in ("9223372036854775808", "1.0", "1e3", "0x1", "1_0", "", "١", "9" * 100_000):
        with pytest.raises(ValueError, match=r"integer|64 bits"):
            values_text.parse_integer(text)
    for text in ("yes", "tRue", ""):
        with pytest.raises(ValueError, match="boolean"):
            values_text.parse_boolean(text)
    for text in ("1_0", "one", ""):
        with pytest.raises(ValueError, match="float"):
            values_text.parse_float(text)
    assert literals_pb2.Primitive(integer=values_text.parse_integer("+7")).integer == 7
