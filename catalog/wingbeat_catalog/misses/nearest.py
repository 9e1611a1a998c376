"""The entries nearest to a call: why it was not found.

Looked at are the newest datasets of the task in its project, in each of them the entry with the call's own tag, and the
newest entries: most of them in the dataset that the call itself belongs to. So the work is bounded, and what is told is
what a user has changed last.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.keys import CallKey, DatasetName, TaskKey, tag_key
from wingbeat_catalog.misses.comparison import AskedCall, Difference, KeptEntry, asked_call, compare, distance
from wingbeat_propeller.ports.cache import CacheSource
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "nearest.sql")

DATASETS_MAX = 30
OWN_ENTRIES_MAX = 200
OTHER_ENTRIES_MAX = 5


class Near(NamedTuple):
    """An entry and how it differs from the call."""

    dataset: DatasetName
    cache_version: str
    tag: str
    artifact_id: str
    created_at: datetime
    updated_at: datetime
    source: CacheSource
    differences: list[Difference]


class Found(NamedTuple):
    """What there is near a call; nearest and newest first."""

    entries: list[Near]
    compared: int
    truncated: bool


class NearestEntries:
    """Finds them. Raises OSError for an outage, ValueError for inputs without a JSON form."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def of(self, task: TaskKey, cache_version: str, key: CallKey, inputs: literals_pb2.LiteralMap) -> Found:
        """Entries near the call of `task` with `inputs`, whose tags are `key`."""
        name = task.dataset
        async with bounded():
            datasets = await self._pool.fetch(_SQL["datasets"], name.project, name.name, name.domain, DATASETS_MAX + 1)
            looked_into = datasets[:DATASETS_MAX]
            tags = [tag_key(row["digest"], tag) for row in looked_into for tag in {key.exact, key.canonical}]
            tagged = await self._pool.fetch(_SQL["tagged"], tags)
            most = [OWN_ENTRIES_MAX if row["digest"] == task.digest else OTHER_ENTRIES_MAX for row in looked_into]
            newest = await self._pool.fetch(_SQL["newest"], [row["id"] for row in looked_into], most)
        rows = list({row["id"]: row for row in (*newest, *tagged)}.values())
        is_full = any(
            sum(row["dataset_id"] == dataset["id"] for row in newest) >= bound
            for dataset, bound in zip(looked_into, most, strict=True)
        )
        call = asked_call(task, cache_version, inputs)
        entries = await asyncio.to_thread(_compare_all, call, key, {row["id"]: row for row in looked_into}, rows)
        return Found(entries, len(rows), is_full or len(datasets) > DATASETS_MAX)


def _compare_all(
    call: AskedCall, key: CallKey, datasets: dict[int, asyncpg.Record], rows: Sequence[asyncpg.Record]
) -> list[Near]:
    found = [_near(call, key, datasets[row["dataset_id"]], row) for row in rows]
    return sorted(found, key=lambda near: (distance(near.differences), -near.updated_at.timestamp(), near.artifact_id))


def _near(call: AskedCall, key: CallKey, dataset: asyncpg.Record, row: asyncpg.Record) -> Near:
    name = DatasetName(dataset["project"], dataset["domain"], dataset["name"], dataset["version"], dataset["org"])
    inputs = _inputs(row)
    if inputs is None and row["tag"] in key:  # another engine has put it, with equal inputs as its tag says
        inputs = literals_pb2.LiteralMap(literals=call.inputs)
    entry = KeptEntry(name, dataset["cache_version"], dataset["interface"], inputs, row["ignored_inputs"])
    return Near(
        dataset=name,
        cache_version=dataset["cache_version"] or "",
        tag=row["tag"] or "",
        artifact_id=row["artifact_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        source=CacheSource(
            row["source_project"],
            row["source_domain"],
            row["source_execution"],
            row["source_node"],
            row["source_attempt"],
            row["source_element"],
            row["task_version"],
        ),
        differences=compare(call, entry),
    )


def _inputs(row: asyncpg.Record) -> literals_pb2.LiteralMap | None:
    if row["inputs"] is None:
        return None
    try:
        return literals_pb2.LiteralMap.FromString(row["inputs"])
    except DecodeError:
        return None
