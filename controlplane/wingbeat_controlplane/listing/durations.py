"""Durations as Go writes them (`1h5m`, `90s`, `1.5h`), which is what users of Flyte know."""

import re

_WHOLE = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|μs|ms|s|m|h))+)")
_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def go_duration_s(text: str) -> float | None:
    """Seconds of a Go duration, None when it is none. Digits without a unit are none either."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(match[2]))
    return -seconds if match[1] == "-" else seconds
