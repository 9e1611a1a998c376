"""Which transactions had committed at one moment: what Postgres calls a snapshot.

A number that a sequence or a transaction gives out becomes visible in the order of commits, not of numbers. So "all up
to N" names no state of the log while several engines write, and a snapshot does: everything below `xmax` but what was
`in_progress`. Snapshots of one server are in order: what an earlier one sees, a later one sees, too.
"""

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All transactions below `xmax` have ended, except those in `in_progress`, which are sorted and below `xmax`."""

    xmax: int
    in_progress: tuple[int, ...] = ()

    @property
    def xmin(self) -> int:
        """Every transaction below it has ended."""
        return self.in_progress[0] if self.in_progress else self.xmax

    def sees(self, txid: int) -> bool:
        """Whether what the transaction wrote is visible."""
        if txid >= self.xmax:
            return False
        place = bisect_left(self.in_progress, txid)
        return place == len(self.in_progress) or self.in_progress[place] != txid

    def is_before(self, other: "Snapshot") -> bool:
        """Whether it was taken when less had ended than at `other`; both are of the same server."""
        if self.xmax != other.xmax:
            return self.xmax < other.xmax
        return len(self.in_progress) > len(other.in_progress)

    def adding(self, txid: int) -> "Snapshot":
        """The same, and that transaction, which it does not see: it is in progress, or the next one."""
        if txid >= self.xmax:
            assert txid == self.xmax, "what lies between would be taken for seen"
            return Snapshot(txid + 1, self.in_progress)
        return Snapshot(self.xmax, tuple(one for one in self.in_progress if one != txid))

    def upto(self, txid: int, after: "Snapshot") -> "Snapshot":
        """What this snapshot sees, and below `txid` what the later one sees: how far a reader has come who reads what
        became visible between the two in the order of transactions, and is now at `txid` (which does not count)."""
        below = after.in_progress[: bisect_left(after.in_progress, txid)]
        rest = self.in_progress[bisect_left(self.in_progress, txid) :]
        return Snapshot(max(self.xmax, txid), below + rest)

    @property
    def record(self) -> tuple[int, int, tuple[int, ...]]:
        """As asyncpg passes a pg_snapshot."""
        return _given_out(self.xmin), _given_out(self.xmax), self.in_progress


def _given_out(txid: int) -> int:
    """The next number that a transaction can have. Of 2**32 the first three are never given out, and Postgres takes
    them for none at all."""
    return max(txid, txid - txid % 2**32 + 3)


def snapshot_of(record: tuple[int, int, tuple[int, ...]]) -> Snapshot:
    """A pg_snapshot as asyncpg has it."""
    _, xmax, in_progress = record
    return Snapshot(xmax, tuple(sorted(in_progress)))
