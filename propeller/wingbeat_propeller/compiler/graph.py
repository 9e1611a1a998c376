"""The edges of one workflow and what follows from them: connections, cycles, nodes that nothing leads to.

Nothing recurses, so chains may be as long as they like, and each edge is looked at a fixed number of times.
"""

from collections.abc import Iterable, Mapping, Sequence

from flyteidl.core import compiler_pb2

from wingbeat_propeller.compiler.binding_types import END_ID, START_ID
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector

_NAMES_MAX = 20
"""Node ids listed in one message."""


class WorkflowGraph:
    """Edges between the nodes of one workflow, collected while its bindings are read.

    Nodes inside branches and the failure node are no part of the flow: they only have upstream entries. What the arms
    of a branch read still counts for the branch when cycles are looked for, since the branch cannot end without it.
    """

    def __init__(self, node_ids: Sequence[str]) -> None:
        self._node_ids = tuple(node_ids)
        self._downstream: dict[str, set[str]] = {}
        self._upstream: dict[str, set[str]] = {}
        self._hidden: dict[str, set[str]] = {}

    def connect(self, upstream: Iterable[str], node_id: str) -> None:
        """A node of the workflow (or the end node) follows others."""
        for source in upstream:
            self._downstream.setdefault(source, set()).add(node_id)
            self._upstream.setdefault(node_id, set()).add(source)

    def connect_inner(self, upstream: Iterable[str], node_id: str, *, within: str | None) -> None:
        """A node inside the branch `within` reads others; `within` None stands for the failure node."""
        for source in upstream:
            self._upstream.setdefault(node_id, set()).add(source)
            if within is not None:
                self._hidden.setdefault(source, set()).add(within)

    def close(self) -> None:
        """Hang nodes without upstream onto the start node and those without downstream onto the end node."""
        for node_id in self._node_ids:
            if node_id not in self._upstream:
                self.connect((START_ID,), node_id)
            if node_id not in self._downstream:
                self.connect((node_id,), END_ID)

    def connections(self) -> compiler_pb2.ConnectionSet:
        """The edges as a message, ids sorted."""
        message = compiler_pb2.ConnectionSet()
        for node_id, targets in self._downstream.items():
            message.downstream[node_id].ids.extend(sorted(targets))
        for node_id, sources in self._upstream.items():
            message.upstream[node_id].ids.extend(sorted(sources))
        return message

    def check(self, errors: ErrorCollector) -> None:
        """Report cycles, and nodes that the start node does not lead to. Call after `close`."""
        targets = {
            node_id: self._downstream.get(node_id, set()) | self._hidden.get(node_id, set())
            for node_id in (START_ID, *self._node_ids, END_ID)
        }
        reached = _reachable(targets)
        unreachable = [node_id for node_id in self._node_ids if node_id not in reached]
        if unreachable:
            errors.report(
                ErrorCode.UNREACHABLE_NODES,
                unreachable[0],
                f"The workflow contains unreachable nodes [{_listed(unreachable, ', ')}], part of or behind a cycle",
            )
        cycle = _find_cycle(targets, reached)
        if cycle:
            errors.report(
                ErrorCode.CYCLE_DETECTED,
                cycle[0],
                f"A cycle has been detected in the workflow [{_listed([*cycle, cycle[0]], ' > ')}]",
            )


def _reachable(targets: Mapping[str, set[str]]) -> set[str]:
    reached = {START_ID}
    pending = [START_ID]
    while pending:
        for target in targets[pending.pop()]:
            if target not in reached:
                reached.add(target)
                pending.append(target)
    return reached


def _find_cycle(targets: Mapping[str, set[str]], reached: set[str]) -> list[str]:
    """Node ids of a cycle among `reached`, in order from the smallest, empty when there is none."""
    sources: dict[str, set[str]] = {node_id: set() for node_id in reached}
    for node_id in reached:
        for target in targets[node_id]:
            sources[target].add(node_id)
    waiting = {node_id: len(origins) for node_id, origins in sources.items()}
    ready = [node_id for node_id, count in waiting.items() if count == 0]
    while ready:
        for target in targets[ready.pop()]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    stuck = {node_id for node_id, count in waiting.items() if count > 0}
    if not stuck:
        return []
    # Each stuck node has a stuck source, so walking backwards meets some node twice.
    position: dict[str, int] = {}
    path: list[str] = []
    current = min(stuck)
    while current not in position:
        position[current] = len(path)
        path.append(current)
        current = min(sources[current] & stuck)
    cycle = path[position[current] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def _listed(node_ids: Sequence[str], separator: str) -> str:
    if len(node_ids) <= _NAMES_MAX:
        return separator.join(node_ids)
    half = _NAMES_MAX // 2
    rest = f"... {len(node_ids) - 2 * half} more ..."
    return separator.join([*node_ids[:half], rest, *node_ids[-half:]])
