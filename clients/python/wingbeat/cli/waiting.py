"""`wingbeat wait` and `wingbeat watch`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.enum_names import named
from wingbeat.cli.output import Output, Shown, as_json, escape, fail, say, say_document, show
from wingbeat.cli.phases import failure_text, phase_cell, span_cell, text_cell
from wingbeat.cli.session import DOMAIN, PROJECT, DataDir, Domain, Endpoint, OutputOption, Project, session
from wingbeat.cli.times import show_time

if TYPE_CHECKING:
    from wingbeat import Client, Transition

WAIT_EXAMPLES = (
    "wingbeat wait a1b2c3",
    "wingbeat wait $(wingbeat launch load -o name) --timeout 600 && wingbeat describe execution a1b2c3",
)
WATCH_EXAMPLES = (
    "wingbeat watch a1b2c3",
    "wingbeat watch --phase failed --phase timed_out",
    "wingbeat watch --level node --launch-plan train -o json",
    "wingbeat watch --cursor CURSOR --all-projects",
)


def wait(
    executions: Annotated[list[str], typer.Argument(metavar="EXECUTION...", help="Names, or project/domain/name.")],
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after so long.")] = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Wait until executions have ended; exit 1 unless all of them succeeded in time."""
    with session(endpoint, data_dir, project, domain) as client:
        wanted = [client.execution_id(one) for one in executions]
        live = output is Output.TABLE and sys.stdout.isatty()
        if live and len(wanted) == 1 and timeout is None:
            from wingbeat.cli.progress import follow

            client.execution(wanted[0])  # of one that does not exist nothing would ever be seen
            if not follow(client, wanted[0]).succeeded:
                raise typer.Exit(1)
            return
        found = [client.execution(one) for one in client.wait_many(wanted, timeout_s=timeout)]
        rows = [
            Shown(
                str(one.id),
                [
                    escape(str(one.id)),
                    phase_cell(one.phase),
                    span_cell(one.duration),
                    text_cell(failure_text(one.failure)),
                ],
                as_json(one.message),
            )
            for one in found
        ]
        show(output, ["execution", "phase", "took", "error"], rows)
        missing = sorted(set(wanted) - {one.id for one in found})
        if missing:
            fail(f"not ended after {timeout:g} seconds: {', '.join(map(str, missing))}")
        if not all(one.succeeded for one in found):
            raise typer.Exit(1)


def watch(
    execution: Annotated[
        str | None,
        typer.Argument(metavar="[EXECUTION]", help="One execution, until it ends; without it, whatever happens."),
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option(help="execution, node or attempt. May be repeated.", metavar="LEVEL")
    ] = None,
    phase: Annotated[list[str] | None, typer.Option(help="Only these phases of executions. May be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE")] = None,
    launch_plan: Annotated[str, typer.Option(help="Only executions of this launch plan.")] = "",
    batch: Annotated[list[str] | None, typer.Option(help="Only executions of this batch.")] = None,
    cursor: Annotated[str, typer.Option(help="Go on after the transition that had this cursor (-o json).")] = "",
    from_oldest: Annotated[bool, typer.Option("--from-oldest", help="Begin with the oldest that is kept.")] = False,
    all_projects: Annotated[bool, typer.Option("--all-projects", "-A", help="Of all projects and domains.")] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Watch an execution until it ends (exit 1 if it fails), or all that happens until Ctrl-C. Goes on through restarts
    of the server."""
    from wingbeat import Level, Phase
    from wingbeat.cli.progress import follow
    from wingbeat.cli.typed_inputs import pairs

    with session(endpoint, data_dir, project, domain) as client:
        if execution is not None:
            client.execution(execution)  # of one that does not exist nothing would ever be seen
        if execution is not None and output is Output.TABLE and not level:
            if not follow(client, client.execution_id(execution)).succeeded:
                raise typer.Exit(1)
            return
        stream = client.watch(
            [execution] if execution else (),
            levels=[named(Level, one) for one in level or ["execution"]],
            cursor=cursor,
            from_oldest=from_oldest or (execution is not None and not cursor),
            every_project=all_projects,
            batches=batch or (),
            labels=pairs(label or (), "label"),
            launch_plan=launch_plan,
            phases=[named(Phase, one) for one in phase or ()],
        )
        for one in stream:
            _show(output, one)
            if execution is not None and one.level is Level.EXECUTION and one.is_final:
                _exit(client, execution)


def _exit(client: "Client", execution: str) -> None:
    raise typer.Exit(0 if client.execution(execution).succeeded else 1)


def _show(output: Output, one: "Transition") -> None:
    import json

    if output is Output.NAME:
        typer.echo(str(one.execution))
    elif output is Output.JSON:  # one line each, so that programs can read along
        typer.echo(json.dumps({**as_json(one.message), "cursor": one.cursor}))
    elif output is Output.YAML:
        typer.echo("---")
        say_document(output, {**as_json(one.message), "cursor": one.cursor})
    else:
        node = f" {one.node}" if one.node else ""
        attempt = f" attempt {one.attempt}" if one.level.name == "ATTEMPT" else ""
        why = f" {text_cell(failure_text(one.failure), 200)}" if one.failure else ""
        say(f"{show_time(one.at)} {escape(f'{one.execution}{node}{attempt}')} {phase_cell(one.phase)}{why}")
