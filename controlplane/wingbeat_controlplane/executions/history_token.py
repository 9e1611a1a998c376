"""Page tokens of `history`: where to go on, and which transitions the first page could see.

A token belongs to one question. It is text that a caller may change, and then shows what the caller could have asked
for anyway; all it must not do is break a statement, so every part is checked.
"""

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Any, cast

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.executions.log_snapshots import Snapshot

_SEQ_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class HistoryToken:
    """What stays the same from page to page, and the node that the last page ended with."""

    execution: str
    """project:domain:name"""
    at_us: int
    """The instant, in microseconds since the epoch."""
    read_at_us: int
    """When the first page was read."""
    snapshot: Snapshot
    """Transitions that it does not see are too new."""
    ended: bool
    """The execution had ended by the instant."""
    after: str = ""
    """Nodes up to this id have been told."""

    def after_node(self, node_id: str) -> "HistoryToken":
        """The same question, from the node after this one."""
        return replace(self, after=node_id)

    def encode(self) -> str:
        """As text."""
        parts = (
            self.execution,
            self.at_us,
            self.read_at_us,
            self.snapshot.xmax,
            self.snapshot.in_progress,
            self.ended,
            self.after,
        )
        return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode()


def decode_token(text: str, *, execution: str, at_us: int) -> HistoryToken:
    """The token in `text`. Raises ApiError INVALID_ARGUMENT for one that is damaged or belongs to another question."""
    try:
        token = _token(cast("list[Any]", json.loads(base64.urlsafe_b64decode(text.encode()))))
    except (ValueError, TypeError, binascii.Error) as error:
        raise _invalid(text) from error
    if (token.execution, token.at_us) != (execution, at_us):
        raise invalid_argument(
            "the page token belongs to another question; every page needs the execution and instant of the first"
        )
    return token


def _token(parts: list[Any]) -> HistoryToken:
    execution, at_us, read_at_us, xmax, in_progress, ended, after = parts
    if not all(
        isinstance(number, int) and 0 <= number <= _SEQ_MAX for number in (at_us, read_at_us, xmax, *in_progress)
    ):
        raise ValueError("a number is none, or out of range")
    if any(txid >= xmax for txid in in_progress) or in_progress != sorted(set(in_progress)):
        raise ValueError("a transaction is none")
    if not isinstance(after, str) or "\0" in after:
        raise ValueError("a node id is none")
    snapshot = Snapshot(xmax, tuple(in_progress))
    return HistoryToken(str(execution), at_us, read_at_us, snapshot, bool(ended), after)


def _invalid(text: str) -> ApiError:
    shown = text if len(text) <= 100 else f"{text[:100]}..."
    return invalid_argument(f"invalid page token {shown} for GetExecutionAt")
