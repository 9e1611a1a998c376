"""Tasks that are a container: `python-task`, `container`, `raw-container`, pods, and every type nobody else claims.

The command line is the container's command followed by its args, each element rendered alone. Resources become limits
of the attempt: what the task says, else the defaults that its execution was launched with, cut to that execution's
limits. A request without a limit limits too, which is what the container would get on a cluster.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.resources import InvalidResourcesError
from wingbeat_propeller.container_files import (
    DEFAULT_INPUT_PATH,
    DEFAULT_OUTPUT_PATH,
    ContainerFiles,
    FilesFormat,
    container_path,
)
from wingbeat_propeller.core.memo import Memo
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.ports.tasks import BadTaskError, ContainerRequest, TaskContext
from wingbeat_propeller.tasks.environment import build_environment, task_variables
from wingbeat_propeller.tasks.pod_spec import BadPodSpecError, has_pod_spec, primary_container
from wingbeat_propeller.tasks.templating import CommandLine, TemplateError

_FORMATS: Mapping[int, FilesFormat] = {
    tasks_pb2.DataLoadingConfig.JSON: "json",
    tasks_pb2.DataLoadingConfig.YAML: "yaml",
    tasks_pb2.DataLoadingConfig.PROTO: "proto",
}


TEMPLATES_MAX = 2_000
"""Templates that are remembered as they were read."""


class _Read(NamedTuple):
    """What a template says of all of its attempts."""

    container: tasks_pb2.Container
    image: str
    resources: tasks_pb2.Resources
    command_line: CommandLine
    env: Mapping[str, str]
    identity: Mapping[str, str]
    """Variables that say which task it is."""
    wants_files: bool


class ContainerPlugin:
    """Builds a ContainerRequest out of a task template that carries a container or a pod. Implements TaskPlugin."""

    task_types: Sequence[str] = ("python-task", "container", "raw-container", "sidecar")

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Whether an argument asks for an input value."""
        try:
            return _read(template).command_line.mentions_inputs
        except BadTaskError:
            return False  # build reports it

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> ContainerRequest:
        """Raises BadTaskError when there is no container, no command, or something that cannot be rendered."""
        read = _read(template)
        try:
            argv = read.command_line.render(context, inputs)
        except TemplateError as error:
            raise _bad_task(f"task {template.id.name!r}: {error}", "FailedToBuildResource") from error
        if not argv:
            raise _bad_task(
                f"task {template.id.name!r} has neither a command nor args; the entrypoint of image "
                f"{read.image!r} is not known to this installation, so name the program in the task"
            )
        try:
            memory = context.resources.settle(tasks_pb2.Resources.MEMORY, read.resources).limit
            cpu = context.resources.settle(tasks_pb2.Resources.CPU, read.resources).limit
        except InvalidResourcesError as error:
            raise _bad_task(f"task {template.id.name!r}: {error}") from error
        return ContainerRequest(
            name=context.name,
            image=read.image,
            argv=argv,
            env=build_environment(read.env, read.identity, context),
            memory_limit_bytes=None if memory is None else ceil(memory),
            cpu_limit=None if cpu is None else float(cpu),
            timeout_s=context.timeout_s,
            origin=context.origin,
            labels=context.labels,
            annotations=context.annotations,
            interruptible=context.interruptible,
            files=_files(template, read.container, context) if read.wants_files else None,
        )


def wants_task_template(template: tasks_pb2.TaskTemplate) -> bool:
    """Whether the task reads its own template: the engine then writes it to `<input prefix>/task.pb` before launch."""
    try:
        return _read(template).command_line.mentions_task_template
    except BadTaskError:
        return False  # build reports it


def container_of(template: tasks_pb2.TaskTemplate) -> tasks_pb2.Container:
    """The container of a task, the primary one of a pod. Raises BadTaskError when there is none."""
    if has_pod_spec(template):
        try:
            return primary_container(template)
        except BadPodSpecError as error:
            raise _bad_task(f"task {template.id.name!r}: {error}") from error
    if template.WhichOneof("target") != "container":
        raise _bad_task(
            f"task {template.id.name!r} of type {template.type!r} carries no container, and no plugin for that type "
            "is installed"
        )
    return template.container


def _read_template(template: tasks_pb2.TaskTemplate) -> _Read:
    container = container_of(template)
    return _Read(
        container=container,
        image=container.image,
        resources=container.resources,
        command_line=CommandLine((*container.command, *container.args)),
        env={pair.key: pair.value for pair in container.env},
        identity=task_variables(template.id),
        wants_files=_data_config(template, container).enabled,
    )


_read = Memo(_read_template, TEMPLATES_MAX)
"""Raises BadTaskError when there is no container."""


def _data_config(template: tasks_pb2.TaskTemplate, container: tasks_pb2.Container) -> tasks_pb2.DataLoadingConfig:
    if template.WhichOneof("target") == "k8s_pod" and template.k8s_pod.HasField("data_config"):
        return template.k8s_pod.data_config
    return container.data_config


def _files(template: tasks_pb2.TaskTemplate, container: tasks_pb2.Container, context: TaskContext) -> ContainerFiles:
    """Inputs and outputs as files, when the template wants them so."""
    config = _data_config(template, container)
    try:
        input_path = container_path(config.input_path, DEFAULT_INPUT_PATH)
        output_path = container_path(config.output_path, DEFAULT_OUTPUT_PATH)
    except ValueError as error:
        raise _bad_task(f"task {template.id.name!r}: {error}") from error
    if input_path == output_path:
        raise _bad_task(
            f"task {template.id.name!r} has its inputs and its outputs in the same folder, {input_path}; name two"
        )
    strategy = config.io_strategy
    return ContainerFiles(
        input_path=input_path,
        output_path=output_path,
        format=_FORMATS.get(config.format, "json"),
        inputs_uri=context.input_uri,
        output_prefix=context.output_prefix,
        raw_output_prefix=context.raw_output_prefix,
        outputs=template.interface.outputs.SerializeToString(),
        downloads=strategy.download_mode != tasks_pb2.IOStrategy.DO_NOT_DOWNLOAD,
        uploads=strategy.upload_mode != tasks_pb2.IOStrategy.DO_NOT_UPLOAD,
    )


def _bad_task(message: str, code: str = "BadTaskSpecification") -> BadTaskError:
    return BadTaskError(Failure(ErrorKind.USER, code, message))
