"""Tells whether a plan of PostgreSQL counts on finding early what it looks for.

For the newest few of many matches it reads executions one after another until it has enough. Where those that match are
none of the newest, or of another project, it reads them all: it knows how many there are, and nothing of where. So such
a plan gets a short while; then the question is planned anew without it (see reader.py), to find what matches by its
indexes and sort that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

Plan: TypeAlias = Mapping[str, object]
"""A node of EXPLAIN (FORMAT json)."""

COST_MIN = 10_000.0
"""What reading to the end must cost, in the planner's units, to be worth a second plan: some 50 ms."""
_SHARE_MAX = 0.5
"""What of it is thought to be enough."""


def counts_on_luck(plan: Plan) -> bool:
    """Whether a part of the plan stops early, as the planner believes, and reads some index in order until then."""
    return any(
        node["Node Type"] == "Limit"
        and _cost(child) > COST_MIN
        and _cost(node) < _cost(child) * _SHARE_MAX
        and any(below["Node Type"] == "Index Scan" for below in _nodes(child))
        for node in _nodes(plan)
        for child in _children(node)
    )


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in _children(plan):
        yield from _nodes(child)


def _children(plan: Plan) -> Sequence[Plan]:
    return cast("Sequence[Plan]", plan.get("Plans", ()))


def _cost(plan: Plan) -> float:
    return cast("float", plan["Total Cost"])
