"""`wingbeat get`, `list` and `describe`: everything that can be looked at."""

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.output import Output, escape, say, show, show_one
from wingbeat.cli.phases import phase_cell, time_cell
from wingbeat.cli.session import (
    DOMAIN,
    PROJECT,
    DataDir,
    Domain,
    Endpoint,
    OutputOption,
    Project,
    require_place,
    session,
)

if TYPE_CHECKING:
    from wingbeat import Client
    from wingbeat.cli.kinds import Entry, Search

GET_EXAMPLES = (
    "wingbeat get execution a1b2c3",
    "wingbeat get node a1b2c3 n0 -o yaml",
    "wingbeat get task hello_world.greet@v1 -o json",
)
LIST_EXAMPLES = (
    "wingbeat list executions --phase failed --limit 5",
    "wingbeat list nodes a1b2c3",
    "wingbeat list launch-plans train -o name",
    "wingbeat list signals a1b2c3",
)
DESCRIBE_EXAMPLES = (
    "wingbeat describe execution a1b2c3",
    "wingbeat describe node a1b2c3 n0",
    "wingbeat describe workflow train",
)

KindArgument = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="execution, node, attempt, task, workflow, launch-plan, project, domain, signal or batch; plurals, too.",
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Which one: its name (with NAME@VERSION a version). Nodes, attempts and signals: their execution first.",
    ),
]
DEFAULT_LIMIT = 100


def get(
    kind: KindArgument,
    words: Words = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show one thing in a line, or as JSON or YAML with all that is known of it."""
    from wingbeat.cli.kinds import Search, find_kind

    with session(endpoint, data_dir, project, domain) as client:
        name, entry = find_kind(kind)
        search = Search(_exactly("get", name, words, entry.words), None)
        show_one(output, entry.headings, entry.get(client, search))


def list_things(
    kind: KindArgument,
    words: Words = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = DEFAULT_LIMIT,
    phase: Annotated[
        list[str] | None, typer.Option(help="Executions in this phase, batches in this state. May be repeated.")
    ] = None,
    launch_plan: Annotated[str, typer.Option(help="Executions of this launch plan.")] = "",
    workflow: Annotated[str, typer.Option(help="Executions of this workflow.")] = "",
    version: Annotated[str, typer.Option(help="This version of tasks, workflows, launch plans.")] = "",
    filters: Annotated[str, typer.Option("--filter", help="Filters of FlyteIDL, eq(mode,MANUAL) for instance.")] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """List things, the newest first."""
    from wingbeat.cli.kinds import Search, find_kind

    with session(endpoint, data_dir, project, domain) as client:
        name, entry = find_kind(kind)
        found = words or []
        if len(found) < len(entry.of):
            raise ValueError(f"of which one? `wingbeat list {name}s {' '.join(entry.of)}`")
        search = Search(found, limit or None, filters, phase or (), launch_plan, workflow, version)
        listed = entry.list(client, search)
        first = next(listed, None)
        if first is None:
            if entry.of:
                client.execution(found[0])
            require_place(client)
        things = chain([first], listed) if first else ()
        show(output, entry.headings, things, none=f"No {name.replace('-', ' ')} was found.")


def describe(
    kind: KindArgument,
    words: Words = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Tell all that matters about one thing: of executions inputs, outputs, nodes and errors."""
    from wingbeat.cli.kinds import Search, find_kind

    with session(endpoint, data_dir, project, domain) as client:
        name, entry = find_kind(kind)
        search = Search(_exactly("describe", name, words, entry.words), None)
        if output is not Output.TABLE:
            show_one(output, entry.headings, entry.get(client, search))
        elif name == "execution":
            _describe_execution(client, search.words[0])
        elif name == "node":
            _describe_node(client, search.words[0], search.words[1])
        else:
            _describe(client, entry, search)


def _exactly(command: str, name: str, words: list[str] | None, wanted: tuple[str, ...]) -> list[str]:
    found = words or []
    if len(found) != len(wanted):
        raise ValueError(f"write `wingbeat {command} {name} {' '.join(wanted)}`")
    return found


def _describe(client: "Client", entry: "Entry", search: "Search") -> None:
    """A line for each cell, then all the rest as YAML."""
    from wingbeat.cli.yaml_text import to_yaml

    thing = entry.get(client, search)
    for heading, cell in zip(entry.headings, thing.cells, strict=True):
        say(f"[bold]{heading}:[/] {cell}")
    typer.echo(to_yaml(thing.document), nl=False)


def _describe_execution(client: "Client", name: str) -> None:
    from wingbeat.cli.kinds import NODES, nodes_shown
    from wingbeat.cli.progress import summary
    from wingbeat.cli.values import show_values

    one = client.execution(name)
    say(summary(one))
    if one.launched:
        say(f"  runs {escape(str(one.launched))} ({one.launched.kind.value.replace('_', ' ')})")
    say(f"  created {time_cell(one.created_at)}, started {time_cell(one.started_at)}")
    if one.labels:
        say(f"  labels {escape(', '.join(f'{key}={value}' for key, value in sorted(one.labels.items())))}")
    show_values(Output.TABLE, client.inputs(one), "inputs")
    if one.succeeded:
        show_values(Output.TABLE, client.outputs(one), "outputs")
    show(Output.TABLE, NODES, nodes_shown(client, one.id))
    if not one.ended:
        say(f"[dim]{escape(client.why(one).sentence)}[/]")


def _describe_node(client: "Client", execution: str, name: str) -> None:
    from wingbeat.cli.kinds import ATTEMPTS, attempt_shown
    from wingbeat.cli.values import show_values

    node = client.node(execution, name)
    say(f"[bold]{escape(node.id)}[/] of {escape(str(node.execution))} {phase_cell(node.phase)}")
    say(f"  created {time_cell(node.created_at)}, started {time_cell(node.started_at)}")
    if node.failure:
        say(f"  [red]{escape(node.failure.message.strip())}[/]")
    if node.child:
        say(f"  runs the execution {escape(str(node.child))}")
    show_values(Output.TABLE, client.node_inputs(execution, name), "inputs")
    show_values(Output.TABLE, client.node_outputs(execution, name), "outputs")
    attempts = list(client.attempts(execution, name))
    show(Output.TABLE, ATTEMPTS, map(attempt_shown, attempts))
    for attempt in attempts:
        for log in attempt.logs:
            element = f" element {log.element}" if log.element is not None else ""
            say(f"  [dim]attempt {log.attempt}{element} {escape(log.name)}: {escape(log.uri)}[/]")
