"""What goes to a watcher at once: some transitions and the cursor after them, encoded once for all who get the same."""

from collections.abc import Sequence
from datetime import datetime

from wingbeat_controlplane.executions.log_snapshots import Snapshot
from wingbeat_controlplane.executions.watch.cursors import Cursor
from wingbeat_controlplane.executions.watch.log import Page
from wingbeat_controlplane.executions.watch.telling import Told
from wingbeat_controlplane.registry.times import timestamp
from wingbeatidl.watch.v1 import watch_pb2

PORTION_TRANSITIONS_MAX = 1_000
PORTION_BYTES_MAX = 1 << 20

_TRANSITIONS_TAG = bytes([watch_pb2.WatchTransitionsResponse.TRANSITIONS_FIELD_NUMBER << 3 | 2])


class Portion:
    """One message to a watcher. Without `told` it is a heartbeat."""

    __slots__ = ("_after", "_data", "_start", "cursor", "is_behind", "read_at", "told", "with_outputs")

    def __init__(
        self,
        cursor: Cursor,
        read_at: datetime,
        *,
        told: Sequence[Told] = (),
        start: Cursor | None = None,
        after: Snapshot | None = None,
        with_outputs: bool = False,
        is_behind: bool = False,
    ) -> None:
        self.cursor = cursor
        self.read_at = read_at
        self.told = told
        self.with_outputs = with_outputs
        self.is_behind = is_behind
        self._start = start
        self._after = after
        self._data = b""

    def cursor_after(self, number: int) -> str:
        """Where to go on after the transition of that number in `told`."""
        if number == len(self.told) - 1 or self._start is None or self._after is None:
            return self.cursor.encode()
        one = self.told[number]
        return self._start.upto(self._after, one.entry.txid, one.entry.seq, one.place + 1).encode()

    @property
    def data(self) -> bytes:
        """As a serialized WatchTransitionsResponse."""
        if not self._data:
            parts: list[bytes] = []
            for one in self.told:
                encoded = one.encoded(with_outputs=self.with_outputs)
                parts += (_TRANSITIONS_TAG, _varint(len(encoded)), encoded)
            rest = watch_pb2.WatchTransitionsResponse(
                cursor=self.cursor.encode(), read_at=timestamp(self.read_at), is_behind=self.is_behind
            )
            parts.append(rest.SerializeToString())
            self._data = b"".join(parts)
        return self._data


def cut(
    told: Sequence[Told], page: Page, start: Cursor, end: Cursor, *, with_outputs: bool, is_behind: bool = False
) -> list[Portion]:
    """Portions of what a page means to somebody who has come from `start` and will be at `end` after it."""
    portions: list[Portion] = []
    after = page.head.snapshot
    begin = size = 0
    for number, one in enumerate(told, start=1):
        size += len(one.encoded(with_outputs=with_outputs)) + 8
        is_full = number - begin >= PORTION_TRANSITIONS_MAX or size >= PORTION_BYTES_MAX
        if is_full or number == len(told):
            cursor = end if number == len(told) else start.upto(after, one.entry.txid, one.entry.seq, one.place + 1)
            portions.append(
                Portion(
                    cursor,
                    page.head.read_at,
                    told=told[begin:number],
                    start=start,
                    after=after,
                    with_outputs=with_outputs,
                    is_behind=is_behind or number < len(told),
                )
            )
            begin, size = number, 0
    return portions


class Batch:
    """What a page of the shared reader means to all watchers with the same matcher."""

    __slots__ = ("_portions", "_with_outputs", "page", "size", "told")

    def __init__(self, told: Sequence[Told], page: Page, *, with_outputs: bool) -> None:
        self.told = told
        self.page = page
        self.size = sum(len(one.encoded(with_outputs=with_outputs)) for one in told)
        self._with_outputs = with_outputs
        self._portions: list[Portion] | None = None

    @property
    def portions(self) -> Sequence[Portion]:
        """For watchers that have had all that came before."""
        if self._portions is None:
            page = self.page
            self._portions = cut(self.told, page, page.start, page.end, with_outputs=self._with_outputs)
        return self._portions

    def portions_since(self, cursor: Cursor) -> Sequence[Portion]:
        """For a watcher that has read by itself up to `cursor`, and may have read some of it already."""
        seen = cursor.whole
        page = self.page
        if not seen.is_before(page.head.snapshot):
            return ()
        told = [one for one in self.told if not seen.sees(one.entry.txid) or one.entry.txid == cursor.txid]
        if page.is_last:
            end = page.end
        elif told:
            last = told[-1]
            end = cursor.upto(page.head.snapshot, last.entry.txid, last.entry.seq, last.place + 1)
        else:
            return ()
        return cut(told, page, cursor, end, with_outputs=self._with_outputs)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)
