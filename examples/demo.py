"""What `make demo` runs: a whole installation, real programs, their results checked, everything stopped again.

Starts `wingbeat up` on free loopback ports, registers the example workflows with flytekit's FlyteRemote as any user
would, runs them all, compares each result with what it must be and says where to look further. The exit code is 0 only
if everything was as expected. Nothing keeps running afterwards; the data folder stays, and can be started again.
"""

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("FLYTE_SDK_LOGGING_LEVEL", "40")  # flytekit: errors only; read when it is imported

from flytekit.configuration import Config, PlatformConfig
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.remote import FlyteRemote
from flytekit.remote.executions import FlyteWorkflowExecution
from flytekit.types.file import FlyteFile
from rich.console import Console
from rich.markup import escape

FOLDER = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
WAIT = timedelta(minutes=2)

console = Console(highlight=False)


class DemoError(Exception):
    """Something was not as expected; the text is for the person at the terminal."""


@dataclass(frozen=True)
class Example:
    """A workflow of a file beside this one. `tell` makes a sentence of its outputs, or of its error."""

    module: str
    workflow: str
    tell: Callable[[FlyteWorkflowExecution], str]
    expected: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    fails: bool = False


@dataclass(frozen=True)
class Running:
    """A started installation."""

    endpoint: str
    http_url: str
    data_dir: Path
    seconds: float


def main() -> int:
    """Run the demo; 0 if everything was as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-dir", type=Path, default=FOLDER.parent / ".wingbeat" / "demo", help="where state is kept"
    )
    parser.add_argument("--keep", action="store_true", help="leave Wingbeat running at the end")
    arguments = parser.parse_args()
    try:
        with installation(arguments.data_dir.resolve(), keep=arguments.keep) as running:
            remote = connect(running.endpoint)
            executions = run_examples(remote)
            show_where_to_look(running, remote, executions)
    except DemoError as error:
        console.print(f"[bold red]The demo failed.[/] {escape(str(error))}")
        return 1
    if not arguments.keep:
        console.print("[green]✔[/] Stopped; nothing is left running.")
    return 0


@contextlib.contextmanager
def installation(data_dir: Path, *, keep: bool) -> Iterator[Running]:
    """`wingbeat up` for the time of the block, on free ports of the loopback interface."""
    data_dir.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with console.status("Starting Wingbeat ..."):
        wingbeat("up", "--data-dir", str(data_dir), "--grpc-port", "0", "--http-port", "0", "--detach")
    try:
        state = json.loads((data_dir / "state.json").read_text())
        running = Running(state["grpc_endpoint"], state["http_url"], data_dir, time.monotonic() - begun)
        console.print(f"[green]✔[/] Wingbeat is ready after {running.seconds:.1f} s at {running.endpoint} (gRPC).")
        yield running
    finally:
        if not keep:
            with console.status("Stopping Wingbeat ..."):
                wingbeat("down", "--data-dir", str(data_dir))


def wingbeat(*arguments: str) -> None:
    """Run the `wingbeat` command beside this interpreter; raises DemoError with what it said."""
    # Commands of tasks are looked up on the PATH that Wingbeat was started with, so this environment comes first.
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [BIN / "wingbeat", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise DemoError(f"`wingbeat {' '.join(arguments)}` ended with exit code {done.returncode}:\n{said}")


def connect(endpoint: str) -> FlyteRemote:
    """flytekit's client, set up as anybody would do it."""
    config = Config(platform=PlatformConfig(endpoint=endpoint, insecure=True))
    return FlyteRemote(config, default_project="flytesnacks", default_domain="development")


def run_examples(remote: FlyteRemote) -> list[FlyteWorkflowExecution]:
    """Register everything, launch everything, then tell each result as it comes. Raises DemoError."""
    sys.path.insert(0, str(FOLDER))
    begun = time.monotonic()
    launched: list[tuple[Example, FlyteWorkflowExecution]] = []
    with console.status("Registering and launching the examples ..."):
        for example in EXAMPLES:
            workflow = getattr(importlib.import_module(example.module), example.workflow)
            registered = remote.register_script(workflow, source_path=str(FOLDER), module_name=example.module)
            launched.append((example, remote.execute(registered, inputs=dict(example.inputs))))
    console.print(
        f"[green]✔[/] Registered and launched {len(launched)} workflows in {time.monotonic() - begun:.1f} s.\n"
    )
    return [finish(remote, example, execution) for example, execution in launched]


def finish(remote: FlyteRemote, example: Example, execution: FlyteWorkflowExecution) -> FlyteWorkflowExecution:
    """Wait for one execution, check it and print its sentence."""
    with console.status(f"Waiting for {example.workflow} ..."):
        execution = remote.wait(execution, timeout=WAIT, poll_interval=timedelta(milliseconds=100))
    phase = WorkflowExecutionPhase.enum_to_string(execution.closure.phase)
    if phase != ("FAILED" if example.fails else "SUCCEEDED"):
        reason = f": {execution.error.message}" if execution.error else ""
        raise DemoError(f"{example.workflow} ({execution.id.name}) ended {phase}{reason}")
    sentence = example.tell(execution)
    if example.expected not in sentence:
        raise DemoError(f"{example.workflow} ({execution.id.name}) said “{sentence}” instead of “{example.expected}”")
    duration = execution.closure.duration.total_seconds()
    console.print(
        f"[green]✔[/] [bold]{example.workflow}[/] [dim]({execution.id.name}, {len(execution.node_executions)} nodes, "
        f"{duration:.2f} s)[/]\n  {escape(sentence)}"
    )
    return execution


def show_where_to_look(running: Running, remote: FlyteRemote, executions: list[FlyteWorkflowExecution]) -> None:
    """Endpoints, addresses and commands."""
    last = remote.sync_execution(executions[0], sync_nodes=True)
    path = f"{last.id.project}/{last.id.domain}/{last.id.name}"
    logs = [
        log.uri for node in last.node_executions.values() for task in node.task_executions for log in task.closure.logs
    ]
    console.print("\n[bold]Where to look further[/]")
    for name, value in (
        ("gRPC endpoint", running.endpoint),
        ("an execution by REST", f"{running.http_url}/api/v1/executions/{path}"),
        ("log of its task", logs[0] if logs else "none"),
        ("data folder", str(running.data_dir)),
        ("start it again", f"{_shown(BIN / 'wingbeat')} up --data-dir {_shown(running.data_dir)}"),
        ("run your own", f"pyflyte --config {_shown(running.data_dir)}/flyte-config.yaml run --remote FILE WORKFLOW"),
    ):
        console.print(f"  [dim]{name:21}[/]{escape(value)}", soft_wrap=True)
    console.print()
    console.print(f"[green]✔[/] {len(executions)} executions ended as they should.")


def _shown(path: Path) -> str:
    """Relative to the working folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _text(name: str) -> Callable[[FlyteWorkflowExecution], str]:
    return lambda execution: execution.outputs.get(name, str)


def _report(execution: FlyteWorkflowExecution) -> str:
    return Path(execution.outputs.get("o0", FlyteFile).download()).read_text(encoding="utf-8").strip()


EXAMPLES = (
    Example("hello_world", "hello_world_wf", _text("o0"), "Hello, Wingbeat!", {"name": "Wingbeat"}),
    Example("diamond", "diamond_wf", _report, "7 readings, mean 11.71 °C; warmest: day 2 (14.0 °C), day 4 (13.0 °C)"),
    Example("dataframe_pipeline", "dataframe_wf", _text("o0"), "customer-2 spent 407.50", {"orders": 100}),
    Example("subworkflow", "travel_wf", _text("note"), "Ada went 300 km with 2 bags", {"traveller": "Ada"}),
    Example("shell_task", "shell_wf", _text("o0"), "'to' occurs 3 times"),
    Example("retries", "flaky_wf", _text("o0"), "What is the answer? 42"),
    Example(
        "retries",
        "share_wf",
        lambda execution: f"Failed, as it should: {execution.error.message.strip().splitlines()[-1].strip()}",
        "cannot share 3 cakes among 0 people",
        {"people": 0},
        fails=True,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
