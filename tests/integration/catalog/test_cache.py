"""Entries of the cache: what was put is found, as long as it is what was put."""

import asyncio
from collections.abc import Callable
from itertools import permutations

import asyncpg
import msgpack
import pytest
from flyteidl.core import catalog_pb2, identifier_pb2, literals_pb2, types_pb2
from tests.integration.catalog.conftest import FILE, SOURCE, ask, entry, file, integer, task, text, values

from wingbeat_catalog.cache import PostgresCache
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.ports.cache import CacheAnswer, CacheFailure, CacheHit, CacheMiss, CachePut, CachePutDone


def _catalog(answer: object) -> catalog_pb2.CatalogMetadata:
    assert isinstance(answer, CacheHit | CacheMiss | CacheFailure | CachePutDone)
    return catalog_pb2.CatalogMetadata.FromString(answer.catalog)


async def _one(cache: PostgresCache, *asks: object) -> CacheAnswer:
    (answer,) = await cache.look_up(asks)  # type: ignore[arg-type]
    return answer


async def test_what_was_put_is_found_with_its_source(cache: PostgresCache) -> None:
    """A miss names dataset and tag as Flyte does; a hit names who made the outputs, down to the attempt."""
    call = ask(task(), a=integer(3))
    miss = await _one(cache, call)
    assert isinstance(miss, CacheMiss)
    assert _catalog(miss).dataset_id == identifier_pb2.Identifier(
        resource_type=identifier_pb2.DATASET, project="p", domain="d", name="flyte_task-t", version=_version(miss)
    )
    assert _version(miss).startswith("1-rJudYX8l-")
    tag = "flyte_cached-zfJO2-HUAXM2IXGD8SISALOTHhpjXiWXfSxv9J8ranM"
    assert _catalog(miss).artifact_tag.name == tag
    (done,) = await cache.put([entry(call, "made")])
    assert isinstance(done, CachePutDone)
    hit = await _one(cache, ask(task(task_version="8"), a=integer(3)))
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("made"))
    assert _catalog(hit).artifact_tag == catalog_pb2.CatalogArtifactTag(
        artifact_id=_catalog(done).artifact_tag.artifact_id, name=tag
    )
    source = _catalog(hit).source_task_execution
    assert (source.task_id.name, source.task_id.version, source.retry_attempt) == ("t", "7", 0)
    assert (source.node_execution_id.node_id, source.node_execution_id.execution_id.name) == ("n0", "exec")
    for other in (task(version="2"), task("u"), task(outputs={"o0": FILE}), task(inputs={"a": FILE})):
        assert isinstance(await _one(cache, ask(other, a=integer(3))), CacheMiss)
    assert isinstance(await _one(cache, ask(task(), a=integer(4))), CacheMiss)


def _version(answer: object) -> str:
    return _catalog(answer).dataset_id.version


async def test_a_batch_answers_in_order_and_keeps_one_entry_a_key(
    open_cache: Callable[..., PostgresCache], catalog_pool: asyncpg.Pool
) -> None:
    """Batches larger than a statement may be, with calls that occur twice, are answered place by place."""
    cache = open_cache(batch_max=7)
    tasks = [task("t"), task("u")]
    calls = [ask(tasks[number % 2], a=integer(number % 13)) for number in range(40)]
    outcomes = await cache.put([entry(call, f"{place}") for place, call in enumerate(calls)])
    assert all(isinstance(outcome, CachePutDone) for outcome in outcomes)
    answers = await cache.look_up(calls)
    first = {(call.task.name, call.inputs): place for place, call in reversed(list(enumerate(calls)))}
    for call, answer in zip(calls, answers, strict=True):
        assert isinstance(answer, CacheHit)
        assert answer.outputs == values(o0=text(f"{first[call.task.name, call.inputs]}"))
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == len(first)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_datasets") == 2
    assert await cache.look_up([]) == []
    assert await cache.put([]) == []


async def test_the_first_writer_wins_unless_told_to_overwrite(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """A second put leaves the entry; an overwriting one replaces outputs and source, and the artifact's id stays."""
    call = ask(task(), a=integer(3))
    (first,) = await cache.put([entry(call, "first")])
    (second,) = await cache.put([entry(call, "second")])
    assert _catalog(first) == _catalog(second)
    later = SOURCE._replace(execution="later", attempt=2)
    (third,) = await cache.put([entry(call, "third", overwrite=True, source=later)])
    assert _catalog(third) == _catalog(first)
    hit = await _one(cache, call)
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("third"))
    assert _catalog(hit).source_task_execution.node_execution_id.execution_id.name == "later"
    assert _catalog(hit).source_task_execution.retry_attempt == 2
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
    fresh = ask(task(), a=integer(4))
    outcomes = await cache.put([entry(fresh, "x", overwrite=True), entry(fresh, "y", overwrite=True)])
    assert _catalog(outcomes[0]) == _catalog(outcomes[1])
    hit = await _one(cache, fresh)
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("y"))


async def test_of_two_writers_at_once_one_wins(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """Many writers of many keys at the same time leave one entry a key, and all hear of that one."""
    call = [ask(task(), a=integer(number)) for number in range(5)]
    puts = [
        cache.put([entry(one, f"{writer}") for one in (call if writer % 2 else call[::-1])]) for writer in range(16)
    ]
    outcomes = await asyncio.gather(*puts)
    hits = await cache.look_up(call)
    for number, hit in enumerate(hits):
        assert isinstance(hit, CacheHit)
        told = {
            _catalog(outcome[number if writer % 2 else 4 - number]).artifact_tag.artifact_id
            for writer, outcome in enumerate(outcomes)
        }
        assert told == {_catalog(hit).artifact_tag.artifact_id}
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 5
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_tags") == 5


async def test_orders_of_members_share_an_entry(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """A hundred orders of a dictionary hit one entry, which Flyte's tag of the first order leads to as well."""
    dictionary = task(inputs={"a": types_pb2.LiteralType(simple=types_pb2.STRUCT)})
    members = [("e", 1), ("b", 2), ("d", 3), ("a", {"y": 1, "x": 2}), ("c", 5)]
    calls = []
    for order, _ in zip(permutations(members), range(100), strict=False):
        binary = literals_pb2.Binary(value=msgpack.packb(dict(order)), tag="msgpack")
        calls.append(ask(dictionary, a=literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))))
    await cache.put([entry(calls[0], "first")])
    assert all(isinstance(answer, CacheHit) for answer in await cache.look_up(calls))
    await cache.put([entry(call, "other") for call in calls])
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_tags") == 2
    await cache.put([entry(calls[50], "over", overwrite=True)])
    assert {answer.outputs for answer in await cache.look_up(calls) if isinstance(answer, CacheHit)} == {
        values(o0=text("over"))
    }


async def test_tasks_without_outputs_have_entries(cache: PostgresCache) -> None:
    """That something was done is worth knowing as well."""
    call = ask(task(outputs={}), a=integer(3))
    (done,) = await cache.put([CachePut(call, b"", SOURCE)])
    assert isinstance(done, CachePutDone)
    assert isinstance(await _one(cache, call), CacheHit)


async def test_what_has_no_key_fails_alone(cache: PostgresCache) -> None:
    """A task without a cache version and outputs that are not the task's are failures beside entries that are kept."""
    good = ask(task(), a=integer(3))
    outcomes = await cache.put(
        [
            entry(ask(task(version=" "), a=integer(3)), "x"),
            CachePut(good, values(o1=text("x")), SOURCE),
            CachePut(good, values(o0=integer(1)), SOURCE),
            CachePut(good, b"\xff", SOURCE),
            entry(good, "good"),
            entry(ask(task(), a=integer(4)), "a\0b"),
        ]
    )
    reasons = [outcome.reason if isinstance(outcome, CacheFailure) else "" for outcome in outcomes]
    assert "no cache version" in reasons[0]
    assert "no output o0 and output o1 is not" in reasons[1]
    assert "type" in reasons[2]
    assert "cannot be read" in reasons[3]
    assert reasons[4:] == ["", ""]
    answers = await cache.look_up([ask(task(version=""), a=integer(3)), good])
    assert isinstance(answers[0], CacheFailure)
    assert isinstance(answers[1], CacheHit)


async def test_the_database_refuses_one_of_many(cache: PostgresCache) -> None:
    """An entry that Postgres cannot store fails with its reason, and its neighbours are kept."""
    calls = [ask(task(), a=integer(number)) for number in range(6)]
    puts = [entry(call, "x") for call in calls]
    puts[3] = entry(calls[3], "x", source=SOURCE._replace(node_id="n\0"))
    outcomes = await cache.put(puts)
    assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, CacheFailure)] == [3]
    answers = await cache.look_up(calls)
    assert [place for place, answer in enumerate(answers) if isinstance(answer, CacheMiss)] == [3]


async def test_large_outputs_lie_in_the_store(
    open_cache: Callable[..., PostgresCache], catalog_pool: asyncpg.Pool, blobs: FolderBlobs
) -> None:
    """They are found again; those of a loser are removed; an entry whose outputs are gone is a miss and goes."""
    cache = open_cache(inline_bytes_max=100)
    call = ask(task(), a=integer(3))
    await cache.put([entry(call, "x" * 1000)])
    await cache.put([entry(call, "y" * 1000)])
    (stored,) = await blobs.list(f"{blobs.base}/cache/")
    hit = await _one(cache, call)
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("x" * 1000))
    await blobs.put(stored, b"poison")
    assert isinstance(await _one(cache, call), CacheMiss)
    assert await blobs.list(f"{blobs.base}/cache/") == []
    for lose in ("gone", "elsewhere"):
        await cache.put([entry(call, "z" * 1000)])
        (stored,) = await blobs.list(f"{blobs.base}/cache/")
        if lose == "elsewhere":
            await catalog_pool.execute("UPDATE cache_artifacts SET data_uri = 's3://another/store'")
        await blobs.delete(stored)
        assert isinstance(await _one(cache, call), CacheMiss)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 0
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_tags") == 0


async def test_an_entry_whose_file_is_gone_is_a_miss_and_goes(cache: PostgresCache, blobs: FolderBlobs) -> None:
    """Files and folders are looked at; what lies elsewhere counts as present; after a new put there is a hit again."""
    makes = task(outputs={"o0": FILE})
    kept, gone, elsewhere = (ask(makes, a=integer(number)) for number in range(3))
    await blobs.put(f"{blobs.base}/kept", b"1")
    await blobs.put(f"{blobs.base}/gone", b"2")
    await cache.put(
        [
            CachePut(kept, values(o0=file(f"{blobs.base}/kept")), SOURCE),
            CachePut(gone, values(o0=file(f"{blobs.base}/gone")), SOURCE),
            CachePut(elsewhere, values(o0=file("s3://elsewhere/x")), SOURCE),
        ]
    )
    assert all(isinstance(answer, CacheHit) for answer in await cache.look_up([kept, gone, elsewhere]))
    await blobs.delete(f"{blobs.base}/gone")
    answers = await cache.look_up([kept, gone, elsewhere])
    assert [isinstance(answer, CacheHit) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], CacheMiss)
    await cache.put([CachePut(gone, values(o0=file(f"{blobs.base}/kept")), SOURCE)])
    assert isinstance(await _one(cache, gone), CacheHit)


_POISONS = [
    "UPDATE cache_artifacts SET data = data || '\\x00' WHERE source_node = 'n0'",
    "UPDATE cache_artifacts SET data_digest = sha256('x') WHERE source_node = 'n0'",
    """UPDATE cache_artifacts AS a SET data = b.data
        FROM cache_artifacts AS b WHERE a.source_node = 'n0' AND b.source_node = 'n1'""",
    """UPDATE cache_artifacts AS a SET data = b.data, data_digest = b.data_digest
        FROM cache_artifacts AS b WHERE a.source_node = 'n0' AND b.source_node = 'n1'""",
]
"""What somebody may do to an entry behind our back."""


async def test_poisoned_entries_are_refused(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """Outputs that are not those that were put, be they of another entry, are a miss, and the entry goes."""
    for poison in _POISONS:
        await catalog_pool.execute("DELETE FROM cache_artifacts")
        calls = [ask(task(), a=integer(number)) for number in range(2)]
        await cache.put([entry(call, f"{n}", source=SOURCE._replace(node_id=f"n{n}")) for n, call in enumerate(calls)])
        await catalog_pool.execute(poison)
        answers = await cache.look_up(calls)
        assert [type(answer) for answer in answers] == [CacheMiss, CacheHit], poison
        assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
        await cache.put([entry(calls[0], "again")])
        assert isinstance(await _one(cache, calls[0]), CacheHit)


async def test_old_entries_are_not_used(open_cache: Callable[..., PostgresCache], catalog_pool: asyncpg.Pool) -> None:
    """With an age limit an entry that is older is a miss, and the next run puts a new one."""
    cache = open_cache(age_max_s=3600.0)
    call = ask(task(), a=integer(3))
    await cache.put([entry(call, "old")])
    assert isinstance(await _one(cache, call), CacheHit)
    await catalog_pool.execute("UPDATE cache_artifacts SET updated_at = now() - interval '2 hours'")
    assert isinstance(await _one(cache, call), CacheMiss)
    await cache.put([entry(call, "new")])
    hit = await _one(cache, call)
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("new"))


@pytest.mark.parametrize("table", ["cache_tags", "cache_artifacts", "cache_datasets"])
async def test_locked_tables_are_failures_soon(hasty_cache: PostgresCache, pool: asyncpg.Pool, table: str) -> None:
    """While somebody holds a table, look-ups and puts that need it raise OSError instead of waiting; then they work."""
    call = ask(task(), a=integer(3))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OSError, match="lock"):
            await hasty_cache.put([entry(call, "x")])
        if table != "cache_datasets":
            with pytest.raises(OSError, match="lock"):
                await hasty_cache.look_up([call])
    await hasty_cache.put([entry(call, "x")])
    assert isinstance(await _one(hasty_cache, call), CacheHit)


async def test_a_full_disk_is_an_outage(cache: PostgresCache, pool: asyncpg.Pool) -> None:
    """Postgres has no room: puts raise OSError and leave nothing, look-ups go on; afterwards puts work again."""
    kept = ask(task(), a=integer(1))
    await cache.put([entry(kept, "x")])
    await pool.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$"
    )
    await pool.execute("CREATE TRIGGER no_room BEFORE INSERT ON cache_tags EXECUTE FUNCTION no_room()")
    call = ask(task("u"), a=integer(3))
    with pytest.raises(OSError, match="No space left"):
        await cache.put([entry(call, "x")])
    assert isinstance(await _one(cache, kept), CacheHit)
    assert await pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
    await pool.execute("DROP TRIGGER no_room ON cache_tags")
    await cache.put([entry(call, "x")])
    assert isinstance(await _one(cache, call), CacheHit)


async def test_a_full_blob_store_fails_the_large_entries(
    open_cache: Callable[..., PostgresCache], blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries whose outputs the store does not take are failures; those that fit into rows are kept."""

    async def full(_uri: str, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs, "put", full)
    cache = open_cache(inline_bytes_max=100)
    outcomes = await cache.put(
        [entry(ask(task(), a=integer(1)), "x" * 1000), entry(ask(task(), a=integer(2)), "small")]
    )
    assert isinstance(outcomes[0], CacheFailure)
    assert "No space left" in outcomes[0].reason
    assert isinstance(outcomes[1], CachePutDone)
