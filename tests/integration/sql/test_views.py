"""What the views show."""

import asyncpg
from flyteidl.admin import task_pb2
from flyteidl.core import execution_pb2, tasks_pb2
from tests.integration.sql.conftest import OURS, Readers


async def test_executions(readers: Readers) -> None:
    """An execution is found by input value, label, user and error text, in words."""
    question = (
        "SELECT name, phase, error, error_kind, labels, inputs, workflow, workflow_version FROM executions WHERE "
    )
    found = ("ours", "FAILED", "ours: CUDA out of memory", "USER", '{"team": "ours"}', '{"x": 42, "word": "ours"}')
    for condition in (
        """inputs @> '{"x": 42, "word": "ours"}'""",
        """labels @> '{"team": "ours"}'""",
        "launched_by = 'ada' AND project = 'flytesnacks'",
        "error ILIKE '%OURS%cuda%'",
    ):
        assert await readers.rows(question + condition) == [(*found, "w", "v1")]


async def test_progress(readers: Readers) -> None:
    """Nodes, attempts with those of elements, cache outcomes, labels and transitions name their execution."""
    where = "WHERE execution = 'ours'"
    assert await readers.rows(f"SELECT name, kind, phase, error FROM nodes {where}") == [
        ("train", "TASK", "FAILED", "ours: CUDA out of memory")
    ]
    assert await readers.rows(f"SELECT element, task, phase FROM attempts {where} ORDER BY element NULLS FIRST") == [
        (None, "train", "FAILED"),
        (7, "train", "SUCCEEDED"),
    ]
    assert await readers.rows(f"SELECT task, cache_status FROM cache_outcomes {where}") == [("train", "CACHE_HIT")]
    assert await readers.rows(f"SELECT key, value FROM labels {where}") == [("team", "ours")]
    assert await readers.rows(f"SELECT node_id, phase FROM transitions {where}") == [("n0", "RUNNING")]


async def test_resources(readers: Readers, pool: asyncpg.Pool) -> None:
    """An attempt shows what its task asks for."""
    closure = task_pb2.TaskClosure()
    resources = closure.compiled_task.template.container.resources
    resources.requests.add(name=tasks_pb2.Resources.CPU, value="2")
    resources.limits.add(name=tasks_pb2.Resources.CPU, value="4")
    resources.limits.add(name=tasks_pb2.Resources.MEMORY, value="1Gi")
    await pool.execute(
        "INSERT INTO tasks (project, domain, name, version, digest, type, closure)"
        " VALUES ($1, 'development', 'train', 'v1', '', 'python-task', $2)",
        *(OURS, closure.SerializeToString()),
    )
    assert await readers.rows("SELECT execution, resource, request, limit_ FROM resources ORDER BY resource") == [
        ("ours", "cpu", "2", "4"),
        ("ours", "memory", None, "1Gi"),
    ]


async def test_artifacts(readers: Readers, pool: asyncpg.Pool) -> None:
    """An artifact shows its partitions, aliases and who made it, in its project alone."""
    key = await pool.fetchval(
        "INSERT INTO artifacts (project, domain, name, version, partitions, spec, execution_name, var)"
        """ VALUES ($1, 'development', 'model', 'v1', '{"region": "eu"}', '', 'ours', 'o0') RETURNING id""",
        OURS,
    )
    await pool.execute("INSERT INTO artifact_tags VALUES ($1, 'development', 'model', 'prod', $2)", OURS, key)
    question = "SELECT name, partitions, aliases, execution, variable FROM artifacts WHERE 'prod' = ANY (aliases)"
    found = [("model", '{"region": "eu"}', ["prod"], "ours", "o0")]
    assert await readers.rows(question) == await readers.rows(question, projects=[OURS]) == found
    assert await readers.rows(question, projects=["secret"]) == []


async def test_error_messages(pool: asyncpg.Pool) -> None:
    """Every message comes out as text, wherever it stands in the error; a NUL is written out."""
    for message in ("", "plain", "ünïcode\n\ttext", "a\0b", "x" * 300):
        await _check_message(pool, message)


async def _check_message(pool: asyncpg.Pool, message: str) -> None:
    error = execution_pb2.ExecutionError(code="code", message=message, error_uri="uri", kind=1, worker="w")
    error.timestamp.GetCurrentTime()
    shown = await pool.fetchval("SELECT wingbeat_views.error_message($1)", error.SerializeToString())
    assert (shown or "") == message.replace("\0", "\\000")


async def test_malformed_errors(pool: asyncpg.Pool) -> None:
    """Bytes that are no message have no text, and never make a write fail, since an index looks at them."""
    await pool.execute(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('p', 'd', 'w', 'v', '', '', '')"
    )
    for error in (b"\x12", b"\x12\x05ab", b"\xff" * 20, b"\x0b\x0b", b"\x11abc", b"\x80"):
        stored = await pool.fetchval(
            "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, error)"
            " SELECT 'p', 'd', $1::bytea::text, 0, 'task', id, '', '', $1 FROM workflows"
            " RETURNING wingbeat_views.error_message(error)",
            error,
        )
        assert stored is None, error


async def test_documented_columns(pool: asyncpg.Pool) -> None:
    """The filtered views have the columns of the views, so that a question means the same in both."""
    columns = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1, 2"
    ours = await pool.fetch(columns, "wingbeat_views")
    assert ours == await pool.fetch(columns, "wingbeat_project_views")
    assert {row["table_name"] for row in ours} >= {"executions", "nodes", "attempts", "cache_outcomes", "resources"}
