"""Steps of a trace as messages: who ran, which code, with which values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from flyteidl.core import literals_pb2
from google.protobuf import timestamp_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.lineage.execution_graph import Value
from wingbeat_catalog.lineage.store import LineageStore, NodeKey, Row
from wingbeat_catalog.lineage.walk import Link, LinkKind, Step, Trace
from wingbeat_propeller.compiler.task_identity import task_identity
from wingbeat_propeller.core.plan import ArraySpec, LaunchPlanSpec, NodeKind, TaskSpec
from wingbeat_propeller.core.references import message_tokens
from wingbeat_propeller.tasks.literal_text import UnprintableLiteralError, literal_text
from wingbeatidl.lineage.v1 import lineage_pb2
from wingbeatidl.query.v1 import identity_pb2

TEXT_LENGTH_MAX = 200
URIS_MAX = 100
RUNS_MAX = 1_000
"""Runs of elements told of a link."""
_TOKENS_MAX = 10_000
_RUNS_MAX = 10_000
_KINDS = {
    NodeKind.TASK: lineage_pb2.STEP_KIND_TASK,
    NodeKind.ARRAY: lineage_pb2.STEP_KIND_ARRAY,
    NodeKind.GATE: lineage_pb2.STEP_KIND_SIGNAL,
    NodeKind.LAUNCH_PLAN: lineage_pb2.STEP_KIND_LAUNCH_PLAN,
}


async def step_messages(store: LineageStore, trace: Trace, steps: Sequence[Step]) -> list[lineage_pb2.Step]:
    """Messages of some steps of a trace. Raises OSError."""
    nodes = [(step.execution, step.node_id) for step in steps if step.node_id]
    details = await store.details(nodes)
    inputs = await store.execution_inputs(step.execution for step in steps if not step.node_id)
    large = [(step.execution, step.node_id) for step in steps if step.node_id and _is_large(details, step)]
    uris: dict[tuple[NodeKey, str], list[str]] = {}
    for row in await store.tokens(large, _TOKENS_MAX):
        kind, _, text = row["token"].partition(":")
        if kind == "uri":
            uris.setdefault(((row["execution_id"], row["node_id"]), row["var"]), []).append(text)
    messages = [_message(trace, step, details, inputs, uris) for step in steps]
    cached = [
        (step, link, told)
        for step, message in zip(steps, messages, strict=True)
        for link, told in zip(step.links, message.links, strict=True)
        if link.kind is LinkKind.CACHED
    ]
    runs: defaultdict[tuple[NodeKey, NodeKey], list[Row]] = defaultdict(list)
    for row in await store.elements(((step.execution, step.node_id) for step, _, _ in cached), _RUNS_MAX):
        source = (row["source_execution_id"], row["source_node_id"])
        runs[(row["execution_id"], row["node_id"]), source].append(row)
    for step, link, told in cached:
        found = runs[(step.execution, step.node_id), (link.execution, link.value.node_id)]
        told.elements.extend(_run(row) for row in found[:RUNS_MAX])
    return messages


def _run(row: Row) -> lineage_pb2.ElementRun:
    run = lineage_pb2.ElementRun(count=row["count"])
    if row["first"] >= 0:
        run.first = row["first"]
    if row["source_first"] >= 0:
        run.source_first = row["source_first"]
    return run


def _is_large(details: Mapping[NodeKey, Row], step: Step) -> bool:
    row = details.get((step.execution, step.node_id))
    return row is not None and row["outputs"] is None


def _message(
    trace: Trace,
    step: Step,
    details: Mapping[NodeKey, Row],
    inputs: Mapping[int, bytes | None],
    uris: Mapping[tuple[NodeKey, str], Sequence[str]],
) -> lineage_pb2.Step:
    loaded = trace.loaded[step.execution]
    message = lineage_pb2.Step(
        execution=execution_message(loaded.row),
        node_id=step.node_id,
        depth=step.depth,
        execution_phase=loaded.row["phase"],
        links=[_link(trace, link) for link in step.links],
    )
    if not step.node_id:
        message.kind = lineage_pb2.STEP_KIND_EXECUTION
        _span(message, loaded.row)
        message.entity.CopyFrom(_execution_entity(loaded.row))
        message.inputs.extend(_variables(inputs.get(step.execution), loaded.graph.output_names("")))
        return message
    known = loaded.graph.rows.get(step.node_id)
    kind = NodeKind.TASK if known is None else NodeKind(known.kind)
    message.kind = _KINDS.get(kind, lineage_pb2.STEP_KIND_WORKFLOW)
    row = details.get((step.execution, step.node_id))
    if row is not None:
        message.name = row["node_name"]
        message.node_phase = row["phase"]
        message.attempt = row["attempt"]
        _span(message, row)
        message.inputs.extend(_variables(row["inputs"], ()))
        names = loaded.graph.output_names(step.node_id) if row["ended_at"] is not None else ()
        message.outputs.extend(_variables(row["outputs"], names))
        for variable in message.outputs:
            if row["outputs"] is None:
                variable.uris.extend(uris.get(((step.execution, step.node_id), variable.name), ())[:URIS_MAX])
    _describe_target(message, loaded.graph.target(step.node_id))
    return message


def execution_message(row: Row) -> identity_pb2.ExecutionIdentifier:
    """The name of an execution."""
    return identity_pb2.ExecutionIdentifier(project=row["project"], domain=row["domain"], name=row["name"])


def _execution_entity(row: Row) -> lineage_pb2.Entity:
    is_task = row["launch_entity"] == "task"
    return lineage_pb2.Entity(
        kind=lineage_pb2.ENTITY_KIND_TASK if is_task else lineage_pb2.ENTITY_KIND_LAUNCH_PLAN,
        project=row["entity_project"] or "",
        domain=row["entity_domain"] or "",
        name=row["entity_name"] or "",
        version=row["entity_version"] or "",
    )


def _describe_target(message: lineage_pb2.Step, target: object) -> None:
    """Which version of what ran, and the code of it."""
    match target:
        case TaskSpec():
            kind = lineage_pb2.ENTITY_KIND_TASK
            message.code_versions.extend(task_identity(target.template).code)
        case ArraySpec(element=TaskSpec() as task):
            kind = lineage_pb2.ENTITY_KIND_TASK
            message.code_versions.extend(task_identity(task.template).code)
        case ArraySpec():
            is_launch_plan = target.maps_launch_plan
            kind = lineage_pb2.ENTITY_KIND_LAUNCH_PLAN if is_launch_plan else lineage_pb2.ENTITY_KIND_WORKFLOW
        case LaunchPlanSpec():
            kind = lineage_pb2.ENTITY_KIND_LAUNCH_PLAN
        case _:
            return
    entity = lineage_pb2.Entity(
        kind=kind, project=target.project, domain=target.domain, name=target.name, version=target.version
    )
    message.entity.CopyFrom(entity)


def _span(message: lineage_pb2.Step, row: Row) -> None:
    for name in ("started_at", "ended_at"):
        if row[name] is not None:
            moment = timestamp_pb2.Timestamp()
            moment.FromDatetime(row[name])
            getattr(message, name).CopyFrom(moment)


def _link(trace: Trace, link: Link) -> lineage_pb2.Link:
    message = lineage_pb2.Link(kind=lineage_pb2.LinkKind.Name(link.kind), variable=link.variable, by=link.by)
    loaded = trace.loaded.get(link.execution)
    if loaded is not None:
        getattr(message, "from").CopyFrom(value_message(loaded.row, link.value))
    return message


def value_message(execution: Row, value: Value) -> lineage_pb2.ValueIdentifier:
    """A value with the name of its execution."""
    return lineage_pb2.ValueIdentifier(
        execution=execution_message(execution), node_id=value.node_id, variable=value.var
    )


def _variables(data: bytes | None, names: Sequence[str]) -> list[lineage_pb2.Variable]:
    """Variables of a serialized LiteralMap; of values that are not at hand only the names."""
    try:
        literals = literals_pb2.LiteralMap.FromString(data).literals if data is not None else None
    except DecodeError:
        literals = None
    if literals is None:
        return [lineage_pb2.Variable(name=name) for name in names]
    return [_variable(name, literals[name]) for name in sorted(literals)]


def _variable(name: str, literal: literals_pb2.Literal) -> lineage_pb2.Variable:
    try:
        text = literal_text(literal)
    except UnprintableLiteralError:
        text = ""
    if len(text) > TEXT_LENGTH_MAX:
        text = f"{text[:TEXT_LENGTH_MAX]}..."
    uris = [token[4:] for token in message_tokens(literal)[:URIS_MAX] if token.startswith("uri:")]
    return lineage_pb2.Variable(name=name, text=text, uris=uris)
