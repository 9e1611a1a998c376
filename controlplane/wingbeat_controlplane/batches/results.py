"""Results of rows: one JSON object a line. Pure."""

import datetime as dt
from dataclasses import dataclass

import asyncpg
import orjson
from flyteidl.core import execution_pb2, literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.launching.json_literals import Json
from wingbeat_controlplane.launching.literal_json import json_of_map
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeatidl.batch.v1 import row_pb2

_PHASES = {
    ExecutionPhase.SUCCEEDED: row_pb2.ROW_PHASE_SUCCEEDED,
    ExecutionPhase.FAILED: row_pb2.ROW_PHASE_FAILED,
    ExecutionPhase.TIMED_OUT: row_pb2.ROW_PHASE_TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A row that has ended; `name` is None if it was refused."""

    row: int
    key: str
    attempt: int
    line: int
    phase: int
    name: str | None
    error: str | None
    ended_at: dt.datetime
    outputs: bytes | None
    outputs_uri: str | None

    @classmethod
    def of(cls, row: asyncpg.Record, error_length_max: int) -> "Ended":
        """As the block `ended` reads it."""
        is_refused = row["phase"] == row_pb2.ROW_PHASE_REFUSED
        phase: int = row_pb2.ROW_PHASE_REFUSED
        error: str | None = row["refusal"]
        if not is_refused:
            phase = _PHASES.get(row["execution_phase"], row_pb2.ROW_PHASE_ABORTED)
            error = None if row["is_there"] else "the execution was deleted before its result was written"
            if row["error"] is not None:
                error = execution_pb2.ExecutionError.FromString(row["error"]).message
        return cls(
            row=row["row"],
            key=row["key"],
            attempt=row["attempt"],
            line=row["line"],
            phase=phase,
            name=row["name"],
            error=None if error is None else error[:error_length_max].replace("\0", ""),
            ended_at=row["ended_at"] or row["refused_at"] or dt.datetime.now(dt.UTC),
            outputs=row["outputs"],
            outputs_uri=row["outputs_uri"],
        )


def row_phase(ended: Ended) -> int:
    """RowPhase of a row that has ended."""
    return ended.phase


def result_line(ended: Ended, project: str, domain: str) -> bytes:
    """The row's result. Outputs too large for a row are told by their URI."""
    result: dict[str, Json] = {
        "row": ended.row,
        "line": ended.line,
        "key": ended.key,
        "attempt": ended.attempt,
        "phase": row_pb2.RowPhase.Name(ended.phase).removeprefix("ROW_PHASE_"),
        "execution": None if ended.name is None else {"project": project, "domain": domain, "name": ended.name},
        "error": ended.error,
        "outputs": _outputs(ended),
        "outputs_uri": ended.outputs_uri,
        "ended_at": ended.ended_at.isoformat(),
    }
    return orjson.dumps(result)


def _outputs(ended: Ended) -> Json:
    if ended.phase != row_pb2.ROW_PHASE_SUCCEEDED or ended.outputs is None:
        return None
    try:
        return json_of_map(literals_pb2.LiteralMap.FromString(ended.outputs))
    except DecodeError:
        return None
