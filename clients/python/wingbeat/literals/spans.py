"""Spans of time as text: `1h30m`, `90s`, `1.5s`, `200ms`, `2d`, as Go writes durations."""

import re
from datetime import timedelta

_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|ms|us|µs|m|s)")
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def parse_span(text: str) -> timedelta:
    """A span. Raises ValueError."""
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.lstrip("+-")
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"'{text}' is no span of time; write 1h30m, or 1.5s")
    try:
        return sign * timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f"'{text}' is too long a span of time") from None


def span_text(span: timedelta) -> str:
    """The seconds of a span in full, as protobuf writes them: `5400s`, `-86399.999995s`; `parse_span` reads it."""
    microseconds = span // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}{seconds}{fraction}s"
