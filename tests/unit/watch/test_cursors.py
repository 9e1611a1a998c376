"""Cursors of the log: whatever commits in whatever order, a reader meets every entry once."""

import random
from dataclasses import dataclass, field

import pytest

from wingbeat_controlplane.executions.log_snapshots import Snapshot
from wingbeat_controlplane.executions.watch.cursors import Cursor, CursorError, decode_cursor
from wingbeat_controlplane.executions.watch.log import ALL_PARTS


@dataclass
class Database:
    """Transactions as Postgres numbers them, each with entries that are visible once it has committed."""

    next_txid: int = 3
    next_seq: int = 1
    running: dict[int, list[int]] = field(default_factory=dict)
    committed: dict[int, list[int]] = field(default_factory=dict)
    ended_max: int = 2

    def begin(self) -> int:
        """A new transaction."""
        txid = self.next_txid
        self.next_txid += 1
        self.running[txid] = []
        return txid

    def write(self, txid: int) -> None:
        """One more entry."""
        self.running[txid].append(self.next_seq)
        self.next_seq += 1

    def commit(self, txid: int) -> None:
        """Its entries become visible."""
        self.committed[txid] = self.running.pop(txid)
        self.ended_max = max(self.ended_max, txid)

    def snapshot(self) -> Snapshot:
        """As GetSnapshotData takes it."""
        xmax = self.ended_max + 1
        return Snapshot(xmax, tuple(sorted(txid for txid in self.running if txid < xmax)))

    def page(self, start: Cursor, limit: int) -> tuple[list[tuple[int, int]], Cursor, Snapshot]:
        """As TransitionLog.page reads it."""
        now = self.snapshot()
        if start.txid:
            rest = [(start.txid, seq) for seq in self.committed[start.txid] if seq > start.seq][:limit]
            if len(rest) < limit:
                return rest, Cursor(start.log, start.whole), now
            return rest, Cursor(start.log, start.snapshot, *rest[-1], ALL_PARTS), now
        unseen = sorted(
            (txid, seq) for txid, entries in self.committed.items() if not start.snapshot.sees(txid) for seq in entries
        )[:limit]
        if len(unseen) < limit:
            return unseen, Cursor(start.log, now), now
        return unseen, start.upto(now, *unseen[-1], ALL_PARTS), now


@pytest.mark.parametrize("seed", range(200))
def test_every_entry_once(seed: int) -> None:
    """Transactions commit in any order while readers read pages of any length and break off anywhere: each entry comes
    once, those of one writer in its order, and what a transaction could have seen comes before it."""
    dice = random.Random(seed)
    database = Database()
    seen: list[tuple[int, int]] = []
    visible_to: dict[int, set[int]] = {}
    cursor = Cursor(7, database.snapshot())
    for _ in range(300):
        match dice.randrange(4):
            case 0:
                visible_to[database.begin()] = set(database.committed)
            case 1 if database.running:
                database.write(dice.choice(sorted(database.running)))
            case 2 if database.running:
                database.commit(dice.choice(sorted(database.running)))
            case 3:
                page, end, now = database.page(cursor, dice.randrange(1, 6))
                taken = dice.randrange(len(page) + 1)
                if taken < len(page):  # break off in the middle, and go on from there
                    end = cursor.upto(now, *page[taken - 1], ALL_PARTS) if taken else cursor
                seen += page[:taken]
                cursor = decode_cursor(end.encode())
                assert cursor == end
    for txid in sorted(database.running):
        database.commit(txid)
    while True:
        start = cursor
        page, cursor, _ = database.page(start, 4)
        seen += page
        if not page and not start.txid:
            break
    expected = sorted((txid, seq) for txid, entries in database.committed.items() for seq in entries)
    assert sorted(seen) == expected, f"seed {seed}"
    place = {entry: number for number, entry in enumerate(seen)}
    for txid, earlier in visible_to.items():
        for before in earlier:
            for seq in database.committed[txid]:
                assert all(place[before, one] < place[txid, seq] for one in database.committed[before]), f"seed {seed}"


def test_snapshots_are_ordered() -> None:
    """A snapshot that was taken later is not before an earlier one, and sees all that it sees."""
    dice = random.Random(1)
    database = Database()
    last = database.snapshot()
    for _ in range(500):
        if database.running and dice.random() < 0.5:
            database.commit(dice.choice(sorted(database.running)))
        else:
            database.begin()
        now = database.snapshot()
        assert not now.is_before(last)
        assert all(now.sees(txid) for txid in range(3, database.next_txid) if last.sees(txid))
        assert last.is_before(now) == any(now.sees(txid) != last.sees(txid) for txid in range(3, database.next_txid))
        last = now


@pytest.mark.parametrize("text", ["", "x", "====", "AAAA", "é", "A" * 100_000, "_" * 40, "AQEBAQ"])
def test_other_texts_are_no_cursors(text: str) -> None:
    """What was not made by `encode` is refused, whatever it is."""
    with pytest.raises(CursorError):
        decode_cursor(text)


def test_damage_is_no_crash() -> None:
    """A cursor with a changed or missing character is refused or another cursor, never another error."""
    text = Cursor(2**31 - 1, Snapshot(10_000, (17, 9_000, 9_999)), 9_000, 123_456, 2).encode()
    for place in range(len(text)):
        for damaged in (text[:place] + "Q" + text[place + 1 :], text[:place]):
            try:
                decode_cursor(damaged)
            except CursorError:
                continue


def test_a_cursor_is_short() -> None:
    """With twenty transactions under way a cursor has fewer than 100 characters."""
    in_progress = tuple(range(1_000_000_000, 1_000_000_400, 20))
    assert len(Cursor(2**31 - 1, Snapshot(1_000_000_500, in_progress), 1_000_000_020, 10**9, 1).encode()) < 100


def test_numbers_that_are_never_given_out() -> None:
    """After transaction 2**32 - 1 comes 2**32 + 3, and Postgres takes no other number for it."""
    before = Snapshot(2**32 - 1)
    assert before.adding(2**32 - 1).record == (2**32 + 3, 2**32 + 3, ())
    assert Snapshot(2**32 + 9, (2**32 + 4,)).record == (2**32 + 4, 2**32 + 9, (2**32 + 4,))
