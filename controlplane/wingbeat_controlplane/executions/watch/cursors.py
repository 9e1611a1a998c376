"""Where a reader of the log of transitions stands, and its text for callers.

A cursor is the set of entries that were told: all of the transactions that `snapshot` sees, and of one more, `txid`,
the entries up to number `seq`; of that entry the first `parts` transitions (an entry may mean several). Whatever is
committed later, or late under a low number, is not in the set: so a reader that goes on from a cursor misses nothing
and meets nothing twice. Only retention can take away what it has not seen.

The text is opaque to callers, of some 20 to 100 characters: it grows by two for each transaction that was under way.
It may be changed by a caller, and then shows what the caller could have asked for anyway; all parts are checked.
"""

import base64
import binascii
from dataclasses import dataclass

from wingbeat_controlplane.executions.log_snapshots import Snapshot

TEXT_LENGTH_MAX = 64 * 1024

_VERSION = 1
_TXID_MAX = 2**63 - 1
_IN_PROGRESS_MAX = 10_000


class CursorError(ValueError):
    """A text is no cursor."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """See the module. `log` is the log's own id; `txid` 0: no transaction is told of in part."""

    log: int
    snapshot: Snapshot
    txid: int = 0
    seq: int = 0
    parts: int = 0

    @property
    def xmin(self) -> int:
        """Every transaction below it was told of as a whole."""
        return min(self.snapshot.xmin, self.txid) if self.txid else self.snapshot.xmin

    def upto(self, after: Snapshot, txid: int, seq: int, parts: int) -> "Cursor":
        """How far one has come who reads from here what `after` sees, in order, and has just read `parts` transitions
        of that entry."""
        if txid == self.txid:
            return Cursor(self.log, self.snapshot, txid, seq, parts)
        return Cursor(self.log, self.whole.upto(txid, after), txid, seq, parts)

    @property
    def whole(self) -> Snapshot:
        """What is seen when the transaction that was told of in part is told of as a whole."""
        return self.snapshot.adding(self.txid) if self.txid else self.snapshot

    def encode(self) -> str:
        """As text."""
        snapshot = self.snapshot
        numbers = [_VERSION, self.log, snapshot.xmax, len(snapshot.in_progress)]
        before = snapshot.xmax
        for one in reversed(snapshot.in_progress):
            numbers.append(before - one)
            before = one
        if self.txid:
            # A transaction that is seen in part is below xmax or is xmax itself.
            numbers += (snapshot.xmax - self.txid, self.seq, self.parts)
        data = bytearray()
        for number in numbers:
            _append(data, number)
        return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Raises CursorError."""
    if len(text) > TEXT_LENGTH_MAX:
        raise CursorError(f"{_shown(text)} is no cursor")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CursorError(f"{_shown(text)} is no cursor") from error
    numbers = _numbers(data)
    try:
        return _cursor(numbers)
    except (IndexError, ValueError) as error:
        raise CursorError(f"{_shown(text)} is no cursor") from error


def _cursor(numbers: list[int]) -> Cursor:
    version, log, xmax, count = numbers[:4]
    rest = numbers[4 + count :]
    if version != _VERSION or count > _IN_PROGRESS_MAX or len(numbers) < 4 + count or len(rest) not in (0, 3):
        raise ValueError("it has another form")
    in_progress: list[int] = []
    before = xmax
    for distance in numbers[4 : 4 + count]:
        if distance < 1:
            raise ValueError("not in order")
        before -= distance
        in_progress.append(before)
    snapshot = Snapshot(xmax, tuple(reversed(in_progress)))
    if not 0 < snapshot.xmin <= xmax <= _TXID_MAX or log > 2**31 - 1:
        raise ValueError("a transaction is none")
    if not rest:
        return Cursor(log, snapshot)
    txid, seq, parts = xmax - rest[0], rest[1], rest[2]
    if snapshot.sees(txid) or not txid > 0 or seq > _TXID_MAX or parts > _IN_PROGRESS_MAX:
        raise ValueError("an entry is none")
    return Cursor(log, snapshot, txid, seq, parts)


def _append(data: bytearray, number: int) -> None:
    """Append a number that is not negative, seven bits a byte."""
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)


def _numbers(data: bytes) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    if shift:
        raise CursorError("the cursor is cut off")
    return numbers


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
