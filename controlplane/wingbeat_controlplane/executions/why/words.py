"""Words for the sentences of `why`: nodes, holders, times, numbers. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from wingbeatidl.query.v1 import identity_pb2, why_pb2

LISTED_MAX = 4
"""Things that a sentence names before it counts the rest."""
ERROR_LENGTH_MAX = 300


def label(node_id: str, name: str) -> str:
    """A node: its id, and the name that people gave it if that says more."""
    return node_id if not name or name == node_id else f"{node_id} ({name})"


def listed(texts: Sequence[str], count: int) -> str:
    """`a`, `a and b`, `a, b and 7 more`; `count` is how many there are in all."""
    shown = list(texts[:LISTED_MAX])
    rest = count - len(shown)
    if rest > 0:
        shown.append(f"{rest} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def nodes(references: Sequence[why_pb2.NodeReference], count: int) -> str:
    """Nodes in a row."""
    return listed([label(node.node_id, node.name) for node in references[:LISTED_MAX]], count)


def holders(found: Sequence[why_pb2.Holder], count: int, now: Timestamp, here: identity_pb2.ExecutionIdentifier) -> str:
    """Who has something, and for how long."""
    return listed([holder(one, now, here) for one in found[:LISTED_MAX]], count)


def holder(one: why_pb2.Holder, now: Timestamp, here: identity_pb2.ExecutionIdentifier) -> str:
    """One node, with its execution when that is another one."""
    where = "" if one.execution == here or not one.execution.name else f" of {path(one.execution)}"
    facts = [f"attempt {one.attempt}"] if one.attempt else []
    if one.HasField("since"):
        facts.append(f"for {span(one.since, now)}")
    more = f" ({', '.join(facts)})" if facts else ""
    if not one.node_id:
        return f"{path(one.execution)}{more}"
    return f"{label(one.node_id, one.name)}{where}{more}"


def path(execution: identity_pb2.ExecutionIdentifier) -> str:
    """An execution as one word."""
    return f"{execution.project}/{execution.domain}/{execution.name}"


def clock(moment: Timestamp, now: Timestamp) -> str:
    """An instant in UTC, without the date when it is today's."""
    at, today = to_datetime(moment), to_datetime(now)
    return f"{at:%H:%M:%S} UTC" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(earlier: Timestamp, later: Timestamp) -> str:
    """The time between, in its two largest units; never negative, since clocks differ."""
    seconds = max((to_datetime(later) - to_datetime(earlier)) / timedelta(seconds=1), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join([f"{number} {unit}" for number, unit in units if number][:2])


def to_datetime(moment: Timestamp) -> datetime:
    """In UTC."""
    return moment.ToDatetime(tzinfo=UTC)


def number(count: int, singular: str, plural: str = "") -> str:
    """`1 node`, `3 nodes`."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def ahead(count: int) -> str:
    """A place in line."""
    return "it is next in line" if not count else f"{count} {'goes' if count == 1 else 'go'} before it"


def error(text: str) -> str:
    """An error as part of a sentence: its last telling line, cut."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    shown = lines[-1] if lines else ""
    return shown if len(shown) <= ERROR_LENGTH_MAX else f"{shown[:ERROR_LENGTH_MAX]}..."
