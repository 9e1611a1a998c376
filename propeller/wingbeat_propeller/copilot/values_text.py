"""Primitive values as the text of files, in the notation of Flyte v1's copilot: that of Go.

Reading takes what writing gives and what Go's parsers take beside it. All functions are pure.
"""

import math
import re
from decimal import Decimal

from google.protobuf import duration_pb2, timestamp_pb2

INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1
DURATION_NANOSECONDS_MAX = (1 << 63) - 1
"""Longest duration that Go knows: 292 years."""

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d++(?:\.\d*+)?|\.\d++)(ns|us|µs|μs|ms|s|m|h)")
_DURATION_LENGTH_MAX = 200
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def boolean_text(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"


def float_text(value: float) -> str:
    """The shortest decimal digits that read back as the same number, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = f"{Decimal(repr(value)):f}"
    return text.removesuffix(".0") if text.endswith(".0") else text


def timestamp_text(moment: timestamp_pb2.Timestamp) -> str:
    """RFC 3339 in UTC, fractions of a second without trailing zeros."""
    text = moment.ToJsonString()
    return text[:-1].rstrip("0").rstrip(".") + "Z" if "." in text else text


def duration_text(span: duration_pb2.Duration) -> str:
    """Hours, minutes and seconds as in `1h2m3.5s`; below a second the largest unit that fits, as in `1.5ms`."""
    nanoseconds = span.seconds * 10**9 + span.nanos
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    if left < 10**9:
        unit = next(unit for unit in ("ms", "µs", "ns") if left >= _UNITS[unit])
        return f"{sign}{_decimal(left, _UNITS[unit])}{unit}"
    hours, left = divmod(left, _UNITS["h"])
    minutes, left = divmod(left, _UNITS["m"])
    text = f"{_decimal(left, _UNITS['s'])}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def parse_boolean(text: str) -> bool:
    """Raises ValueError."""
    if text not in _TRUE | _FALSE:
        raise ValueError("a boolean is written as true or false")
    return text in _TRUE


def parse_integer(text: str) -> int:
    """A decimal number of 64 bits. Raises ValueError."""
    if not _INTEGER.fullmatch(text):
        raise ValueError("an integer is written as decimal digits")
    value = int(text) if len(text) <= 64 else INTEGER_MAX + 1
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise ValueError("it does not fit 64 bits")
    return value


def parse_float(text: str) -> float:
    """Raises ValueError."""
    if "_" in text or not text.isascii():
        raise ValueError("a float is written as decimal digits")
    try:
        return float(text)
    except ValueError:
        raise ValueError("a float is written as decimal digits") from None


def parse_timestamp(text: str) -> timestamp_pb2.Timestamp:
    """RFC 3339 with `Z` or an offset. Raises ValueError."""
    moment = timestamp_pb2.Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError as error:
        raise ValueError(f"a datetime is written as in 2006-01-02T15:04:05Z ({error})") from None
    return moment


def parse_duration(text: str) -> duration_pb2.Duration:
    """Numbers with units as in `1h2m3s` or `-1.5ms`. Raises ValueError."""
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if len(digits) > _DURATION_LENGTH_MAX:
        raise ValueError("a duration is written as in 1h2m3s")
    parts = [(match[1], match[2]) for match in _PART.finditer(digits)]
    if digits != "0" and (not parts or "".join(number + unit for number, unit in parts) != digits):
        raise ValueError("a duration is written as in 1h2m3s")
    nanoseconds = int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))
    if nanoseconds > DURATION_NANOSECONDS_MAX:
        raise ValueError("a duration has at most 292 years")
    seconds, nanos = divmod(nanoseconds, 10**9)
    sign = -1 if text.startswith("-") else 1
    return duration_pb2.Duration(seconds=sign * seconds, nanos=sign * nanos)


def _decimal(amount: int, unit: int) -> str:
    """`amount / unit`, exactly."""
    whole, rest = divmod(amount, unit)
    fraction = str(unit + rest)[1:].rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
