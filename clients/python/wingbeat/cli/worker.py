"""`wingbeat worker`: run tasks that an installation pushes to this process, with their code kept loaded."""

import asyncio
import logging
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.connection import ca_certificate
from wingbeat.cli.output import fail
from wingbeat.endpoint import Endpoint, find_endpoint
from wingbeat.errors import EndpointError

if TYPE_CHECKING:
    from wingbeat.worker.options import WorkerOptions

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_PROGRAM = "pyflyte-execute"
_HEAD_BYTES = 4096


def worker(
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--server", "--endpoint", "-e", help="host:port of the installation's server; https:// before it for TLS."
        ),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Tasks at once; by default two for each CPU.")] = 2
    * (os.cpu_count() or 1),
    name: Annotated[str | None, typer.Option(help="Name for people; by default host and process id.")] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Image whose tasks it runs, several times for several; by default all unmapped ones."),
    ] = None,
    task_type: Annotated[
        list[str] | None, typer.Option(help="Task type that it runs; by default all in Python.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="k=v that tasks may ask for.")] = None,
    python: Annotated[
        str | None, typer.Option(help="Interpreter with flytekit; by default that of pyflyte-execute on the PATH.")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="CPUs that one task may use; 0: all.")] = 0.0,
    memory: Annotated[str, typer.Option(help="Memory that one task may use, as 4Gi; by default what there is.")] = "",
    recycle_tasks: Annotated[int, typer.Option(min=1, help="Replace a process after so many tasks.")] = 1_000,
    recycle_memory: Annotated[str, typer.Option(help="Replace a process that has grown by so much.")] = "256Mi",
    drain_s: Annotated[float, typer.Option(min=0, help="Seconds that tasks may go on once it is stopped.")] = 30.0,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation to work for.")] = None,
) -> None:
    """Run Python tasks with their code kept loaded. SIGTERM or Ctrl-C: finish what runs, take nothing more.

    Examples:

      wingbeat worker --server localhost:8089 --slots 4

      wingbeat worker --server flyte.example.com:8089 --image ghcr.io/acme/training:v3 --label pool=gpu
    """
    from wingbeat.worker.memory import total_bytes
    from wingbeat.worker.options import WorkerOptions

    try:
        where = find_endpoint(endpoint, data_dir).trusting(ca_certificate())
        if not where.insecure:
            where.credentials()  # a file that is not there is said now
    except EndpointError as error:
        fail(str(error))
    interpreter = python or _interpreter()
    options = WorkerOptions(
        name=name or f"{socket.gethostname()}:{os.getpid()}",
        slots=slots,
        python=interpreter,
        images=image or (),
        task_types=task_type or (),
        labels=dict(_label(text) for text in label or ()),
        cpus=cpus or float(os.cpu_count() or 0),
        memory_bytes=_bytes(memory) if memory else total_bytes(),
        recycle_tasks=recycle_tasks,
        recycle_memory_bytes=_bytes(recycle_memory),
        drain_s=drain_s,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    sys.exit(_run(options, where))


def _run(options: "WorkerOptions", where: Endpoint) -> int:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # what is forked here is another program at once

    from wingbeat.worker.worker import Worker, stop_on_signals
    from wingbeat.worker.zygote import ZygoteFailedError

    async def work() -> int:
        stop = stop_on_signals()
        options_of_channel = [("grpc.use_local_subchannel_pool", 1)]
        channel = where.connect_async(options_of_channel)
        status = 0
        try:
            async with channel:
                await Worker(options, channel, where).run(stop)
        except* ZygoteFailedError as errors:
            logging.getLogger(__name__).error("%s", errors.exceptions[0])
            status = 1
        return status

    import gc

    gc.enable()
    gc.freeze()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work())
    return uvloop.run(work())


def _interpreter() -> str:
    """The interpreter in the first line of flytekit's program, else the one beside it, else our own."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(_PROGRAM, path=os.pathsep.join((os.environ.get("PATH", os.defpath), beside)))
    if found is None:
        return sys.executable
    with open(found, "rb") as file:
        head = file.read(_HEAD_BYTES).decode(errors="replace").partition("\n")[0]
    named = head.removeprefix("#!").strip() if head.startswith("#!") else ""
    # What installers write for long paths, and `env`, name a program that finds Python, and not Python itself.
    candidates = [named] if Path(named).name.startswith("python") else []
    candidates.append(str(Path(found).resolve().parent / "python"))
    return next((path for path in candidates if os.access(path, os.X_OK)), sys.executable)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        fail(f"--label {text}: a label is written as key=value", status=2)
    return key, value


def _bytes(text: str) -> int:
    number, unit = (text[:-2], _UNITS[text[-2:]]) if text[-2:] in _UNITS else (text, 1)
    try:
        amount = int(float(number) * unit)
    except (ValueError, OverflowError):
        amount = 0
    if amount <= 0:
        fail(f"{text!r} is no amount of memory; write it as 512Mi or 4Gi", status=2)
    return amount
