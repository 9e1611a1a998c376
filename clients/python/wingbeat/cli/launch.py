"""`wingbeat launch`: start an execution."""

from typing import Annotated

import typer

from wingbeat.cli.output import Output, Shown, fail, say, show_one
from wingbeat.cli.session import DOMAIN, PROJECT, USAGE, DataDir, Domain, Endpoint, OutputOption, Project, session


def launch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Launch plan, or with --task or --workflow one of these.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT=VALUE]...", help="Inputs: texts, paths or URIs of files, JSON."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--inputs", "-i", metavar="FILE", help="Inputs as a JSON object: a file, - or itself.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version; without it the active one, else the newest.")] = None,
    task: Annotated[bool, typer.Option("--task", help="NAME is a task.")] = False,
    workflow: Annotated[bool, typer.Option("--workflow", help="NAME is a workflow.")] = False,
    execution_name: Annotated[str, typer.Option("--name", help="Name of the execution.")] = "",
    key: Annotated[str, typer.Option(help="Idempotency key: the same key and content is launched once.")] = "",
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE")] = None,
    annotation: Annotated[list[str] | None, typer.Option("--annotation", metavar="KEY=VALUE")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", metavar="KEY=VALUE", help="Environment of tasks.")] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100: who of those that wait begins first.")] = None,
    max_parallelism: Annotated[int, typer.Option(help="Task nodes under way at once.")] = 0,
    overwrite_cache: Annotated[bool, typer.Option("--overwrite-cache", help="Make cached results anew.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay until it has ended, print its outputs; exit 1 if it fails.")
    ] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Start an execution of a launch plan, a workflow or a task."""
    from wingbeat import Kind, Overrides
    from wingbeat.cli.kinds import type_text
    from wingbeat.cli.progress import follow
    from wingbeat.cli.typed_inputs import pairs, read_inputs
    from wingbeat.cli.values import show_values

    kind = Kind.TASK if task else Kind.WORKFLOW if workflow else Kind.LAUNCH_PLAN
    with session(endpoint, data_dir, project, domain) as client:
        entity = client.entity(name, version, kind=kind)
        values = read_inputs(inputs or (), file, entity.inputs)
        if missing := [name for name in entity.required if name not in values]:
            wanted = ", ".join(f"{name}={type_text(entity.inputs[name])}" for name in missing)
            fail(f"{entity.id.name} also needs {wanted}", USAGE)
        execution = client.launch(
            entity,
            values,
            name=execution_name,
            key=key,
            labels=pairs(label or (), "label"),
            annotations=pairs(annotation or (), "annotation"),
            priority=priority,
            overrides=Overrides(
                envs=pairs(env or (), "variable"),
                max_parallelism=max_parallelism,
                overwrite_cache=True if overwrite_cache else None,
            ),
        )
        if not watch:
            document = {"project": execution.project, "domain": execution.domain, "name": execution.name}
            show_one(output, ["execution", "runs"], Shown(str(execution), [str(execution), str(entity.id)], document))
            return
        if output is Output.TABLE:
            say(f"[bold]{execution}[/] runs {entity.id}")
        if output is Output.NAME:
            show_one(output, [], Shown(str(execution), [], None))
        ended = follow(client, execution, quiet=output is not Output.TABLE)
        if ended.succeeded:
            if output is Output.NAME:
                return
            show_values(output, client.outputs(execution))
            return
        if output not in (Output.TABLE, Output.NAME):
            show_one(output, [], Shown(str(execution), [], {"phase": ended.phase.name}))
        raise typer.Exit(1)


EXAMPLES = (
    "wingbeat launch hello_world.hello_world_wf name=Ada --watch",
    "wingbeat launch train --inputs train.json --label team=vision --key night-7",
    "echo '{\"rows\": [1, 2]}' | wingbeat launch load --version v7 -i - -o name",
    "wingbeat launch hello_world.greet --task name=Bob",
)
