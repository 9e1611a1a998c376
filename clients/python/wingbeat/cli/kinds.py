"""What `get`, `list` and `describe` know: each kind of thing, how it is found, and the row that it is shown as."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from wingbeat.cli.enum_names import named
from wingbeat.cli.output import Shown, as_json, escape
from wingbeat.cli.phases import failure_text, phase_cell, span_cell, text_cell, time_cell
from wingbeat.errors import NotFoundError
from wingbeat.identifiers import Kind

if TYPE_CHECKING:
    from flyteidl.admin import launch_plan_pb2, project_pb2, task_pb2, workflow_pb2
    from flyteidl.core import identifier_pb2, interface_pb2, types_pb2

    from wingbeat import Attempt, Batch, Client, Execution, Node, Signal
    from wingbeat.core import ExecutionRef

_EXECUTION_AT = "/wingbeatidl.query.v1.QueryService/GetExecutionAt"
_NAMES_PAGE = 5_000

EXECUTIONS = ("execution", "runs", "phase", "created", "took", "error")
NODES = ("node", "name", "phase", "since", "took", "error")
ATTEMPTS = ("node", "attempt", "task", "phase", "took", "error")
TASKS = ("task", "version", "type", "takes", "gives", "created")
WORKFLOWS = ("workflow", "version", "takes", "gives", "created")
LAUNCH_PLANS = ("launch plan", "version", "state", "takes", "gives", "created")
PROJECTS = ("project", "name", "domains", "state")
DOMAINS = ("domain", "name")
SIGNALS = ("signal", "type", "value")
BATCHES = ("batch", "state", "rows", "pending", "alive", "succeeded", "failed", "refused", "message")


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed to narrow a list down. `limit` None: all."""

    words: Sequence[str]
    limit: int | None
    filters: str = ""
    phases: Sequence[str] = ()
    launch_plan: str = ""
    workflow: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of thing. `words` names what must be typed to say which one (`get`), or of what (`list`)."""

    headings: tuple[str, ...]
    words: tuple[str, ...]
    of: tuple[str, ...]
    list: "Callable[[Client, Search], Iterator[Shown]]"
    get: "Callable[[Client, Search], Shown]"


def execution_shown(one: "Execution") -> Shown:
    """A row."""
    error = failure_text(one.failure)
    runs = f"{one.launched.name}@{one.launched.version}" if one.launched else ""
    cells = [escape(str(one.id)), text_cell(runs, 60), phase_cell(one.phase), time_cell(one.created_at)]
    return Shown(str(one.id), [*cells, span_cell(one.duration), text_cell(error)], as_json(one.message))


def node_shown(one: "Node", name: str, depth: int = 0) -> Shown:
    """A row; nodes inside others are set in."""
    error = failure_text(one.failure)
    cells = [f"{'  ' * depth}{escape(one.id)}", text_cell(name), phase_cell(one.phase), time_cell(one.started_at)]
    return Shown(one.id, [*cells, span_cell(one.duration), text_cell(error)], as_json(one.message))


def node_names(client: "Client", execution: "ExecutionRef") -> dict[str, str]:
    """What nodes are called in their workflow, by their ids. Nodes of FlyteIDL have no such names, the log of
    transitions has; of an execution that is older than the log, and of servers of Flyte, there are none."""
    from datetime import UTC, datetime

    from wingbeat.errors import ServerError
    from wingbeatidl.query.v1 import identity_pb2, query_pb2

    found = client.execution_id(execution)
    identifier = identity_pb2.ExecutionIdentifier(project=found.project, domain=found.domain, name=found.name)
    request = query_pb2.GetExecutionAtRequest(execution=identifier, page_size=_NAMES_PAGE)
    request.at.FromDatetime(datetime.now(UTC))
    names: dict[str, str] = {}
    try:
        while True:
            page = client.call(_EXECUTION_AT, request, query_pb2.GetExecutionAtResponse)
            names |= {node.node_id: node.name for node in page.nodes}
            if not page.next_page_token:
                return names
            request.page_token = page.next_page_token
    except ServerError:
        return names


def attempt_shown(one: "Attempt") -> Shown:
    """A row."""
    error = failure_text(one.failure)
    cells = [escape(one.node), str(one.number), escape(f"{one.task.name}@{one.task.version}"), phase_cell(one.phase)]
    name = f"{one.node}/{one.number}"
    return Shown(name, [*cells, span_cell(one.duration), text_cell(error)], as_json(one.message))


def signal_shown(one: "Signal", *, ended: bool) -> Shown:
    """A row; `ended` is its execution."""
    value = escape(repr(one.value)) if one.is_set else "[dim]never given[/]" if ended else "[yellow]waited for[/]"
    document = {"id": one.id, "isSet": one.is_set, "value": one.value, "type": as_json(one.type)}
    return Shown(one.id, [escape(one.id), escape(type_text(one.type)), value], document)


def batch_shown(one: "Batch") -> Shown:
    """A row."""
    counts = one.counts
    numbers = [counts.total, counts.pending, counts.queued + counts.running, counts.succeeded]
    failed = counts.failed + counts.timed_out + counts.aborted
    cells = [escape(one.name), phase_cell(one.state), *map(str, numbers), str(failed), str(counts.refused)]
    return Shown(f"{one.project}/{one.domain}/{one.name}", [*cells, text_cell(one.reason)], as_json(one.message))


def _task_shown(one: "task_pb2.Task") -> Shown:
    template = one.closure.compiled_task.template
    interface = template.interface
    cells = [escape(one.id.name), escape(one.id.version), escape(template.type), *_interface(interface)]
    return Shown(_path(one.id), [*cells, _created(one)], as_json(one))


def _workflow_shown(one: "workflow_pb2.Workflow") -> Shown:
    template = one.closure.compiled_workflow.primary.template
    cells = [escape(one.id.name), escape(one.id.version), *_interface(template.interface)]
    return Shown(_path(one.id), [*cells, _created(one)], as_json(one))


def _plan_shown(one: "launch_plan_pb2.LaunchPlan") -> Shown:
    active = one.closure.state == 1
    inputs = ", ".join(
        f"{name}: {type_text(item.var.type)}{'' if item.required else '?'}"
        for name, item in sorted(one.closure.expected_inputs.parameters.items())
    )
    cells = [escape(one.id.name), escape(one.id.version), "[green]active[/]" if active else "[dim]inactive[/]"]
    outputs = _variables(one.closure.expected_outputs)
    return Shown(_path(one.id), [*cells, text_cell(inputs, 60), text_cell(outputs, 60), _created(one)], as_json(one))


def _project_shown(one: "project_pb2.Project") -> Shown:
    domains = ", ".join(domain.id for domain in one.domains)
    state = one.ProjectState.Name(one.state)
    return Shown(one.id, [escape(one.id), text_cell(one.name), text_cell(domains), escape(state)], as_json(one))


def _created(one: "task_pb2.Task | workflow_pb2.Workflow | launch_plan_pb2.LaunchPlan") -> str:
    from datetime import UTC

    return time_cell(one.closure.created_at.ToDatetime(tzinfo=UTC) if one.closure.HasField("created_at") else None)


def _path(identifier: "identifier_pb2.Identifier") -> str:
    return f"{identifier.name}@{identifier.version}"


def _interface(interface: "interface_pb2.TypedInterface") -> list[str]:
    return [text_cell(_variables(interface.inputs), 60), text_cell(_variables(interface.outputs), 60)]


def _variables(variables: "interface_pb2.VariableMap") -> str:
    return ", ".join(f"{name}: {type_text(one.type)}" for name, one in sorted(variables.variables.items()))


def type_text(kind: "types_pb2.LiteralType") -> str:
    """A type in a few words."""
    from flyteidl.core import types_pb2

    match kind.WhichOneof("type"):
        case "simple":
            return types_pb2.SimpleType.Name(kind.simple).lower()
        case "collection_type":
            return f"[{type_text(kind.collection_type)}]"
        case "map_value_type":
            return f"{{{type_text(kind.map_value_type)}}}"
        case "union_type":
            return " | ".join(map(type_text, kind.union_type.variants))
        case "enum_type":
            return " | ".join(map(repr, kind.enum_type.values))
        case "blob":
            return "directory" if kind.blob.dimensionality == types_pb2.BlobType.MULTIPART else "file"
        case "structured_dataset_type" | "schema":
            return "table"
        case _:
            return "?"


def _executions(client: "Client", search: Search) -> Iterator[Shown]:
    from wingbeat import Phase

    phases = [named(Phase, text) for text in search.phases]
    found = client.executions(
        phases=phases,
        launch_plan=search.launch_plan,
        workflow=search.workflow,
        filters=search.filters,
        limit=search.limit,
    )
    return map(execution_shown, found)


def nodes_shown(client: "Client", execution: "ExecutionRef", limit: int | None = None) -> Iterator[Shown]:
    """A row for each node at any depth."""
    names = node_names(client, execution)
    for depth, node in islice(client.all_nodes(execution), limit):
        yield node_shown(node, names.get(node.id, ""), depth)


def _get_node(client: "Client", search: Search) -> Shown:
    execution, node = search.words
    return node_shown(client.node(execution, node), node_names(client, execution).get(node, ""))


def _attempts(client: "Client", search: Search) -> Iterator[Shown]:
    if len(search.words) > 1:
        return map(attempt_shown, client.attempts(search.words[0], search.words[1], limit=search.limit))
    every = (one for _, node in client.all_nodes(search.words[0]) for one in client.attempts(node.execution, node.id))
    return map(attempt_shown, islice(every, search.limit))


def _get_attempt(client: "Client", search: Search) -> Shown:
    execution, node, number = search.words
    for one in client.attempts(execution, node):
        if str(one.number) == number:
            return attempt_shown(client.attempt(one))
    raise NotFoundError("NOT_FOUND", f"node {node} of {execution} has no attempt {number}")


def _only(found: Iterable[Shown], what: str, name: str) -> Shown:
    for one in found:
        return one
    raise NotFoundError("NOT_FOUND", f"there is no {what} {name!r}")


def _versions(kind: Kind) -> Entry:
    what = kind.value.replace("_", " ")
    shown = {Kind.TASK: _task_shown, Kind.WORKFLOW: _workflow_shown, Kind.LAUNCH_PLAN: _plan_shown}[kind]
    headings = {Kind.TASK: TASKS, Kind.WORKFLOW: WORKFLOWS, Kind.LAUNCH_PLAN: LAUNCH_PLANS}[kind]

    def find(client: "Client", search: Search) -> Iterator[Shown]:
        name = search.words[0] if search.words else ""
        version = f"eq(version,{search.version})" if search.version else ""
        filters = "+".join(filter(None, (search.filters, version)))
        lists = {Kind.TASK: client.tasks, Kind.WORKFLOW: client.workflows, Kind.LAUNCH_PLAN: client.launch_plans}
        return map(shown, lists[kind](name, filters=filters, limit=search.limit))  # pyright: ignore

    def get(client: "Client", search: Search) -> Shown:
        name, _, version = search.words[0].partition("@")
        if not version:  # lists leave much out, so the one that was found is asked for once more
            narrowed = Search([name], 1, search.filters, version=search.version)
            version = _only(find(client, narrowed), what, name).name.partition("@")[2]
        return shown(client.call(*_get_request(kind, client, name, version)))  # pyright: ignore[reportArgumentType]

    return Entry(headings, (what.upper().replace(" ", "_"),), (), find, get)


def _get_request(kind: Kind, client: "Client", name: str, version: str):  # pyright: ignore
    from flyteidl.admin import common_pb2, launch_plan_pb2, task_pb2, workflow_pb2

    from wingbeat import EntityId

    answers = {
        Kind.TASK: ("GetTask", task_pb2.Task),
        Kind.WORKFLOW: ("GetWorkflow", workflow_pb2.Workflow),
        Kind.LAUNCH_PLAN: ("GetLaunchPlan", launch_plan_pb2.LaunchPlan),
    }
    method, answer = answers[kind]
    identifier = EntityId(kind, client.project, client.domain, name, version).flyte()
    return f"/flyteidl.service.AdminService/{method}", common_pb2.ObjectGetRequest(id=identifier), answer


def _domains(client: "Client", search: Search) -> Iterator[Shown]:
    from flyteidl.admin import project_pb2

    answer = client.call(
        "/flyteidl.service.AdminService/GetDomains", project_pb2.GetDomainRequest(), project_pb2.GetDomainsResponse
    )
    return (Shown(one.id, [escape(one.id), text_cell(one.name)], as_json(one)) for one in answer.domains)


def _get_named(
    find: "Callable[[Client, Search], Iterator[Shown]]", what: str, position: int = 0
) -> "Callable[[Client, Search], Shown]":
    def get(client: "Client", search: Search) -> Shown:
        name = search.words[position]
        return _only((one for one in find(client, Search(search.words, None)) if one.name == name), what, name)

    return get


def _projects(client: "Client", search: Search) -> Iterator[Shown]:
    return map(_project_shown, client.projects(limit=search.limit))


def _signals(client: "Client", search: Search) -> Iterator[Shown]:
    ended = client.execution(search.words[0]).ended
    return (signal_shown(one, ended=ended) for one in client.signals(search.words[0], limit=search.limit))


def _batches(client: "Client", search: Search) -> Iterator[Shown]:
    from wingbeat import BatchState

    states = [named(BatchState, text) for text in search.phases]
    return map(batch_shown, client.batches(states=states, limit=search.limit))


KINDS: dict[str, Entry] = {
    "execution": Entry(
        EXECUTIONS, ("EXECUTION",), (), _executions, lambda c, s: execution_shown(c.execution(s.words[0]))
    ),
    "node": Entry(
        NODES,
        ("EXECUTION", "NODE"),
        ("EXECUTION",),
        lambda c, s: nodes_shown(c, s.words[0], s.limit),
        _get_node,
    ),
    "attempt": Entry(ATTEMPTS, ("EXECUTION", "NODE", "ATTEMPT"), ("EXECUTION",), _attempts, _get_attempt),
    "task": _versions(Kind.TASK),
    "workflow": _versions(Kind.WORKFLOW),
    "launch-plan": _versions(Kind.LAUNCH_PLAN),
    "project": Entry(PROJECTS, ("PROJECT",), (), _projects, _get_named(_projects, "project")),
    "domain": Entry(DOMAINS, ("DOMAIN",), (), _domains, _get_named(_domains, "domain")),
    "signal": Entry(
        SIGNALS, ("EXECUTION", "SIGNAL"), ("EXECUTION",), _signals, _get_named(_signals, "signal", position=1)
    ),
    "batch": Entry(BATCHES, ("BATCH",), (), _batches, lambda c, s: batch_shown(c.batch(s.words[0]))),
}


def find_kind(text: str) -> tuple[str, Entry]:
    """The kind meant by a word, in the plural too. Raises ValueError."""
    word = text.lower().replace("_", "-")
    singular = {"batches": "batch"}.get(word, word.removesuffix("s"))
    for name in (word, singular, {"launchplan": "launch-plan", "lp": "launch-plan"}.get(singular, "")):
        if name in KINDS:
            return name, KINDS[name]
    raise ValueError(f"'{text}' is no kind of thing; known are: {', '.join(KINDS)}")
