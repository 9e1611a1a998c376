"""An execution while it runs: changes of its nodes as they come, live on a terminal, one line each otherwise."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wingbeat.cli.output import escape, say
from wingbeat.cli.phases import error_text, phase_cell
from wingbeat.cli.times import show_span, show_time
from wingbeat.errors import UnimplementedError
from wingbeat.executions import Execution, NodePhase, Phase
from wingbeat.identifiers import ExecutionId

if TYPE_CHECKING:
    from rich.console import RenderableType

    from wingbeat import Client

_POLL_S = 1.0
_NODES_POLLED_MAX = 1_000
_LINES = 20
_HIDDEN = {"start-node", "end-node"}


@dataclass(frozen=True, slots=True)
class Change:
    """A node, or with an empty id the execution, has come into a phase."""

    node: str
    phase: Phase | NodePhase
    at: datetime
    name: str = ""
    parent: str = ""
    message: str = ""
    is_final: bool = False


def follow(client: "Client", execution: ExecutionId, *, quiet: bool = False) -> Execution:
    """Show how an execution goes on until it has ended; how it did. `quiet`: show nothing."""
    if quiet:
        return client.wait(execution)
    if sys.stdout.isatty():
        _show_live(execution, changes(client, execution))
    else:
        for change in changes(client, execution):
            say(_line(change))
    ended = client.wait(execution)
    say(summary(ended))
    return ended


def summary(execution: Execution) -> str:
    """How an execution ended, in a line, and why in another."""
    took = f" after {show_span(execution.duration)}" if execution.duration is not None else ""
    reason = ""
    if execution.failure and execution.failure.message:
        reason = f"\n  {escape(execution.failure.message.strip())}"
    return f"[bold]{escape(str(execution.id))}[/] {phase_cell(execution.phase)}{took}{reason}"


def changes(client: "Client", execution: ExecutionId) -> Iterator[Change]:
    """All changes from the beginning to the end of the execution, by the server's stream, else by looking again."""
    from wingbeat import Level

    stream = client.watch([execution], levels=[Level.EXECUTION, Level.NODE], from_oldest=True)
    try:
        for one in stream:
            message = one.failure.message if one.failure else ""
            assert isinstance(one.phase, Phase | NodePhase), "no attempts were asked for"
            name, parent = one.node_name, one.message.node.parent_node_id
            yield Change(one.node, one.phase, one.at, name, parent, message, one.is_final)
            if not one.node and one.is_final:
                return
    except UnimplementedError:
        yield from _polled(client, execution)


def _polled(client: "Client", execution: ExecutionId) -> Iterator[Change]:
    seen: dict[str, Phase | NodePhase] = {}
    while True:
        found = client.execution(execution)
        for node in client.nodes(execution, limit=_NODES_POLLED_MAX):
            if seen.get(node.id) is not node.phase:
                seen[node.id] = node.phase
                at = node.updated_at or datetime.now(UTC)
                yield Change(node.id, node.phase, at, node.name, "", node.failure.message if node.failure else "")
        if seen.get("") is not found.phase:
            seen[""] = found.phase
            at = found.updated_at or datetime.now(UTC)
            message = found.failure.message if found.failure else ""
            yield Change("", found.phase, at, message=message, is_final=found.ended)
        if found.ended:
            return
        time.sleep(_POLL_S)


def _line(change: Change) -> str:
    what = escape(_title(change)) if change.node else "[bold]execution[/]"
    why = f": {escape(error_text(change.message)[:300])}" if change.message else ""
    return f"{show_time(change.at, beside=datetime.now(UTC))} {what} {phase_cell(change.phase)}{why}"


def _title(change: Change) -> str:
    return change.node if change.name in ("", change.node) else f"{change.node} ({change.name})"


class _Board:
    """What is drawn again and again: nodes that run, those that ended last, and how many there are of each phase."""

    def __init__(self, execution: ExecutionId) -> None:
        self._execution = execution
        self._phase: Phase | NodePhase = Phase.CREATED
        self._nodes: dict[str, Change] = {}
        self._begun: dict[str, datetime] = {}

    def take(self, change: Change) -> None:
        """Take a change in."""
        if not change.node:
            self._phase = change.phase
        elif change.node not in _HIDDEN:
            self._begun.setdefault(change.node, change.at)
            self._nodes.pop(change.node, None)
            self._nodes[change.node] = change

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table

        now = datetime.now(UTC)
        table = Table(box=None, pad_edge=False, show_header=False)
        for column in range(3):
            table.add_column(no_wrap=column != 0)
        alive = [one for one in self._nodes.values() if not _ended(one)]
        ended = [one for one in self._nodes.values() if _ended(one)]
        room = max(_LINES - len(alive), 5)
        for one in [*ended[-room:], *alive[:_LINES]]:
            until = one.at if _ended(one) else now
            table.add_row(escape(_title(one)), phase_cell(one.phase), show_span(until - self._begun[one.node]))
        return Group(f"[bold]{escape(str(self._execution))}[/] {phase_cell(self._phase)}  {self._counts()}", table)

    def _counts(self) -> str:
        from collections import Counter

        counts = Counter(one.phase.name for one in self._nodes.values())
        return "[dim]" + ", ".join(f"{count} {name}" for name, count in counts.most_common()) + "[/]"


def _ended(change: Change) -> bool:
    return isinstance(change.phase, NodePhase) and change.phase.ended


def _show_live(execution: ExecutionId, found: Iterator[Change]) -> None:
    from rich.live import Live

    board = _Board(execution)
    with Live(board, refresh_per_second=4, transient=True):
        for change in found:
            board.take(change)
