"""What the players launch. Echo tasks need no process: the engine gives their inputs back, as o0, o1 and so on.

Among inputs of one type it goes by their names, so those are in order here.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from flytekit import approve, conditional, sleep, wait_for_input, workflow
from flytekit.core.task import Echo
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    """A dataclass, which travels as MessagePack."""

    x: int
    y: float
    label: str


KINDS = {
    "i": int,
    "j": int,
    "f": float,
    "s": str,
    "b": bool,
    "t": datetime,
    "d": timedelta,
    "numbers": list[int],
    "nested": list[dict[str, list[str]]],
    "mapping": dict[str, str],
    "point": Point,
    "color": Color,
    "absent": int | None,
    "either": int | str,
    "file": FlyteFile,
    "folder": FlyteDirectory,
    "table": StructuredDataset,
    "loose": dict,
}

every_kind = Echo(name="conformance.every_kind", inputs=KINDS)
text = Echo(name="conformance.text", inputs={"s": str})
number = Echo(name="conformance.number", inputs={"n": int})
numbers = Echo(name="conformance.numbers", inputs={"n": list[int]})


@workflow
def never() -> None:
    """Waits for an hour."""
    sleep(timedelta(hours=1))


@workflow
def refuses(n: int) -> int:
    """Fails for numbers below zero, without a process."""
    return conditional("sign").if_(n >= 0).then(number(n=n)).else_().fail("numbers below zero are refused")


@workflow
def gated(n: int) -> tuple[int, list[int]]:
    """Waits for a yes, and for some numbers."""
    amounts = wait_for_input("amounts", timeout=timedelta(hours=1), expected_type=list[int])
    return number(n=approve(number(n=n), "fine", timeout=timedelta(hours=1))), numbers(n=amounts)


PROGRAMS = (every_kind, text, number, numbers, never, refuses, gated)
MANIFEST = """\
{"@key": "one", "n": 1}
{"@key": "two", "n": "no number"}
{"@key": "three", "n": 3}
"""
