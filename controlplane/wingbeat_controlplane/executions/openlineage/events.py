"""Transitions of executions as OpenLineage run events. Pure, and the only module that knows the client's classes.

A run is an execution; its id follows from the execution's name, so events that are delivered twice are the same. A job
is what the execution was made from, a launch plan or a task. Datasets are the blobs that an execution was given and
those that its tasks have made.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from flyteidl.core import execution_pb2, literals_pb2
from google.protobuf.message import DecodeError
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import JobFacet, RunFacet, error_message_run, job_type_job, parent_run
from openlineage.client.facet_v2 import processing_engine_run as engine_run

from wingbeat_controlplane.executions.rows import Row
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.references import message_tokens

PRODUCER = "https://wingbeat.dev/openlineage"
DATASETS_MAX = 1_000
"""Inputs, and outputs, named in one event."""
MESSAGE_LENGTH_MAX = 10_000

_STATES = {
    ExecutionPhase.RUNNING: RunState.START,
    ExecutionPhase.SUCCEEDED: RunState.COMPLETE,
    ExecutionPhase.FAILED: RunState.FAIL,
    ExecutionPhase.TIMED_OUT: RunState.FAIL,
    ExecutionPhase.ABORTED: RunState.ABORT,
}


@dataclass(frozen=True, slots=True)
class Naming:
    """`namespace` of jobs, and the version of Wingbeat."""

    namespace: str
    version: str


def run_event(
    naming: Naming, execution: Row, phase: int, at: datetime, given: Sequence[str], made: Sequence[str]
) -> RunEvent | None:
    """The event of one transition, with URIs of the blobs that the execution was `given` and has `made`; None for
    phases that OpenLineage knows nothing of."""
    try:
        state = _STATES.get(ExecutionPhase(phase))
    except ValueError:
        state = None
    if state is None:
        return None
    run_facets: dict[str, RunFacet] = {
        "processing_engine": engine_run.ProcessingEngineRunFacet(version=naming.version, name="Wingbeat")
    }
    if execution["parent_name"] is not None:
        parent = (execution["parent_project"], execution["parent_domain"], execution["parent_name"])
        run_facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run_id(naming, *parent)),
            job=parent_run.Job(
                namespace=naming.namespace, name=_job_name(*parent[:2], execution["parent_entity_name"])
            ),
        )
    if state is RunState.FAIL:
        run_facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=_message(execution["error"]), programmingLanguage="PYTHON"
        )
    job_facets: dict[str, JobFacet] = {
        "jobType": job_type_job.JobTypeJobFacet(processingType="BATCH", integration="WINGBEAT", jobType="WORKFLOW")
    }
    is_over = state is not RunState.START
    place = (execution["project"], execution["domain"])
    return RunEvent(
        eventTime=at.isoformat(),
        producer=PRODUCER,
        eventType=state,
        run=Run(runId=run_id(naming, *place, execution["name"]), facets=run_facets),
        job=Job(namespace=naming.namespace, name=_job_name(*place, execution["entity_name"]), facets=job_facets),
        inputs=[InputDataset(namespace=space, name=name) for space, name in _datasets(given)],
        outputs=[OutputDataset(namespace=space, name=name) for space, name in _datasets(made)] if is_over else [],
    )


def run_id(naming: Naming, project: str, domain: str, name: str) -> str:
    """The run of an execution: the same whoever asks, and another one in another namespace."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}/{naming.namespace}/{project}/{domain}/{name}"))


def given_uris(inputs: bytes | None) -> list[str]:
    """URIs of blobs among the inputs of an execution, as its row has them."""
    try:
        literals = literals_pb2.LiteralMap.FromString(inputs or b"").literals
    except DecodeError:
        return []
    return [
        token.removeprefix("uri:")
        for name in sorted(literals)
        for token in message_tokens(literals[name])
        if token.startswith("uri:")
    ]


def dataset(uri: str) -> tuple[str, str]:
    """Namespace and name of a blob in OpenLineage's manner: `s3://bucket` and the key, `file` and the path."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return "file", parts.path or uri
    name = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", name or "/"


def _datasets(uris: Iterable[str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(dataset(uri) for uri in uris))[:DATASETS_MAX]


def _job_name(project: str, domain: str, name: str) -> str:
    return f"{project}.{domain}.{name}"


def _message(error: bytes | None) -> str:
    try:
        message = execution_pb2.ExecutionError.FromString(error or b"").message
    except DecodeError:
        message = ""
    return message[:MESSAGE_LENGTH_MAX] or "the execution failed"
