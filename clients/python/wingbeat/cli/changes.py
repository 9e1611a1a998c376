"""`wingbeat abort`, `relaunch` and `signal`."""

from typing import Annotated

import typer

from wingbeat.cli.output import Output, Shown, escape, fail, say, show, show_one
from wingbeat.cli.session import DOMAIN, PROJECT, USAGE, DataDir, Domain, Endpoint, OutputOption, Project, session

ABORT_EXAMPLES = ("wingbeat abort a1b2c3 --cause 'wrong table'", "wingbeat abort a1b2c3 d4e5f6")
RELAUNCH_EXAMPLES = ("wingbeat relaunch a1b2c3 --watch", "wingbeat relaunch a1b2c3 --name again-1 -o name")
SIGNAL_EXAMPLES = (
    "wingbeat signal a1b2c3",
    "wingbeat signal a1b2c3 approved true",
    "wingbeat signal a1b2c3 title 'Spring report'",
)


def abort(
    executions: Annotated[list[str], typer.Argument(metavar="EXECUTION...", help="Names, or project/domain/name.")],
    cause: Annotated[str, typer.Option("--cause", "-c", help="Why, for people.")] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Abort executions. Exit 1 if one of them had ended."""
    from wingbeat.errors import FailedPreconditionError, NotFoundError

    refused = False
    with session(endpoint, data_dir, project, domain) as client:
        for execution in [client.execution_id(one) for one in executions]:
            try:
                client.terminate(execution, cause)
            except (FailedPreconditionError, NotFoundError) as error:
                say(f"{escape(str(execution))}: [red]{escape(error.message)}[/]")
                refused = True
            else:
                say(f"{escape(str(execution))} is being aborted")
    if refused:
        raise typer.Exit(1)


def relaunch(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Name, or project/domain/name.")],
    name: Annotated[str, typer.Option(help="Name of the new execution.")] = "",
    overwrite_cache: Annotated[bool, typer.Option("--overwrite-cache", help="Make cached results anew.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until it has ended; exit 1 if it fails.")] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Run an execution once more, with the same inputs."""
    from wingbeat.cli.progress import follow

    with session(endpoint, data_dir, project, domain) as client:
        new = client.relaunch(execution, name=name, overwrite_cache=overwrite_cache)
        document = {"project": new.project, "domain": new.domain, "name": new.name}
        show_one(
            output, ["execution", "of"], Shown(str(new), [str(new), str(client.execution_id(execution))], document)
        )
        if watch and not follow(client, new, quiet=output is not Output.TABLE).succeeded:
            raise typer.Exit(1)


def signal(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Name, or project/domain/name.")],
    name: Annotated[str | None, typer.Argument(metavar="[SIGNAL]", help="What a gate waits for.")] = None,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="The value; true, if the gate wants a yes.")
    ] = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Give a gate its value. Without SIGNAL: show what gates wait for."""
    from flyteidl.core import types_pb2

    from wingbeat.cli.kinds import SIGNALS, signal_shown, type_text
    from wingbeat.cli.typed_inputs import parse_value

    with session(endpoint, data_dir, project, domain) as client:
        known = {one.id: one for one in client.signals(execution)}
        ended = client.execution(execution).ended  # one that does not exist is said first
        if name is None:
            shown = [signal_shown(one, ended=ended) for one in known.values()]
            show(output, SIGNALS, shown, none="No gate waits.")
            return
        if name not in known:
            waiting = ", ".join(one.id for one in known.values() if not one.is_set and not ended) or "nothing"
            fail(f"no gate of {execution} waits for {name!r}; waited for: {waiting}")
        wanted = known[name].type
        if value is None and wanted.simple != types_pb2.BOOLEAN:
            fail(f"{name} wants a value: `wingbeat signal {execution} {name} VALUE` ({type_text(wanted)})", USAGE)
        client.signal(execution, name, parse_value("true" if value is None else value, wanted))
        say(f"{escape(name)} is set")
