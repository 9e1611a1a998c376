"""What a task host is asked to run for a container request; pure but for looking up programs.

A raw container becomes a run of the copilot, which runs the container's program itself. The copilot runs under
Wingbeat's own interpreter and sees the machine as Wingbeat does; what it is to do, the program's environment included,
comes on its standard input, so no secret of the store stands in a file or in an environment.
"""

import json
import sys
from typing import NamedTuple

from wingbeat_propeller.container_files import ContainerFiles, CopilotJob, is_inside
from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import task_folder
from wingbeat_propeller.runtimes.local.process_environment import command_line, process_environment
from wingbeat_propeller.runtimes.local.programs import Program, find_program
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import TaskSpec
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import FILES_FOLDER

COPILOT = ("-I", "-m", "wingbeat_propeller.copilot")
"""Isolated: neither variables of a task nor files in its working folder reach this interpreter."""
COPILOT_BYTES = 128 << 20
"""Memory that the copilot may have beside the program, as Flyte gives it."""


class HostedTask(NamedTuple):
    """A task for a host: the one whose forks run flytekit under `interpreter`, or the plain one (None)."""

    interpreter: str | None
    spec: TaskSpec


def hosted_task(request: ContainerRequest, options: LocalRuntimeOptions) -> HostedTask:
    """The task of a host that does what `request` asks for. Raises ProgramNotFoundError."""
    program = _program(request, options)
    folder = task_folder(options.state_dir, request.name)
    env = process_environment(request, program, folder, basic_env=options.basic_env, extra_env=options.extra_env)
    spec: TaskSpec = {
        "name": request.name,
        "program": program.path,
        "argv": command_line(request.argv),
        "env": env,
        "entry": program.entry,
        "memory_limit_bytes": request.memory_limit_bytes,
        "cpu_limit": request.cpu_limit,
        "timeout_s": request.timeout_s,
        "stdin": "",
        "origin": "" if request.origin is None else json.dumps(request.origin),
    }
    if request.files is None:
        return HostedTask(program.interpreter, spec)
    spec["stdin"] = _copilot_job(request.files, spec, options).to_json()
    spec["program"], spec["argv"], spec["entry"] = sys.executable, [sys.executable, *COPILOT], ""
    own = {"PATH": options.path, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    spec["env"] = {**options.basic_env, **own}
    if request.memory_limit_bytes is not None:
        spec["memory_limit_bytes"] = request.memory_limit_bytes + COPILOT_BYTES
    return HostedTask(None, spec)


def _program(request: ContainerRequest, options: LocalRuntimeOptions) -> Program:
    if request.files is not None and is_inside(request.argv[0], request.files.input_path):
        return Program(request.argv[0], options.path)  # it comes with the inputs
    return find_program(request.argv, request.image, request.env, environments=options.environments, path=options.path)


def _copilot_job(files: ContainerFiles, spec: TaskSpec, options: LocalRuntimeOptions) -> CopilotJob:
    return CopilotJob(
        files=files,
        folder=str(task_folder(options.state_dir, spec["name"]).absolute() / FILES_FOLDER),
        paths=options.container_paths,
        program=spec["program"],
        argv=spec["argv"],
        env=spec["env"],
        store=options.store,
    )
