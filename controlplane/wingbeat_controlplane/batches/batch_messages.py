"""Batches and rows as messages. Pure."""

from collections.abc import Iterable

import asyncpg

from wingbeat_controlplane.batches.driver import results_uri
from wingbeat_controlplane.registry.times import timestamp
from wingbeatidl.batch.v1 import batch_pb2, manifest_pb2, row_pb2
from wingbeatidl.query.v1 import identity_pb2

_OF_EXECUTIONS = {
    0: row_pb2.ROW_PHASE_QUEUED,
    1: row_pb2.ROW_PHASE_QUEUED,
    4: row_pb2.ROW_PHASE_SUCCEEDED,
    6: row_pb2.ROW_PHASE_FAILED,
    8: row_pb2.ROW_PHASE_TIMED_OUT,
    7: row_pb2.ROW_PHASE_ABORTED,
}


def batch_message(row: asyncpg.Record, base: str) -> batch_pb2.Batch:
    """As the block `get` reads it; `base` is the prefix of the blob store."""
    state = row["state"]
    if row["paused"] and state in (batch_pb2.BATCH_STATE_CHECKING, batch_pb2.BATCH_STATE_RUNNING):
        state = batch_pb2.BATCH_STATE_PAUSED
    never = row["total"] - row["next_row"] if row["state"] != batch_pb2.BATCH_STATE_CHECKING else 0
    return batch_pb2.Batch(
        id=batch_pb2.BatchIdentifier(project=row["project"], domain=row["domain"], name=row["name"]),
        spec=batch_pb2.BatchSpec.FromString(row["spec"]),
        manifest=manifest_pb2.Manifest(
            uri=row["uri"],
            format=row["format"],
            key_column=row["key_column"],
            size=row["size"] or 0,
            sha256=row["sha256"] or "",
        ),
        state=state,
        message=row["message"],
        counts=batch_pb2.BatchCounts(
            total=row["total"],
            pending=never + row["retrying"],
            queued=row["queued"],
            running=row["running"],
            succeeded=row["succeeded"] + row["more_succeeded"],
            failed=row["failed"] + row["more_failed"],
            timed_out=row["timed_out"] + row["more_timed_out"],
            aborted=row["aborted"] + row["more_aborted"],
            refused=row["refused"] + row["more_refused"],
        ),
        created_at=timestamp(row["created_at"]),
        updated_at=timestamp(row["updated_at"]),
        ended_at=None if row["ended_at"] is None else timestamp(row["ended_at"]),
        results_uri=results_uri(base, row),
        results_written=row["results"],
    )


def row_message(row: asyncpg.Record, batch: batch_pb2.BatchIdentifier) -> row_pb2.BatchRow:
    """As the block `rows` reads it."""
    phase = row["phase"]
    if phase == row_pb2.ROW_PHASE_QUEUED:
        phase = _OF_EXECUTIONS.get(row["execution_phase"], row_pb2.ROW_PHASE_RUNNING)
        if row["execution_phase"] is None:
            phase = row_pb2.ROW_PHASE_ABORTED
    ended_at = row["ended_at"] or row["execution_ended_at"]
    execution = None
    if row["name"] is not None:
        execution = identity_pb2.ExecutionIdentifier(project=batch.project, domain=batch.domain, name=row["name"])
    return row_pb2.BatchRow(
        number=row["row"],
        key=row["key"],
        phase=phase,
        attempt=row["attempt"],
        execution=execution,
        error=row["error"] or "",
        ended_at=None if ended_at is None else timestamp(ended_at),
        line=row["line"],
    )


def stored_phases(wanted: Iterable[int]) -> list[int]:
    """Phases of rows as stored among which those of `wanted` are: what was launched and is not written is QUEUED."""
    found = set(wanted)
    if found - {row_pb2.ROW_PHASE_PENDING, row_pb2.ROW_PHASE_REFUSED}:
        found.add(row_pb2.ROW_PHASE_QUEUED)
    return sorted(found - {row_pb2.ROW_PHASE_RUNNING})
