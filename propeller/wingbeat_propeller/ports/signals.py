"""Values that clients hand to waiting gates."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class SignalKey(NamedTuple):
    """A signal of an execution."""

    project: str
    domain: str
    execution: str
    signal_id: str


class Signals(Protocol):
    """Values that clients hand to waiting gates."""

    async def open(self, wanted: Mapping[SignalKey, bytes]) -> Mapping[SignalKey, bytes]:
        """Make sure that the signals exist (by key their type, a serialized LiteralType) and return those that have a
        value, a serialized Literal. Raises OSError for an outage."""
        ...
