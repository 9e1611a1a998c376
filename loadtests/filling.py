"""Many executions that have ended, written by SQL as launches and engines would have left them."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
from flyteidl.admin import execution_pb2, matchable_resource_pb2
from flyteidl.core import literals_pb2

PROJECTS = tuple(f"project-{number}" for number in range(10))
DOMAIN = "development"
TEAMS = 20
USERS = 500
_BATCH = 25_000
_AT_ONCE = 3
_TABLES = ("executions", "execution_search", "execution_tags", "node_executions", "task_executions")

_FILL = """
WITH numbers AS (
    SELECT n, 'project-' || n % 10 AS project,
        $5::timestamptz + ($6::timestamptz - $5) * ((n - $7::bigint)::float8 / $8::bigint) AS at,
        n % 1000 < $4::integer AS failed
    FROM generate_series($1::bigint, $2::bigint) AS n
), made AS (
    INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs, user_inputs,
        principal, phase, created_at, started_at, ended_at, updated_at, error, error_kind, error_code)
    SELECT project, 'development', 'e' || n, n % 256, 'launch_plan', $3,
        $10::bytea, $11::bytea, $12::bytea, $12::bytea, 'user-' || n % 500, CASE WHEN failed THEN 6 ELSE 4 END,
        at, at + interval '1 second', at + interval '10 seconds', at + interval '10 seconds',
        CASE WHEN failed THEN
            -- An ExecutionError with this message; its length takes two bytes.
            '\\x12'::bytea
                || set_byte(set_byte('\\x0000'::bytea, 0, length(message) & 127 | 128), 1, length(message) >> 7)
                || convert_to(message, 'UTF8')
        END,
        CASE WHEN failed THEN 1 END, CASE WHEN failed THEN 'USER:RuntimeError' END
    FROM numbers CROSS JOIN LATERAL (
        SELECT 'Traceback (most recent call last): File "/root/train.py", line ' || n % 997 || ', in train_step: '
            || repeat('the loss of step ' || n % 31 || ' is not finite; ', 5) || 'lost shard ' || n
            || ': RuntimeError: CUDA error ' || md5(n::text) AS message
    ) AS text
    RETURNING id, project, name
), searched AS (
    INSERT INTO execution_search (execution_id, project, labels, inputs)
    SELECT id, project, jsonb_build_object('team', 'team-' || n % 20, 'run', 'run-' || n / 10),
        jsonb_build_object('seed', n, 'model', 'model-' || n % 100, 'rate', n % 7)
    FROM (SELECT id, project, substring(name FROM 2)::bigint AS n FROM made) AS numbered
), tagged AS (
    INSERT INTO execution_tags (execution_id, key, value)
    SELECT id, 'team', 'team-' || substring(name FROM 2)::bigint % 20 FROM made
), nodes AS (
    INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at, started_at,
        ended_at, updated_at, inputs, outputs)
    SELECT m.id, 'n' || k, k, 'n' || k, 2, 3, now(), now(), now(), now(), $12, $12
    FROM made AS m CROSS JOIN generate_series(1, $9::integer) AS k
), attempts AS (
    INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name, task_version,
        task_type, name, phase, created_at, started_at, ended_at, updated_at)
    SELECT m.id, 'n' || k, 0, 'p', 'd', 'task', 'v1', 'python-task', m.name || '-n' || k || '-0', 3, now(), now(),
        now(), now()
    FROM made AS m CROSS JOIN generate_series(1, $9::integer) AS k
)
SELECT count(*) FROM made
"""


def _messages() -> tuple[bytes, bytes, bytes]:
    """Spec, settings and inputs as large as those of a launch by flytekit."""
    spec = execution_pb2.ExecutionSpec()
    spec.launch_plan.project, spec.launch_plan.domain, spec.launch_plan.name = "project-0", DOMAIN, "module.workflow"
    for number in range(5):
        spec.annotations.values[f"example.org/annotation-{number}"] = "x" * 40
    config = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=25)
    config.labels.values["team"] = "team-1"
    inputs = literals_pb2.LiteralMap()
    for name in ("seed", "model", "rate"):
        inputs.literals[name].scalar.primitive.integer = 7
    return spec.SerializeToString(), config.SerializeToString(), inputs.SerializeToString()


async def fill_executions(
    pool: asyncpg.Pool,
    count: int,
    *,
    failed: float = 0.02,
    first: int = 0,
    nodes: int = 0,
    begin: datetime | None = None,
    end: datetime | None = None,
    settle: bool = True,
) -> None:
    """Add `count` executions numbered from `first`, launched evenly between `begin` and `end` (the last 30 days unless
    said), a share `failed` of them with an error, each with `nodes` nodes and attempts; then vacuum, unless that is
    left to whoever does so in life."""
    end = end or datetime.now(UTC)
    begin = begin or end - timedelta(days=30)
    workflow = await pool.fetchval("SELECT id FROM workflows LIMIT 1") or await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('project-0', 'development', 'w', 'v1', '', '', '') RETURNING id"
    )
    messages = _messages()
    turns = asyncio.Semaphore(min(_AT_ONCE, pool.get_max_size()))

    async def fill(low: int) -> None:
        high = min(low + _BATCH, first + count) - 1
        async with turns, pool.acquire() as connection, connection.transaction():
            # What a row refers to is made by the same statement, and it is only a measurement's database.
            await connection.execute("SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off")
            await connection.execute(
                _FILL,
                *(low, high, workflow, round(failed * 1000), begin, end, first, count, nodes, *messages),
                timeout=None,
            )

    await asyncio.gather(*(fill(low) for low in range(first, first + count, _BATCH)))
    for table in _TABLES if settle else ():
        await pool.execute(f"VACUUM (ANALYZE) {table}", timeout=None)
