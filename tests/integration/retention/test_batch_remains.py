"""What batches keep of executions that are erased."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest

from tests.integration.retention.conftest import DOMAIN, PROJECT, Past
from tests.integration.retention.test_eraser import House
from wingbeat_controlplane.batches.manifest_rows import ItemRows, delimited
from wingbeat_controlplane.retention.batch_remains import blanked
from wingbeat_controlplane.retention.eraser import ByLabel, ByName
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.ports.blob_pages import ListedBlob
from wingbeatidl.launch.v1 import item_pb2

MARKER = "marker-of-a-person"


def _item(row: int) -> item_pb2.LaunchItem:
    return item_pb2.LaunchItem(name=f"{MARKER}-{row}" * (1 + 30 * (row % 2)))


class Batch:
    """A batch of five rows that has ended, with results in two parts and one of a driver that was killed."""

    def __init__(self, house: House, *, manifest: str = "") -> None:
        self.house = house
        self.folder = f"{house.blobs.base}/metadata/batches/{PROJECT}/{DOMAIN}/b"
        self.manifest = manifest or f"{self.folder}/manifest/0.items"
        self.parts = [f"{self.folder}/results/part-00000{number}-1.jsonl" for number in range(3)]
        self.key = 0

    async def make(self) -> None:
        """Row 4 was refused."""
        data = b"".join(delimited(_item(row)) for row in range(5))
        if self.manifest.startswith(self.folder):
            await self.house.blobs.put(self.manifest, data)
        self.key = await self.house.past.pool.fetchval(
            "INSERT INTO batches (project, domain, name, content, principal, spec, uri, format, key_column, state,"
            " total, next_row, parts, results, sha256, size, ended_at)"
            " VALUES ($1, $2, 'b', gen_random_uuid(), '', '', $3, 4, '', 5, 5, 5, 2, 5, $4, $5, now()) RETURNING id",
            *(PROJECT, DOMAIN, self.manifest, hashlib.sha256(data).hexdigest(), len(data)),
        )
        lines: list[bytes] = []
        for row in range(5):
            name = None if row == 4 else f"row{row}"
            execution = None
            if name is not None:
                execution = await self.house.execution(name, label="red", batch_id=self.key, batch_row=row)
            await self.house.past.pool.execute(
                "INSERT INTO batch_rows (batch_id, row, phase, written, key, file_offset, line, execution_id, name)"
                " VALUES ($1, $2, 4, true, $3, 0, 0, $4, $5)",
                *(self.key, row, f"{MARKER}-{row}", execution, name),
            )
            shown = None if name is None else {"project": PROJECT, "domain": DOMAIN, "name": name}
            lines.append(orjson.dumps({"row": row, "execution": shown, "outputs": f"{MARKER}-{row}"}) + b"\n")
        for uri, some in zip(self.parts, (lines[:3], lines[3:], lines[:3]), strict=True):
            await self.house.blobs.put(uri, b"".join(some))
        for number, results in enumerate((3, 2)):
            await self.house.past.pool.execute(
                "INSERT INTO batch_parts VALUES ($1, $2, $3, $4)", self.key, number, self.parts[number], results
            )
        await self.house.blobs.put(f"{self.folder}/results/index.json", orjson.dumps({"parts": [], "state": "x"}))

    async def rows(self, uri: str) -> list[int]:
        """Rows whose results stand in a part."""
        return [orjson.loads(line)["row"] for line in (await self.house.blobs.get(uri)).splitlines()]


@pytest.fixture
def house(past: Past, tmp_path: Path) -> House:
    """Nothing in it."""
    return House(past, tmp_path)


async def test_one_row(house: House) -> None:
    """Its line of the results and what it said in the uploaded manifest go; all else stays where it was, and counts are
    those of what is left."""
    batch = Batch(house)
    await batch.make()
    told = await house.erase(ByName(PROJECT, DOMAIN, "row1"), is_dry_run=True)
    assert told[0].rows["batch_rows"] == 1
    assert await house.erase(ByName(PROJECT, DOMAIN, "row1")) == told
    assert [await batch.rows(uri) for uri in batch.parts] == [[0, 2], [3, 4], [0, 2]]
    data = await house.blobs.get(batch.manifest)
    with (house.folder / "blobs" / batch.manifest.removeprefix(f"{house.blobs.base}/")).open("rb") as file:
        reader = ItemRows(file)
        read = list(reader.rows(reader.start()))
    assert [row.item for row in read if row.item is not None] == [_item(row) for row in (0, 2, 3, 4)]
    row = await house.past.pool.fetchrow("SELECT results, sha256, size FROM batches")
    assert row is not None
    assert tuple(row) == (4, hashlib.sha256(data).hexdigest(), len(data))
    index = orjson.loads(await house.blobs.get(f"{batch.folder}/results/index.json"))
    assert [part["results"] for part in index["parts"]] == [2, 2]
    assert index["state"] == "x"
    assert not _holders(house, f"{MARKER}-1")
    assert _holders(house, f"{MARKER}-2")


async def test_all_rows(house: House) -> None:
    """A batch without executions goes whole, as a dry run has told."""
    batch = Batch(house)
    await batch.make()
    told = await house.erased_batches(ByLabel("team", "red"), is_dry_run=True)
    assert [(found.name, found.rows, found.blob_count) for found in told] == [
        ("b", {"batches": 1, "batch_rows": 1, "batch_parts": 2}, 5)
    ]
    assert await house.erased_batches(ByName(PROJECT, DOMAIN, "row0"), is_dry_run=True) == []
    assert await house.erased_batches(ByLabel("team", "red")) == told
    assert not _holders(house, MARKER)
    for table in ("batches", "batch_rows", "batch_parts", "retired_executions"):
        assert await house.past.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_manifest_of_the_users_own(house: House) -> None:
    """It is left alone, and named."""
    batch = Batch(house, manifest="s3://elsewhere/rows.jsonl")
    await batch.make()
    erased = await house.erase(ByName(PROJECT, DOMAIN, "row1"))
    assert erased[0].tally.left_alone == ["s3://elsewhere/rows.jsonl"]


async def test_one_that_was_begun(house: House) -> None:
    """Killed behind the note, the next one goes on with the batch; once more does no harm."""
    batch = Batch(house)
    await batch.make()
    await _note(house, "row0")
    assert await house.eraser.resume() == 1
    assert [await batch.rows(uri) for uri in batch.parts] == [[1, 2], [3, 4], [1, 2]]
    assert await house.eraser.resume() == 0


class _BusyBlobs(FolderBlobs):
    """While a folder is listed for the first time, another server begins to erase an execution."""

    def __init__(self, house: House, folder: str, name: str) -> None:
        super().__init__(house.folder / "blobs")
        self._house = house
        self._folder = folder
        self._name = name

    async def pages(self, prefix_uri: str) -> AsyncGenerator[Sequence[ListedBlob]]:
        """The same pages."""
        if self._name and self._folder in prefix_uri:
            name, self._name = self._name, ""
            await _note(self._house, name)
        async for page in super().pages(prefix_uri):
            yield page


@pytest.mark.parametrize("folder", ["/results", "/metadata/propeller/"])
async def test_two_at_once(house: House, folder: str) -> None:
    """What is noted while somebody goes through the batch, or finishes others of it, leaves the batch as well."""
    batch = Batch(house)
    await batch.make()
    await _note(house, "row0")
    assert await house.make_eraser(_BusyBlobs(house, folder, "row1")).resume() in (1, 2)
    await house.eraser.resume()
    assert [await batch.rows(uri) for uri in batch.parts] == [[2], [3, 4], [2]]
    assert not _holders(house, f"{MARKER}-1")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_pieces_of_a_manifest(size: int) -> None:
    """However a manifest is cut into pieces, the same bytes are blanked."""

    async def pieces(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    items: Sequence[bytes] = [b"", b"a" * 3, b"b" * 200, b"", b"c" * 20_000, b"d"]
    heads = [delimited(item_pb2.LaunchItem()), b"\x03", b"\xc8\x01", b"\x00", b"\xa0\x9c\x01", b"\x01"]
    data = b"".join(head + item for head, item in zip(heads, items, strict=True))
    found = b"".join([piece async for piece in blanked(pieces(data), {2, 5})])
    assert found == data.replace(b"b", b"\0").replace(b"d", b"\0")


async def _note(house: House, name: str) -> None:
    """As one who is killed behind the first step of an erasure leaves it."""
    await house.past.pool.execute(
        "WITH gone AS (DELETE FROM executions WHERE name = $1 RETURNING *)"
        " INSERT INTO retired_executions"
        " SELECT id, project, domain, name, created_at, ended_at, config, true, now(), batch_id, batch_row FROM gone",
        name,
    )


def _holders(house: House, text: str) -> list[Path]:
    return [path for path in house.folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
