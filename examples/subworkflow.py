"""Workflows inside workflows, named outputs, and the richer types: optional, union, map, enum, datetime, duration.

Run it here:        python examples/subworkflow.py
Run it on Wingbeat: pyflyte run --remote examples/subworkflow.py travel_wf --traveller Ada --pace fast
"""

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from flytekit import task, workflow


class Pace(Enum):
    """How much a traveller wants to see in a day."""

    SLOW = "slow"
    FAST = "fast"


class Leg(NamedTuple):
    """Outputs of one leg, by name."""

    arrival: datetime
    kilometres: int


class Trip(NamedTuple):
    """Outputs of the whole trip, by name."""

    arrival: datetime
    distances: dict[str, int]
    note: str


DEPARTURE = datetime(2026, 5, 1, 8, tzinfo=UTC)


@task
def travel(start: datetime, kilometres: int, pace: Pace) -> Leg:
    """Arrival after driving all the way."""
    hours = kilometres / (100 if pace is Pace.FAST else 50)
    return Leg(arrival=start + timedelta(hours=hours), kilometres=kilometres)


@task
def rest(since: datetime, pause: timedelta) -> datetime:
    """When the traveller goes on."""
    return since + pause


@task
def tabulate(names: list[str], kilometres: list[int]) -> dict[str, int]:
    """Kilometres by name of the leg."""
    return dict(zip(names, kilometres, strict=True))


@task
def describe(traveller: str | None, luggage: int | str, distances: dict[str, int]) -> str:
    """A sentence about the trip. Luggage is a number of bags or a word."""
    who = traveller or "Somebody"
    bags = f"{luggage} bags" if isinstance(luggage, int) else luggage
    return f"{who} went {sum(distances.values())} km with {bags}"


@workflow
def leg_wf(start: datetime, kilometres: int, pace: Pace) -> Leg:
    """Drive, then rest for an hour."""
    arrival, driven = travel(start=start, kilometres=kilometres, pace=pace)
    return Leg(arrival=rest(since=arrival, pause=timedelta(hours=1)), kilometres=driven)


@workflow
def there_and_back_wf(start: datetime, kilometres: int, pace: Pace) -> tuple[datetime, int, int]:
    """Two legs, one after the other: a sub-workflow that holds sub-workflows."""
    there = leg_wf(start=start, kilometres=kilometres, pace=pace)
    back = leg_wf(start=there.arrival, kilometres=there.kilometres, pace=pace)
    return back.arrival, there.kilometres, back.kilometres


@workflow
def travel_wf(
    start: datetime = DEPARTURE,
    kilometres: int = 150,
    pace: Pace = Pace.SLOW,
    traveller: str | None = None,
    luggage: int | str = 2,
) -> Trip:
    """There and back again."""
    arrival, there, back = there_and_back_wf(start=start, kilometres=kilometres, pace=pace)
    distances = tabulate(names=["there", "back"], kilometres=[there, back])
    note = describe(traveller=traveller, luggage=luggage, distances=distances)
    return Trip(arrival=arrival, distances=distances, note=note)


if __name__ == "__main__":
    print(travel_wf())
