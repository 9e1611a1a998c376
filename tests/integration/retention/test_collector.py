"""Garbage in a folder and in a bucket."""

import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from flyteidl.core.literals_pb2 import Blob, Literal, LiteralMap, LiteralOffloadedMetadata, Scalar

from tests.conformance.blob_pages import listed
from tests.integration.blobs.seaweed import s3_options, seaweed
from tests.integration.retention.conftest import DOMAIN, PROJECT, Past
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.retention.collector import LOCK, GarbageCollector
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.s3 import open_s3
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.core.folders import raw_output_folder
from wingbeat_propeller.core.ids import element_name

FUTURE = timedelta(minutes=-5)
"""Everything is older than this."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A running S3 server."""
    with seaweed() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
async def blobs(request: pytest.FixtureRequest, endpoint: str, tmp_path: Path) -> AsyncIterator[StoredBlobs]:
    """An empty store of either kind."""
    if request.param == "folder":
        yield FolderBlobs(tmp_path / "store")
        return
    options = s3_options(endpoint, prefix=f"t/{uuid.uuid4().hex}")
    async with open_s3(options) as (bucket, _):
        yield bucket


def raw(blobs: StoredBlobs, name: str) -> str:
    """A file among the raw data of an attempt."""
    return f"{raw_output_folder(f'{blobs.base}/data', name)}/x/file"


def naming(*uris: str) -> bytes:
    """Values that refer to files."""
    files = {f"v{number}": Literal(scalar=Scalar(blob=Blob(uri=uri))) for number, uri in enumerate(uris)}
    return LiteralMap(literals=files).SerializeToString()


async def fill(past: Past, blobs: StoredBlobs) -> tuple[set[str], set[str]]:
    """An execution that is kept and what is needed, and what is garbage beside it."""
    base = blobs.base
    metadata = f"{base}/metadata/propeller/{PROJECT}-{DOMAIN}-"
    large, apart = f"{metadata}kept/n0/data/0/outputs.pb", f"{metadata}gone/n0/data/0/v_offloaded_metadata.pb"
    contents = {
        f"{metadata}kept/n0/data/inputs.pb": b"",
        raw(blobs, "kept-n0-0"): b"",
        raw(blobs, element_name("kept-n1-0", 2, 1)): b"",
        f"{base}/metadata/admin/{PROJECT}/{DOMAIN}/kept/inputs": b"",
        # Of executions that are gone, but referred to: by a value in a row, a large value, one that flytekit put apart,
        # what is registered, an entry of the cache and an artifact.
        raw(blobs, "gone-n1-0"): b"",
        large: naming(raw(blobs, "gone-n2-0"))
        + LiteralMap(
            literals={"v": Literal(offloaded_metadata=LiteralOffloadedMetadata(uri=apart))}
        ).SerializeToString(),
        raw(blobs, "gone-n2-0"): b"",
        apart: Literal(scalar=Scalar(blob=Blob(uri=raw(blobs, "gone-n3-0")))).SerializeToString(),
        raw(blobs, "gone-n3-0"): b"",
        f"{base}/metadata/admin/{PROJECT}/{DOMAIN}/code/fast.tar.gz": b"",
        f"{base}/cache/ab/entry.pb": naming(raw(blobs, "gone-n4-0")),
        raw(blobs, "gone-n4-0"): b"",
        raw(blobs, "gone-n5-0"): b"",
        f"{metadata}borrowed/n0/data/0/deck.html": b"",
        # Nobody's.
        f"{base}/mine/file": b"",
    }
    for uri, data in contents.items():
        await blobs.put(uri, data)
    garbage = {
        raw(blobs, "gone-n9-0"): b"1234",
        raw(blobs, element_name("gone-n8-0", 1, 0)): b"1",
        f"{metadata}pruned/n0/data/0/outputs.pb": b"1",
        f"{base}/metadata/admin/{PROJECT}/{DOMAIN}/pruned/inputs": b"1",
        f"{base}/cache/ab/other.pb": b"1",
    }
    for uri, data in garbage.items():
        await blobs.put(uri, data)
    key = await past.execution("kept", days=100, outputs=naming(raw(blobs, "gone-n1-0")))
    pool = past.pool
    await pool.execute(
        "UPDATE node_executions SET output_uri = $2, deck_uri = $3 WHERE execution_id = $1 AND node_id = 'n0'",
        *(key, large, f"{metadata}borrowed/n0/data/0/deck.html"),
    )
    await pool.execute(
        "INSERT INTO tasks (project, domain, name, version, digest, type, closure)"
        " VALUES ('p', 'd', 't', 'v', '', '', $1)",
        f"--dest={base}/metadata/admin/{PROJECT}/{DOMAIN}/code/fast.tar.gz".encode(),
    )
    dataset = await pool.fetchval(
        "INSERT INTO cache_datasets (digest, project, domain, name, version)"
        " VALUES ('', 'p', 'd', 't', 'v') RETURNING id"
    )
    await pool.execute(
        "INSERT INTO cache_artifacts (dataset_id, artifact_id, data_uri, data_digest, has_references)"
        " VALUES ($1, 'a', $2, '', true)",
        *(dataset, f"{base}/cache/ab/entry.pb"),
    )
    await pool.execute(
        "INSERT INTO artifacts (project, domain, name, version, spec) VALUES ('p', 'd', 'a', 'v', $1)",
        naming(raw(blobs, "gone-n5-0")),
    )
    return set(contents), set(garbage)


async def collect(collector: GarbageCollector, **how: object) -> set[str]:
    """URIs of all garbage."""
    pages = collector.collect(older_than=FUTURE, **how)  # pyright: ignore[reportArgumentType]
    return {blob.uri async for page in pages for blob in page.garbage}


async def there(blobs: StoredBlobs) -> set[str]:
    """URIs of all objects."""
    return {blob.uri for blob in await listed(blobs, blobs.base)}


async def test_only_garbage_goes(past: Past, database_url: str, blobs: StoredBlobs) -> None:
    """What belongs to a kept execution, or is referred to from anywhere, stays; a dry run tells what goes."""
    needed, garbage = await fill(past, blobs)
    collector = GarbageCollector(database_url, blobs, age_min=FUTURE)
    assert await collect(collector, is_dry_run=True) == garbage
    assert await there(blobs) == needed | garbage
    assert await collect(collector) == garbage
    assert await there(blobs) == needed
    assert await collect(collector) == set()


async def test_of_one_project(past: Past, database_url: str, blobs: StoredBlobs) -> None:
    """With a project only its own garbage goes: metadata by its name, raw data by the metadata of its execution."""
    _, garbage = await fill(past, blobs)
    theirs = {
        f"{blobs.base}/metadata/propeller/other-{DOMAIN}-fade/n0/data/0/outputs.pb",
        f"{blobs.base}/metadata/admin/other/{DOMAIN}/fade/inputs",
        raw(blobs, "fade-n0-0"),
    }
    for uri in theirs:
        await blobs.put(uri, b"x")
    collector = GarbageCollector(database_url, blobs, age_min=FUTURE)
    assert await collect(collector, project="other") == theirs
    assert await collect(collector, project="unknown") == set()
    assert garbage <= await there(blobs)


async def test_young_blobs_stay(past: Past, database_url: str, tmp_path: Path) -> None:
    """What was written just now may belong to what is about to be written down."""
    blobs = FolderBlobs(tmp_path)
    await fill(past, blobs)
    collector = GarbageCollector(database_url, blobs)
    pages = [page async for page in collector.collect(older_than=timedelta(hours=1))]
    assert sum(page.scanned for page in pages) > 0
    assert not any(page.garbage for page in pages)
    with pytest.raises(ApiError, match="younger"):
        await anext(collector.collect(older_than=timedelta(minutes=59)))


class _FailingBlobs(FolderBlobs):
    """The second deletion fails."""

    deletions = 0

    async def delete_all(self, uris: Sequence[str]) -> None:
        """Or fails."""
        self.deletions += 1
        if self.deletions == 2:
            raise OSError("the store is out")
        await super().delete_all(uris)


async def test_interrupted(past: Past, database_url: str, tmp_path: Path) -> None:
    """A collection that ends in the middle has taken only garbage, and the next one takes the rest."""
    needed, _ = await fill(past, FolderBlobs(tmp_path))
    blobs = _FailingBlobs(tmp_path)
    collector = GarbageCollector(database_url, blobs, age_min=FUTURE)
    with pytest.raises(OSError, match="out"):
        await collect(collector)
    assert needed < await there(blobs)
    await collect(collector)
    assert await there(blobs) == needed


async def test_one_at_a_time(database_url: str, tmp_path: Path) -> None:
    """A second collection is sent away."""
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1)", LOCK)
        with pytest.raises(ApiError, match="under way"):
            await anext(GarbageCollector(database_url, FolderBlobs(tmp_path)).collect())
    finally:
        await other.close()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_bytes(past: Past, database_url: str, tmp_path: Path, seed: int) -> None:
    """Bytes of any kind around the store's address, in rows and in blobs, neither end a collection nor hide a
    reference that stands among them."""
    blobs = FolderBlobs(tmp_path / "store")
    draw = random.Random(seed)
    base = blobs.base.encode()
    words = [
        base,
        base + b"/",
        b"/data/",
        b"/cache/",
        b"a",
        b"/",
        b"\0",
        b"\xff",
        b"_offloaded_metadata.pb",
        b"n" * 300,
    ]

    def noise() -> bytes:
        return b"".join(draw.choice([*words, draw.randbytes(draw.randrange(9))]) for _ in range(40))

    kept = raw(blobs, "gone-n0-0")
    apart = f"{blobs.base}/metadata/propeller/{PROJECT}-{DOMAIN}-gone/n0/v_offloaded_metadata.pb"
    await blobs.put(kept, noise())
    await blobs.put(apart, base + b"/" + b"n" * 300 + b"_offloaded_metadata.pb" + noise())
    await past.execution("some", days=1, inputs=noise() + naming(kept) + noise())
    await past.execution("more", days=1, outputs_uri=apart, user_inputs=noise())
    await past.pool.execute("UPDATE signals SET value = $1", noise())
    collector = GarbageCollector(database_url, blobs, age_min=FUTURE)
    async for _ in collector.collect(older_than=FUTURE):
        pass
    assert await blobs.stat(kept) is not None
    assert await blobs.stat(apart) is not None
