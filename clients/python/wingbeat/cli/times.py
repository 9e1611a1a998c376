"""Instants as people type and read them."""

import re
from datetime import datetime, timedelta

_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_time(text: str, now: datetime) -> datetime:
    """`2026-05-01T12:00:00+02:00`, local time when no zone is given, or how long ago: `90s`, `1h30m`, `2d`; `now`.

    `now` has a zone, and so has the result. Raises ValueError.
    """
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago is not None and text:
        days, hours, minutes, seconds = (float(part or 0) for part in ago.groups())
        return now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"'{text}' is no time; write 2026-05-01T12:00:00 (local, or with a zone), or how long ago: 90s, 1h30m"
        ) from None
    return moment.astimezone()


def show_time(moment: datetime, *, beside: datetime | None = None, zone: bool = False) -> str:
    """Local time to the millisecond, without the date when it is the day of `beside`; `zone` names the zone, too."""
    local = moment.astimezone()
    clock = f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}" + (f" {local:%Z}" if zone else "")
    if beside is not None and beside.astimezone().date() == local.date():
        return clock
    return f"{local:%Y-%m-%d} {clock}"


def show_span(span: timedelta) -> str:
    """A length of time in its two largest units: `3 h 5 min`, `12 s`, `40 ms`."""
    seconds = abs(span.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{number} {unit}" for number, unit in units if number]
    return " ".join(shown[:2])
