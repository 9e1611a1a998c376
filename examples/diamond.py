"""Four tasks in a diamond: one writes a file, two read it side by side, the last joins what they found.

    record_readings ──┬── find_warmest ──┬── write_report
                      └── summarise ─────┘

Lists, dataclasses and a file travel along the edges.

Run it here:        python examples/diamond.py
Run it on Wingbeat: pyflyte run --remote examples/diamond.py diamond_wf --days 7
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from flytekit import current_context, task, workflow
from flytekit.types.file import FlyteFile


@dataclass
class Reading:
    """A temperature measured on one day."""

    day: int
    celsius: float


@dataclass
class Summary:
    """All readings in three numbers."""

    count: int
    mean: float
    highest: float


@task
def record_readings(days: int) -> FlyteFile:
    """Write one made-up reading a day as CSV."""
    path = Path(current_context().working_directory) / "readings.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows((day, 10.0 + (day * 7) % 5) for day in range(days))
    return FlyteFile(str(path))


@task
def find_warmest(readings: FlyteFile, count: int) -> list[Reading]:
    """The `count` warmest days, warmest first."""
    return sorted(_read(readings), key=lambda reading: (-reading.celsius, reading.day))[:count]


@task
def summarise(readings: FlyteFile) -> Summary:
    """Count, mean and maximum."""
    celsius = [reading.celsius for reading in _read(readings)]
    return Summary(count=len(celsius), mean=sum(celsius) / len(celsius), highest=max(celsius))


@task
def write_report(warmest: list[Reading], summary: Summary) -> FlyteFile:
    """Join both sides in a text file."""
    path = Path(current_context().working_directory) / "report.txt"
    days = ", ".join(f"day {reading.day} ({reading.celsius:.1f} °C)" for reading in warmest)
    path.write_text(f"{summary.count} readings, mean {summary.mean:.2f} °C; warmest: {days}\n", encoding="utf-8")
    return FlyteFile(str(path))


@workflow
def diamond_wf(days: int = 7, count: int = 2) -> tuple[FlyteFile, Summary, list[Reading]]:
    """Record, look at it from two sides, report."""
    readings = record_readings(days=days)
    warmest = find_warmest(readings=readings, count=count)
    summary = summarise(readings=readings)
    return write_report(warmest=warmest, summary=summary), summary, warmest


def _read(readings: FlyteFile) -> list[Reading]:
    with open(readings, newline="") as file:
        return [Reading(day=int(day), celsius=float(celsius)) for day, celsius in csv.reader(file)]


if __name__ == "__main__":
    report, summary, warmest = diamond_wf()
    print(Path(report).read_text(encoding="utf-8"), summary, warmest, sep="\n")
