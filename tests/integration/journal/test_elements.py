"""Rows of array elements: written in bulk with everything else, and read back as recovery wants them."""

import asyncpg
from tests.integration.journal.conftest import JournalRun
from tests.integration.journal.rows import NOW, effects_of, insert_executions, node_row

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import ElementRow
from wingbeat_propeller.ports.tasks import AttemptOrigin
from wingbeat_propeller.postgres.executions import PostgresExecutionStore

FAILURE = Failure(ErrorKind.USER, "C", "no")


def _element(
    execution: ExecutionKey, element: int, attempt: int, phase: TaskPhase, *, node_id: str = "n0", **columns: object
) -> ElementRow:
    ended_at = None if phase is TaskPhase.RUNNING else NOW + 2
    row = ElementRow(execution, node_id, element, attempt, phase, 0, NOW, NOW + 1, ended_at)
    return row._replace(**columns)


def _effects(*elements: ElementRow) -> Effects:
    effects = Effects(elements[0].execution)
    effects.elements += elements
    return effects


async def _array(journal: JournalRun, execution: ExecutionKey, node_id: str, phase: NodePhase) -> None:
    row = node_row(execution, node_id, phase)
    row.kind = NodeKind.ARRAY
    row.ended_at = NOW if phase is NodePhase.SUCCEEDED else None
    await journal.write(effects_of(row))


async def _stored(pool: asyncpg.Pool, database_url: str) -> list[ElementRow]:
    await pool.execute("UPDATE executions SET phase = 2, started_at = now() WHERE ended_at IS NULL")
    store = PostgresExecutionStore(pool, database_url)
    return [row for record in await store.live_executions([0], after=0, limit=10) for row in record.elements]


async def test_the_last_attempt_of_each_element_comes_back(
    journal: JournalRun, pool: asyncpg.Pool, database_url: str
) -> None:
    """Of arrays under way, in order of the elements, as it was written; other arrays are over and stay out."""
    (execution,) = await insert_executions(pool, 1)
    await _array(journal, execution, "n0", NodePhase.RUNNING)
    await _array(journal, execution, "n1", NodePhase.SUCCEEDED)
    last = [
        _element(execution, 0, 1, TaskPhase.RUNNING, system_failures=1, futures_uri="file:///f", deck_uri="file:///d"),
        _element(execution, 1, 0, TaskPhase.FAILED, failure=FAILURE),
        _element(execution, 10, 0, TaskPhase.SUCCEEDED, outputs=b"o"),
        _element(execution, 11, 0, TaskPhase.SUCCEEDED, output_uri="file:///o"),
    ]
    await journal.write(
        _effects(_element(execution, 0, 0, TaskPhase.RETRYABLE_FAILED, failure=FAILURE), *reversed(last)),
        _effects(_element(execution, 5, 0, TaskPhase.SUCCEEDED, node_id="n1")),
    )
    assert await _stored(pool, database_url) == last


async def test_details_stay_until_there_are_others(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Logs of a running element are kept when it ends, and its deck and what it has made, within one commit and over
    two; everything else is replaced."""
    first, second = await insert_executions(pool, 2)
    left = {"details": b"logs", "deck_uri": "file:///deck", "futures_uri": "file:///futures"}
    begun = [_element(execution, 0, 0, TaskPhase.RUNNING, **left) for execution in (first, second)]
    ended = [_element(execution, 0, 0, TaskPhase.SUCCEEDED, outputs=b"o") for execution in (first, second)]
    await journal.write(_effects(begun[0], ended[0]), _effects(begun[1]))
    await journal.write(_effects(ended[1]))
    rows = await pool.fetch("SELECT phase, details, deck_uri, futures_uri, outputs FROM array_elements")
    assert [tuple(row) for row in rows] == [(TaskPhase.SUCCEEDED, *left.values(), b"o")] * 2


async def test_a_deck_that_was_not_written_is_gone(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Empty says that there is none, unlike nothing."""
    (execution,) = await insert_executions(pool, 1)
    await journal.write(_effects(_element(execution, 0, 0, TaskPhase.RUNNING, deck_uri="file:///deck")))
    await journal.write(_effects(_element(execution, 0, 0, TaskPhase.FAILED, deck_uri="", failure=FAILURE)))
    assert await pool.fetchval("SELECT deck_uri FROM array_elements") == ""


async def test_a_dynamic_element_of_an_engine_before(
    journal: JournalRun, pool: asyncpg.Pool, database_url: str
) -> None:
    """The last release kept the address of the workflow in another column while it ran."""
    (execution,) = await insert_executions(pool, 1)
    await _array(journal, execution, "n0", NodePhase.RUNNING)
    await journal.write(_effects(_element(execution, 0, 0, TaskPhase.RUNNING, output_uri="file:///futures")))
    (row,) = await _stored(pool, database_url)
    assert row.futures_uri == "file:///futures"
    assert row.is_dynamic


async def test_attempts_of_elements_that_nobody_waits_for(
    journal: JournalRun, pool: asyncpg.Pool, database_url: str
) -> None:
    """Those that have ended, were followed by another, or belong to an array that is over."""
    (execution,) = await insert_executions(pool, 1)
    await _array(journal, execution, "n0", NodePhase.RUNNING)
    await _array(journal, execution, "n1", NodePhase.SUCCEEDED)
    await journal.write(
        _effects(
            _element(execution, 0, 0, TaskPhase.RETRYABLE_FAILED, failure=FAILURE),
            _element(execution, 0, 1, TaskPhase.RUNNING),
            _element(execution, 1, 0, TaskPhase.SUCCEEDED),
        )
    )
    name = await pool.fetchval("SELECT name FROM executions")

    def origin(element: int, attempt: int, node_id: str = "n0") -> AttemptOrigin:
        return AttemptOrigin("p", "d", name, node_id, attempt, element)

    wanted = {"running": origin(0, 1), "early": origin(0, 2), "not begun": origin(7, 0)}
    unwanted = {"retried": origin(0, 0), "ended": origin(1, 0), "array over": origin(0, 0, "n1")}
    store = PostgresExecutionStore(pool, database_url)
    assert sorted(await store.unwanted(wanted | unwanted)) == sorted(unwanted)
