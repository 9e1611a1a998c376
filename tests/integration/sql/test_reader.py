"""What a question may do, and what it may not."""

import asyncio
from dataclasses import replace

import asyncpg
import grpc
import pytest
from tests.integration.sql.conftest import OURS, THEIRS, Readers

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.sql.luck import counts_on_luck
from wingbeat_controlplane.sql.reader import SqlOptions, SqlReader


async def _refused(readers: Readers, question: str, *projects: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await readers.rows(question, projects=projects or None)
    return caught.value


_REFUSED = [
    "",
    "selct 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; COMMIT",
    "DELETE FROM executions",
    "WITH gone AS (DELETE FROM public.executions RETURNING 1) SELECT * FROM gone",
    "INSERT INTO public.projects (identifier, name) VALUES ('x', 'x')",
    "UPDATE public.executions SET principal = 'x'",
    "SET ROLE postgres",
    "RESET ROLE",
    "COMMIT",
    "SELECT 1 INTO TEMP t",
    "CREATE TEMP TABLE t (x int)",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "EXPLAIN ANALYZE SELECT 1",
    "DO $$ BEGIN END $$",
    "SELECT * FROM public.executions",
    "SELECT * FROM public.sql_scopes",
    "SELECT grant_readers()",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_create(0)",
    "SELECT query_to_xml('DELETE FROM public.executions', true, true, '')",
    "SELECT nextval('public.executions_id_seq')",
    "SELECT 1 / 0",
    "SELECT 1\nSET ROLE postgres",
    "\nRESET ROLE --",
]


@pytest.mark.parametrize("projects", [(), (OURS,)], ids=["all", "project"])
async def test_refusals(readers: Readers, pool: asyncpg.Pool, projects: tuple[str, ...]) -> None:
    """Nothing but one query over the views is taken, and what is refused changes nothing."""
    before = await pool.fetch("SELECT * FROM executions ORDER BY id")
    for question in _REFUSED:
        assert (await _refused(readers, question, *projects)).code is grpc.StatusCode.INVALID_ARGUMENT, question
    assert await pool.fetch("SELECT * FROM executions ORDER BY id") == before
    assert await readers.rows("SELECT current_user::text") == [("wingbeat_reader",)]


_SEEING = [
    "SELECT name FROM executions",
    "SELECT name FROM executions WHERE project = 'secret' OR true",
    "SELECT execution FROM nodes",
    "SELECT execution FROM attempts",
    "SELECT execution FROM cache_outcomes",
    "SELECT execution FROM labels",
    "SELECT execution FROM transitions",
    "SELECT name FROM search_errors('%memory%')",
    "SELECT name FROM executions WHERE error ILIKE '%memory%'",
    """SELECT name FROM executions WHERE inputs @> '{"x": 42}'""",
    # Settings, whatever they are called, do not matter.
    "SELECT name FROM executions WHERE set_config('wingbeat.projects', '{secret}', false) <> ''",
    "SELECT name FROM executions WHERE set_config('search_path', 'wingbeat_views', false) <> ''",
    "SELECT name FROM executions WHERE set_config('row_security', 'off', false) <> ''",
]


async def test_projects_are_apart(readers: Readers) -> None:
    """A question about one project sees no row of another, in any view, whatever it sets."""
    for question in _SEEING:
        assert {row[0] for row in await readers.rows(question, projects=[OURS])} == {"ours"}, question
        assert {row[0] for row in await readers.rows(question, projects=[OURS, THEIRS])} == {"ours", "theirs"}
        assert await readers.rows(question, projects=["other"]) == []


_LEAKS = [
    # Each would fail, or tell what it saw, if it met the hidden row.
    "executions WHERE 1 / (CASE WHEN name = 'theirs' THEN 0 ELSE 1 END) = 1",
    "executions WHERE (CASE WHEN name = 'theirs' THEN name ELSE '1' END)::integer = 1",
    "executions WHERE CASE WHEN error LIKE 'theirs%' THEN error::integer ELSE 1 END = 1",
    "executions WHERE (CASE labels ->> 'team' WHEN 'theirs' THEN 'x' ELSE '1' END)::integer = 1",
    "executions WHERE (CASE inputs ->> 'word' WHEN 'theirs' THEN 'x' ELSE '1' END)::integer = 1",
    "executions WHERE (CASE workflow WHEN 'hidden' THEN workflow ELSE '1' END)::integer = 1",
    """(SELECT execution AS name, value FROM labels) AS l
        WHERE (CASE value WHEN 'theirs' THEN value ELSE '1' END)::integer = 1""",
    """executions WHERE labels ->> 'team' IN (SELECT value FROM labels)
        AND 1 / (CASE WHEN labels ->> 'team' = 'theirs' THEN 0 ELSE 1 END) = 1""",
]


async def test_nothing_leaks_through_errors(readers: Readers, pool: asyncpg.Pool) -> None:
    """Conditions of the caller never meet rows that he may not see, in whatever order they are looked at."""
    await pool.execute(
        "WITH w AS (INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('p', 'd', 'hidden', 'v1', '', '', '') RETURNING id)"
        " UPDATE executions SET workflow_id = w.id FROM w WHERE executions.name = 'theirs'"
    )
    for table in ("executions", "execution_search", "execution_tags"):
        await pool.execute(f"ANALYZE {table}")
    for condition in _LEAKS:
        for order in ("", " ORDER BY 1 DESC LIMIT 3"):
            question = f"SELECT name FROM {condition}{order}"
            assert await readers.rows(question, projects=[OURS]) == [("ours",)], question


async def test_whoever_owns_the_views(readers: Readers, pool: asyncpg.Pool) -> None:
    """A copy of the database whose views were given to its user shows no rows of other projects."""
    for view in ("executions", "labels"):
        await pool.execute(f"ALTER VIEW wingbeat_project_views.{view} OWNER TO CURRENT_USER")
        assert len(await readers.rows(f"SELECT * FROM {view}", projects=[OURS])) == 1


async def _add_many(pool: asyncpg.Pool) -> None:
    """Five thousand executions more of each project; label and input `common` name the project."""
    await pool.execute(
        "WITH many AS ("
        " INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, phase)"
        " SELECT project, domain, name || n, shard, launch_entity, workflow_id, '', '', 4"
        " FROM executions, generate_series(1, 5000) AS n RETURNING id, project"
        ") INSERT INTO execution_search (execution_id, project, labels, inputs)"
        " SELECT id, project, jsonb_build_object('common', project), jsonb_build_object('common', project) FROM many"
    )
    for table in ("executions", "execution_search"):
        await pool.execute(f"VACUUM (ANALYZE) {table}")


@pytest.mark.parametrize("column", ["labels", "inputs"])
async def test_what_only_others_have(readers: Readers, pool: asyncpg.Pool, database_url: str, column: str) -> None:
    """What is common in another project is seen to be none of the project asked about, without a look at the executions
    that have it: by the condition of the question, and by the filter."""
    await _add_many(pool)
    executions = await pool.fetchval("SELECT count(*) FROM executions WHERE project = $1", THEIRS)
    search_pages = await pool.fetchval("SELECT pg_table_size('execution_search') / 8192")
    condition = f"""{column} @> '{{"common": "{THEIRS}"}}'"""
    newest = "ORDER BY execution_id DESC LIMIT 10"
    for project, where in ((OURS, condition), (None, f"project = '{OURS}' AND {condition}")):
        plan = await readers.plan(pool, database_url, f"SELECT name FROM executions WHERE {where} {newest}", project)
        assert plan["Actual Rows"] == 0
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 3 * search_pages < executions


_LONG = "executions, generate_series(1, 10000) AS number WHERE error <> number::text AND project <> ''"
"""Rows whose conditions the planner takes for dear."""


async def test_luck_has_an_end(readers: Readers) -> None:
    """A question whose plan counts on finding early what it looks for is planned anew when it does not."""
    lost = (
        f"SELECT name, current_setting('enable_indexscan') FROM {_LONG}"
        " AND (current_setting('enable_indexscan') = 'off' OR pg_sleep(60) IS NULL)"
        " ORDER BY execution_id DESC LIMIT 2"
    )
    for projects in (None, [OURS]):
        assert {row[1] for row in await readers.rows(lost, projects=projects)} == {"off"}
        # The next one begins as ever.
        found = "SELECT current_setting('enable_indexscan') FROM executions ORDER BY execution_id DESC LIMIT 1"
        assert await readers.rows(found, projects=projects) == [("on",)]


async def test_luck_that_holds(readers: Readers, pool: asyncpg.Pool, database_url: str) -> None:
    """A question that does find early what it looks for keeps its plan, and has its whole time for the rest."""
    question = (
        "SELECT execution_id, current_setting('enable_indexscan'), current_setting('statement_timeout')"
        f" FROM (SELECT execution_id FROM {_LONG} ORDER BY execution_id DESC LIMIT 501) AS found"
    )
    assert counts_on_luck(await readers.plan(pool, database_url, question, None))
    reader = SqlReader(database_url, pool, SqlOptions(luck_s=8, timeout_s=20))
    try:
        rows = await Readers(reader).rows(question, projects=None)
        assert [row[1:] for row in rows] == [("on", "8s")] * 500 + [("on", "20s")]
    finally:
        await reader.close()


async def test_the_newest_of_many(readers: Readers, pool: asyncpg.Pool, database_url: str) -> None:
    """The newest few that match are found without reading all that match, with a filter by project as without."""
    await _add_many(pool)
    condition = f"""labels @> '{{"common": "{OURS}"}}'"""
    question = f"SELECT name FROM executions WHERE {condition} ORDER BY execution_id DESC LIMIT 10"
    plan = await readers.plan(pool, database_url, question, OURS)
    assert plan["Actual Rows"] == 10
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 500


_CLOSED = [
    "SELECT * FROM wingbeat_views.executions",
    "SELECT * FROM wingbeat_views.search_errors('%')",
    "SELECT * FROM public.executions",
    "SELECT set_config('role', 'wingbeat_reader', false)",
    "SELECT set_config('session_authorization', 'wingbeat_reader', false)",
]


async def test_the_unfiltered_views_are_closed(readers: Readers) -> None:
    """The role of single projects reaches neither the views of all nor the role that sees them."""
    for question in _CLOSED:
        assert "permission denied" in (await _refused(readers, question, OURS)).message, question


async def test_lines(readers: Readers) -> None:
    """A question may have several lines, and comments."""
    assert await readers.rows("-- how many\nSELECT count(*) -- all\nFROM executions;\n", projects=[OURS]) == [(1,)]


async def test_a_connection_forgets(readers: Readers, pool: asyncpg.Pool) -> None:
    """Locks and settings end with the question, and so does the scope."""
    lock = "SELECT pg_advisory_lock(7), set_config('statement_timeout', '1', false)"
    for _ in range(3):
        await readers.rows(lock, projects=[OURS])
    assert await pool.fetchval("SELECT pg_try_advisory_lock(7)")
    assert await pool.fetchval("SELECT count(*) FROM sql_scopes") == 0


async def test_time_is_limited(pool: asyncpg.Pool, database_url: str, executions: None) -> None:
    """A question that takes too long is ended, also one that lifts the database's limit."""
    reader = SqlReader(database_url, pool, SqlOptions(connections_max=1, timeout_s=0.5))
    try:
        for question in (
            "SELECT pg_sleep(60)",
            "SELECT pg_sleep(0.01), set_config('statement_timeout', '0', true) FROM generate_series(1, 100000)",
        ):
            with pytest.raises(ApiError) as caught:
                async for _ in reader.ask(question, projects=None):
                    pass
            assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        await reader.close()


async def test_rows_are_limited(readers: Readers) -> None:
    """No more rows come than asked for or allowed, and the last batch says so."""
    for limit, expected in ((5, 5), (0, 2_000), (500, 500)):
        batches = [
            batch
            async for batch in readers.reader.ask(
                "SELECT * FROM generate_series(1, 3000)", projects=None, row_limit=limit
            )
        ]
        assert sum(len(batch.rows) for batch in batches) == expected
        assert [batch.is_cut for batch in batches if batch.is_cut] == [True]
    whole = [batch async for batch in readers.reader.ask("SELECT 1 AS x", projects=None, row_limit=1)]
    assert ([(column.name, column.type) for column in whole[0].columns], whole[-1].is_cut) == ([("x", "int4")], False)


async def test_questions_are_limited(pool: asyncpg.Pool, database_url: str, executions: None) -> None:
    """A question beyond those that run waits a little, then is sent away; the one that runs is not disturbed."""
    patient = SqlOptions(connections_max=1, wait_s=60)
    reader = SqlReader(database_url, pool, patient)
    try:
        first = reader.ask("SELECT * FROM generate_series(1, 3000)", projects=None)
        await anext(first)
        reader._options = replace(patient, wait_s=0.1)
        with pytest.raises(ApiError) as caught:
            await anext(reader.ask("SELECT 1", projects=None))
        reader._options = patient
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await first.aclose()
        assert (await anext(reader.ask("SELECT 1", projects=None))).rows == [(1,)]
    finally:
        await reader.close()


async def test_without_roles(pool: asyncpg.Pool, database_url: str) -> None:
    """Where nobody is let in, a sentence says what to do."""
    reader = SqlReader(database_url, pool, SqlOptions(connections_max=0))
    with pytest.raises(ApiError) as caught:
        await anext(reader.ask("SELECT 1", projects=None))
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    await asyncio.wait_for(reader.close(), 60)
