"""The walk over values of many executions, level by level, up or down.

A level is settled in batches: what the graphs of its executions say (`execution_graph`), then whatever leads to other
executions, until every way has come to a step. Steps are met in an order that follows from the rows alone, so a later
page finds the same ones at the same places.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from wingbeat_catalog.lineage.eager import eager_nodes, launchers
from wingbeat_catalog.lineage.execution_graph import DynamicTask, ExecutionGraph, Made, Outcome, Reading, ToChild, Value
from wingbeat_catalog.lineage.store import LineageStore, LoadedExecution, NodeKey, Row
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import LineageKind

STEPS_MAX = 10_000
"""Steps that one trace takes at most."""
FAN_MAX = 10_000
"""Ways out of one level to other executions, of each kind."""
NODES_MAX = 500_000
"""Nodes of all executions together that one trace looks through: their rows stay in memory meanwhile."""
_LOADED_AT_ONCE = 100
"""Executions whose rows are read by one statement."""
_CROSSINGS_MAX = 1_000
"""Executions within executions that one way may pass before it comes to a step."""


class Direction(IntEnum):
    """Which way to walk; the numbers are those of the proto."""

    UP = 1
    DOWN = 2


class LinkKind(IntEnum):
    """How a value came into a step; the numbers are those of the proto."""

    BINDING = 1
    CHILD = 2
    CACHED = 3
    RECOVERED = 4
    BLOB = 5
    HASH = 6
    ARTIFACT = 7
    DYNAMIC = 8
    EAGER = 9


class Link(NamedTuple):
    """A way from a value into a step."""

    kind: LinkKind
    variable: str
    """Of the step; empty for outputs taken over as a whole."""
    execution: int
    """Where the value is."""
    value: Value
    by: str = ""


@dataclass(slots=True)
class Step:
    """A node that makes something, or with an empty node id the inputs of an execution."""

    execution: int
    node_id: str
    depth: int
    links: dict[Link, None] = field(default_factory=dict[Link, None])


@dataclass(slots=True)
class Trace:
    """Steps, nearest first, and the executions they belong to."""

    steps: dict[NodeKey, Step] = field(default_factory=dict[NodeKey, Step])
    loaded: dict[int, LoadedExecution] = field(default_factory=dict[int, LoadedExecution])
    is_cut: bool = False


class Start(NamedTuple):
    """A value, and what a step that takes it would say of where it came from."""

    execution: int
    value: Value
    link: Link | None = None
    is_outcome: bool = False
    """The value is output `value.var` of the execution, whose node is not known yet."""


class _WayUp(NamedTuple):
    """On the way to a step: into `taker` (None: the question itself), found in an execution."""

    taker: Step | None
    kind: LinkKind
    variable: str
    by: str
    execution: int
    found: Made | Outcome


class _WayDown(NamedTuple):
    """On the way down: from a value, met as something in an execution."""

    link: Link
    execution: int
    met: Reading | ToChild | Outcome


class Walk:
    """One trace. Raises OSError."""

    def __init__(self, store: LineageStore, depth: int) -> None:
        self._store = store
        self._depth = depth
        self.trace = Trace()
        self._seen: set[tuple[int, Value]] = set()
        self._asked: set[int] = set()
        self._nodes_left = NODES_MAX

    async def load(self, executions: Iterable[int]) -> None:
        """Make the graphs of executions known, as far as there are any, and as there is room for them."""
        unknown = sorted(set(executions) - self._asked)
        self._asked.update(unknown)
        for start in range(0, len(unknown), _LOADED_AT_ONCE):
            loaded, is_cut = await self._store.load(unknown[start : start + _LOADED_AT_ONCE], self._nodes_left)
            self._nodes_left -= sum(len(found.graph.rows) for found in loaded.values())
            self.trace.loaded.update(loaded)
            if is_cut:
                self.trace.is_cut = True
                break

    def _all(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of which at most FAN_MAX were asked for: if there are as many, there may be more."""
        self.trace.is_cut |= len(rows) == FAN_MAX
        return rows

    def graph(self, execution: int) -> ExecutionGraph | None:
        """The graph of an execution that was loaded."""
        loaded = self.trace.loaded.get(execution)
        return None if loaded is None else loaded.graph

    # ---- up ----

    async def up(self, starts: Sequence[Start]) -> Trace:
        """What values were made from."""
        await self.load(start.execution for start in starts)
        ways = [
            _WayUp(
                None,
                LinkKind.BINDING,
                "",
                "",
                start.execution,
                Outcome(start.value.var) if start.is_outcome else start.value,
            )
            for start in starts
        ]
        level = await self._settle_up(ways, 1)
        depth = 1
        while level and not self.trace.is_cut:
            if depth == self._depth:
                self.trace.is_cut = bool(await self._ways_up(level))
                break
            depth += 1
            level = await self._settle_up(await self._ways_up(level), depth)
        return self.trace

    async def _ways_up(self, level: Sequence[tuple[Step, Value]]) -> list[_WayUp]:
        """What leads into the steps of a level."""
        ways: list[_WayUp] = []
        nodes = {(step.execution, step.node_id): step for step, _ in level if step.node_id}
        taken: set[NodeKey] = set()
        sources = self._all(await self._store.sources(nodes, FAN_MAX))
        await self.load(row["source_execution_id"] for row in sources)
        for row in sources:
            key = (row["execution_id"], row["node_id"])
            kind = _taken(row["kind"])
            if self._is_whole(key, kind):
                taken.add(key)
            value = Value(row["source_node_id"], "")
            ways.append(_WayUp(nodes[key], kind, "", "", row["source_execution_id"], value))
        for key, step in nodes.items():
            graph = self.graph(step.execution)
            if graph is None or key in taken:
                continue
            ways += [
                _WayUp(step, LinkKind.BINDING, var, "", step.execution, found)
                for var, found in graph.inputs(step.node_id)
            ]
        ways += [
            _WayUp(nodes[key], LinkKind.EAGER, "", "", child, Outcome("")) for key, child in await self._launched(nodes)
        ]
        ways += await self._ways_into_executions([(step, value.var) for step, value in level if not step.node_id])
        return ways

    async def _ways_into_executions(self, inputs: Sequence[tuple[Step, str]]) -> list[_WayUp]:
        ways: list[_WayUp] = []
        parents = {step.execution: self.trace.loaded[step.execution].row for step, _ in inputs}
        await self.load(row["parent_execution_id"] for row in parents.values() if row["parent_node_id"])
        rest: dict[tuple[int, str], Step] = {}
        for step, var in inputs:
            row = parents[step.execution]
            around = self.graph(row["parent_execution_id"]) if row["parent_node_id"] else None
            if around is None:
                rest[step.execution, var] = step
                continue
            ways += [
                _WayUp(step, LinkKind.CHILD, name, "", row["parent_execution_id"], found)
                for name, found in around.inputs(row["parent_node_id"])
                if name == var or not var
            ]
        executions = {execution for execution, _ in rest}
        by_eager = await self._launchers(executions)
        ways += [
            _WayUp(step, LinkKind.EAGER, var, "", parent, Value(node_id, ""))
            for (execution, var), step in rest.items()
            for parent, node_id in by_eager.get(execution, ())
        ]
        wanted = {(step.execution, var): step for step, var in inputs}
        makers = self._all(await self._store.makers_of_inputs(executions, FAN_MAX))
        artifacts = await self._store.artifacts_of_inputs(parents)
        await self.load([row["maker_execution_id"] for row in (*makers, *artifacts)])
        for row in artifacts:
            by = f"{row['name']}@{row['version']}"
            value = Value(row["maker_node_id"], row["maker_var"]) if row["maker_node_id"] else Outcome(row["maker_var"])
            ways += [
                _WayUp(step, LinkKind.ARTIFACT, row["var"], by, row["maker_execution_id"], value)
                for step in _taking(wanted, row["execution_id"], row["var"])
            ]
        for row in makers:
            kind, by = _token(row["token"])
            value = Value(row["maker_node_id"], row["maker_var"])
            ways += [
                _WayUp(step, kind, row["var"], by, row["maker_execution_id"], value)
                for step in _taking(rest, row["execution_id"], row["var"])
            ]
        return ways

    async def _settle_up(self, ways: Sequence[_WayUp], depth: int) -> list[tuple[Step, Value]]:
        """Follow ways to the values that were made; returns steps met anew, with the value that led there."""
        met: list[tuple[Step, Value]] = []
        pending: list[_WayUp] = list(ways)
        for _ in range(_CROSSINGS_MAX):
            crossings: list[tuple[_WayUp, ToChild]] = []
            for way in pending:
                for found in self._made(way):
                    if isinstance(found, ToChild):
                        crossings.append((way, found))
                    elif isinstance(found, DynamicTask):
                        fixed = way._replace(kind=LinkKind.DYNAMIC)
                        self._meet_up(fixed, Value(found.node_id, ""), depth, met)
                    else:
                        self._meet_up(way, found, depth, met)
            if not crossings:
                break
            children = await self._store.children((way.execution, found.node_id) for way, found in crossings)
            await self.load(child for found in children.values() for child in found)
            pending = []
            for way, found in crossings:
                inside = children.get((way.execution, found.node_id), ())
                for child in inside[-1:]:  # the one of the last attempt
                    pending.append(way._replace(kind=_crossed(way.kind), execution=child, found=Outcome(found.var)))
                if not inside:
                    self._meet_up(way, Value(found.node_id, found.var), depth, met)
        else:
            self.trace.is_cut = True
        return met

    def _made(self, way: _WayUp) -> Iterator[Made]:
        graph = self.graph(way.execution)
        match way.found:
            case Value(node_id="") | ToChild() | DynamicTask():
                yield way.found
            case Value() if graph is not None:
                yield from graph.makers(way.found)
            case Outcome(var=var) if graph is not None:
                yield from graph.outcome_makers(var)
            case _:
                return

    def _meet_up(self, way: _WayUp, value: Value, depth: int, met: list[tuple[Step, Value]]) -> None:
        if way.taker is not None:
            way.taker.links[Link(way.kind, way.variable, way.execution, value, way.by)] = None
        step = self._step(way.execution, value.node_id, depth)
        seen = (way.execution, value if not value.node_id else Value(value.node_id, ""))
        if step is not None and seen not in self._seen:
            self._seen.add(seen)
            met.append((step, value))

    def _is_whole(self, key: NodeKey, kind: LinkKind) -> bool:
        """Whether all of a node was taken over, and not some elements of a map."""
        graph = self.graph(key[0])
        row = None if graph is None else graph.rows.get(key[1])
        if row is not None and kind is LinkKind.CACHED:
            return row.kind != NodeKind.ARRAY
        return row is not None and row.phase == NodePhase.RECOVERED

    # ---- down ----

    async def down(self, starts: Sequence[Start]) -> Trace:
        """What was made from values."""
        await self.load(start.execution for start in starts)
        level: list[tuple[int, Value]] = []
        first: list[_WayDown] = []
        for start in starts:
            if start.link is not None:  # the execution that has it as an input is the first step
                first.append(_WayDown(start.link, start.execution, Reading("", start.value.var)))
            elif start.is_outcome:
                link = Link(LinkKind.BINDING, "", start.execution, start.value)
                first.append(_WayDown(link, start.execution, Outcome(start.value.var)))
                level += await self._made_at(start.execution, Outcome(start.value.var))
            else:
                level.append((start.execution, start.value))
                level += await self._made_at(start.execution, start.value)
        level = [value for value in dict.fromkeys(level) if value not in self._seen]
        self._seen.update(level)
        ways = first + await self._ways_down(level)
        depth = 1
        while ways:
            if depth > self._depth:
                self.trace.is_cut = True
                break
            level = await self._settle_down(ways, depth)
            if self.trace.is_cut:
                break
            ways = await self._ways_down(level)
            depth += 1
        return self.trace

    async def _made_at(self, execution: int, found: Value | Outcome) -> list[tuple[int, Value]]:
        """The outputs that a value handed on is, where they were made."""
        taker = Step(execution, "", 0)
        await self._settle_up_into(_WayUp(taker, LinkKind.BINDING, "", "", execution, found))
        return [(link.execution, link.value) for link in taker.links if link.value.node_id]

    async def _settle_up_into(self, way: _WayUp) -> None:
        """Only the links of `way.taker` are wanted."""
        steps, seen = dict(self.trace.steps), set(self._seen)
        await self._settle_up([way], 0)
        self.trace.steps, self._seen = steps, seen

    async def _ways_down(self, level: Sequence[tuple[int, Value]]) -> list[_WayDown]:
        """What leads away from values. Values of all outputs of a node are given one by one."""
        ways: list[_WayDown] = []
        values = list(level)
        for execution, value in values:
            graph = self.graph(execution)
            if graph is None:
                continue
            link = Link(LinkKind.BINDING, "", execution, value)
            ways += [_WayDown(link, execution, met) for met in graph.readers(value)]
            if value.node_id:
                inside = Link(LinkKind.DYNAMIC, "", execution, Value(value.node_id, ""))
                ways += [_WayDown(inside, execution, met) for met in graph.made_inside(value.node_id)]
        made: dict[NodeKey, set[str]] = {
            (execution, value.node_id): set() for execution, value in values if value.node_id
        }
        for execution, value in values:
            if value.node_id:
                made[execution, value.node_id].add(value.var)
        ways += [
            _WayDown(Link(LinkKind.EAGER, "", execution, Value(node_id, "")), child, Reading("", ""))
            for (execution, node_id), child in await self._launched(made)
        ]
        ways += await self._ways_by_rows(made)
        return ways

    async def _ways_by_rows(self, made: dict[NodeKey, set[str]]) -> list[_WayDown]:
        """To nodes that took outputs over, and to executions that were given them."""
        ways: list[_WayDown] = []
        takers = self._all(await self._store.takers(made, FAN_MAX))
        users = self._all(await self._store.users_of_outputs(made, FAN_MAX))
        artifacts = self._all(await self._store.users_of_artifacts(made, FAN_MAX))
        others = [row["execution_id"] for row in takers]
        others += [row["user_execution_id"] for row in (*users, *artifacts)]
        await self.load(others)
        for row in takers:
            source = Value(row["source_node_id"], "")
            link = Link(_taken(row["kind"]), "", row["source_execution_id"], source)
            ways.append(_WayDown(link, row["execution_id"], Reading(row["node_id"], "")))
        for row in (*users, *artifacts):
            wanted = made[row["execution_id"], row["node_id"]]
            if row["var"] not in wanted and "" not in wanted:
                continue
            is_artifact = "token" not in row
            kind, by = (LinkKind.ARTIFACT, f"{row['name']}@{row['version']}") if is_artifact else _token(row["token"])
            link = Link(kind, "", row["execution_id"], Value(row["node_id"], row["var"]), by)
            ways.append(_WayDown(link, row["user_execution_id"], Reading("", row["user_var"])))
        return ways

    async def _settle_down(self, ways: Sequence[_WayDown], depth: int) -> list[tuple[int, Value]]:
        """Follow ways to steps; returns the values that the steps met anew have made."""
        values: list[tuple[int, Value]] = []
        pending = list(ways)
        outcomes: set[tuple[Link, int, str]] = set()
        for _ in range(_CROSSINGS_MAX):
            into: list[tuple[Link, int, ToChild]] = []
            out: list[tuple[Link, int, str]] = []
            for link, execution, met in pending:
                match met:
                    case Reading():
                        self._meet_down(link, execution, met, depth, values)
                    case ToChild():
                        into.append((link, execution, met))
                    case Outcome(var=var) if (link, execution, var) not in outcomes:
                        outcomes.add((link, execution, var))
                        out.append((link, execution, var))
                    case _:
                        pass
            pending = [*await self._into_children(into), *await self._out_of_executions(out)]
            if not pending:
                break
        else:
            self.trace.is_cut = True
        return values

    async def _into_children(self, ways: Sequence[tuple[Link, int, ToChild]]) -> list[_WayDown]:
        children = await self._store.children((execution, met.node_id) for _, execution, met in ways)
        await self.load(child for found in children.values() for child in found)
        pending: list[_WayDown] = []
        for link, execution, met in ways:
            found = children.get((execution, met.node_id), ())
            pending += [_WayDown(link._replace(kind=LinkKind.CHILD), child, Reading("", met.var)) for child in found]
            if not found:
                pending.append(_WayDown(link, execution, Reading(met.node_id, met.var)))
        return pending

    async def _out_of_executions(self, ways: Sequence[tuple[Link, int, str]]) -> list[_WayDown]:
        """To where the parent goes on with an output, and to executions that were given it as an artifact."""
        rows = {execution: self.trace.loaded[execution].row for _, execution, _ in ways}
        await self.load(row["parent_execution_id"] for row in rows.values() if row["parent_node_id"])
        artifacts = self._all(await self._store.users_of_artifacts([(execution, "") for execution in rows], FAN_MAX))
        await self.load(row["user_execution_id"] for row in artifacts)
        by_eager = await self._launchers(key for key, row in rows.items() if not row["parent_node_id"])
        pending: list[_WayDown] = []
        for link, execution, var in ways:
            row = rows[execution]
            pending += [
                _WayDown(link._replace(kind=LinkKind.EAGER), parent, Reading(node_id, ""))
                for parent, node_id in by_eager.get(execution, ())
            ]
            around = self.graph(row["parent_execution_id"]) if row["parent_node_id"] else None
            if around is not None:
                crossed = link._replace(kind=LinkKind.CHILD)
                pending += [
                    _WayDown(crossed, row["parent_execution_id"], met)
                    for met in around.readers(Value(row["parent_node_id"], var))
                ]
            for use in artifacts:
                if use["execution_id"] == execution and use["var"] == var:
                    by = f"{use['name']}@{use['version']}"
                    given = link._replace(kind=LinkKind.ARTIFACT, by=by)
                    pending.append(_WayDown(given, use["user_execution_id"], Reading("", use["user_var"])))
        return pending

    def _meet_down(self, link: Link, execution: int, met: Reading, depth: int, values: list[tuple[int, Value]]) -> None:
        step = self._step(execution, met.node_id, depth)
        graph = self.graph(execution)
        if step is None or graph is None:
            return
        kind = LinkKind.DYNAMIC if met.is_dynamic else link.kind
        step.links[link._replace(kind=kind, variable=met.var)] = None
        names = [met.var] if met.var and not met.node_id else graph.made_outputs(met.node_id)
        for name in names or [""]:
            value = (execution, Value(met.node_id, name))
            if value not in self._seen:
                self._seen.add(value)
                values.append(value)

    # ---- both ----

    async def _launched(self, nodes: Iterable[NodeKey]) -> list[tuple[NodeKey, int]]:
        """Executions that nodes with eager tasks launched."""
        eager: defaultdict[int, set[str]] = defaultdict(set)
        for execution, node_id in nodes:
            eager[execution].add(node_id)
        for execution in list(eager):
            graph = self.graph(execution)
            eager[execution] &= set() if graph is None else set(eager_nodes(graph))
        rows = self._all(await self._store.launched_by_eager((key for key, found in eager.items() if found), FAN_MAX))
        await self.load(row["id"] for row in rows)
        return [
            ((row["parent_id"], node_id), row["id"])
            for row in rows
            for node_id in self._launching(row)
            if node_id in eager[row["parent_id"]]
        ]

    async def _launchers(self, children: Iterable[int]) -> dict[int, list[NodeKey]]:
        """The nodes with eager tasks that launched executions."""
        rows = await self._store.eager_launchers(children)
        await self.load(row["parent_id"] for row in rows)
        return {row["id"]: [(row["parent_id"], node_id) for node_id in self._launching(row)] for row in rows}

    def _launching(self, row: Row) -> Sequence[str]:
        graph = self.graph(row["parent_id"])
        return () if graph is None else launchers(graph, row["parent_name"], row["name"], row["created_at"])

    def _step(self, execution: int, node_id: str, depth: int) -> Step | None:
        """The step, made when it is met first; None when the trace is full or nobody knows the execution."""
        key = (execution, node_id)
        step = self.trace.steps.get(key)
        if step is None and execution in self.trace.loaded:
            if len(self.trace.steps) == STEPS_MAX:
                self.trace.is_cut = True
                return None
            step = self.trace.steps[key] = Step(execution, node_id, depth)
        return step


def _taking(rest: dict[tuple[int, str], Step], execution: int, var: str) -> list[Step]:
    """Steps for whom that variable of the execution matters; an empty name means all of them."""
    found = [step for (key, name), step in rest.items() if key == execution and (name == var or not name or not var)]
    return found[:1]


def _taken(kind: int) -> LinkKind:
    return LinkKind.CACHED if kind == LineageKind.CACHED else LinkKind.RECOVERED


def _crossed(kind: LinkKind) -> LinkKind:
    return LinkKind.CHILD if kind is LinkKind.BINDING else kind


def _token(token: str) -> tuple[LinkKind, str]:
    kind, _, text = token.partition(":")
    return (LinkKind.HASH if kind == "hash" else LinkKind.BLOB), text
