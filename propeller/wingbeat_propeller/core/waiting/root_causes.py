"""From nodes along what each waits for, down to those that wait for no other: the root causes."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

from wingbeat_propeller.core.waiting.view import Place, View

NODES_KEPT_MAX = 1_000
"""Nodes of a frame, and root causes, that an answer may choose from; the others are counted."""


class Way(NamedTuple):
    """What lies between nodes and their root causes."""

    pieces: Sequence[Sequence[Place]]
    """Places from the nearest on, frame by frame."""
    roots: Sequence[Place]
    """The first NODES_KEPT_MAX that wait for no other."""
    root_count: int
    node_count: int


def walk_to_roots(view: View, asked: Sequence[Place]) -> Way:
    """All places on the way from those asked about, and those among them that wait for no other.

    Frame by frame, nearest first in each. Workflows may have a hundred thousand nodes, and the engine does nothing else
    meanwhile: so the loop over nodes that were not met deals in numbers alone.
    """
    pieces: list[Sequence[Place]] = []
    roots: list[Place] = []
    root_count = count = 0
    visited: dict[int, bytearray] = {}
    work: dict[int, list[int]] = {}

    def visit(place: Place) -> bool:
        marks = visited.get(place.frame)
        if marks is None:
            marks = visited[place.frame] = bytearray(view.frame(place).plan.size)
        is_new = not marks[place.node]
        marks[place.node] = 1
        return is_new

    for place in asked:
        if visit(place):
            work.setdefault(place.frame, []).append(place.node)
    while work:
        number, nodes = next(iter(work.items()))
        del work[number]
        frame = view.state.frames[number]
        phases, runs, marks, owners = frame.phases, frame.runs, visited[number], frame.plan.owners
        upstream, resting = view.upstream_of(frame.plan), view.resting_in(frame)
        may_rule_out = frame.failing or frame.tainted or frame.plan.failure_node is not None
        for node in nodes:  # the list grows meanwhile
            if phases[node]:
                continue
            is_root = True
            if node in runs:
                for other in view.waits_for(Place(number, node)):
                    is_root = False
                    if visit(other):
                        (nodes if other.frame == number else work.setdefault(other.frame, [])).append(other.node)
            elif node not in resting and not (may_rule_out and view.is_ruled_out(frame, node)):
                for other in upstream[node]:
                    if not phases[other]:
                        is_root = False
                        if not marks[other]:
                            marks[other] = 1
                            nodes.append(other)
                owner = owners[node]
                if owner >= 0 and not view.has_decided(frame, owner):
                    is_root = False
                    if not marks[owner]:
                        marks[owner] = 1
                        nodes.append(owner)
            if is_root:
                root_count += 1
                if len(roots) < NODES_KEPT_MAX:
                    roots.append(Place(number, node))
        count += len(nodes)
        pieces.append([Place(number, node) for node in nodes[:NODES_KEPT_MAX]])
    return Way(pieces, roots, root_count, count)


def choose(asked: Sequence[Place], way: Way, nodes_max: int) -> dict[Place, None]:
    """As many places as there is room for: the first ones, then root causes, for which some room is kept."""
    kept_for_roots = min(len(way.roots), max(1, nodes_max // 4))
    places = dict.fromkeys(chain(asked, chain.from_iterable(way.pieces)))
    chosen = dict.fromkeys(islice(places, nodes_max - kept_for_roots))
    chosen.update(dict.fromkeys(islice((root for root in way.roots if root not in chosen), nodes_max - len(chosen))))
    chosen.update(dict.fromkeys(islice((place for place in places if place not in chosen), nodes_max - len(chosen))))
    return chosen
