"""Syntax of schedules in launch plans: five-field cron as robfig's `ParseStandard` reads it, descriptors, fixed rates.

Only whether a schedule is legal is judged here; when it fires is the scheduler's business. A legal cron expression
may never fire (30 February).
"""

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flyteidl.admin import schedule_pb2

from wingbeat_controlplane.errors import invalid_argument

_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
# flytekit lets these pass without the @, so they are accepted.
_WORDS = frozenset(
    {"hourly", "hours", "daily", "days", "weekly", "weeks", "monthly", "months", "annually", "yearly", "years"}
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _WEEKDAYS),
)
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", re.DOTALL)
_EVERY = re.compile(r"@every\s+(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+")


def schedule_type(schedule: schedule_pb2.Schedule) -> str:
    """`NONE`, `CRON` or `RATE`, as lists can filter for it."""
    kind = schedule.WhichOneof("ScheduleExpression")
    if kind is None:
        return "NONE"
    return "RATE" if kind == "rate" else "CRON"


def check_schedule(schedule: schedule_pb2.Schedule) -> None:
    """Whether the schedule can be read. Raises ApiError INVALID_ARGUMENT saying which part cannot."""
    try:
        match schedule.WhichOneof("ScheduleExpression"):
            case "cron_schedule":
                check_cron(schedule.cron_schedule.schedule)
            case "cron_expression":
                check_cron(schedule.cron_expression)
            case "rate":
                _check_rate(schedule.rate)
            case _:
                pass
    except ValueError as error:
        raise invalid_argument(f"invalid schedule: {error}") from error


def check_cron(expression: str) -> None:
    """Raises ValueError naming the field that is wrong."""
    text = expression.strip()
    if match := _ZONE.fullmatch(text):
        _check_zone(match[1])
        text = match[2].strip()
    if text.startswith("@"):
        if text not in _DESCRIPTORS and not _EVERY.fullmatch(text):
            raise ValueError(f"unrecognized descriptor: {text}")
        return
    if text in _WORDS:
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{expression}]")
    for part, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for item in part.split(","):
            _check_item(item, name, low, high, names)


def _check_rate(rate: schedule_pb2.FixedRate) -> None:
    if rate.value == 0:
        raise ValueError("the value of a fixed rate must be positive")
    if rate.unit not in schedule_pb2.FixedRateUnit.values():
        raise ValueError("the unit of a fixed rate must be MINUTE, HOUR or DAY")


def _check_zone(name: str) -> None:
    if name in ("UTC", "Local"):
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _check_item(item: str, field: str, low: int, high: int, names: Mapping[str, int]) -> None:
    """One item of a list: `*`, `?`, `a`, `a-b`, each with an optional `/step`."""
    span, slash, step = item.partition("/")
    if slash and not (step.isascii() and step.isdecimal() and int(step) > 0):
        raise ValueError(f"{field}: step of {item!r} must be a positive number")
    if span in ("*", "?"):
        return
    first_text, dash, last_text = span.partition("-")
    first = _number(first_text, field, low, high, names)
    last = _number(last_text, field, low, high, names) if dash else first
    if last < first:
        raise ValueError(f"{field}: beginning of range {item!r} beyond its end")


def _number(text: str, field: str, low: int, high: int, names: Mapping[str, int]) -> int:
    value = names.get(text.lower())
    if value is None:
        if not (text.isascii() and text.isdecimal()) or len(text) > 9:
            raise ValueError(f"{field}: {text!r} is no number" + (" or name" if names else ""))
        value = int(text)
    if not low <= value <= high:
        raise ValueError(f"{field}: {value} is not between {low} and {high}")
    return value
