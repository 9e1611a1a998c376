"""Tasks that are a container: `python-task`, `container`, `raw-container`, pods, and every type nobody else claims.

The command line is the container's command followed by its args, each element rendered alone. Resources become limits
of the attempt: what the task says, else the defaults that its execution was launched with, cut to that execution's
limits. A request without a limit limits too, which is what the container would get on a cluster.
"""

from collections.abc import Mapping, Sequence
from math import ceil

from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.resources import InvalidResourcesError
from wingbeat_propeller.container_files import (
    DEFAULT_INPUT_PATH,
    DEFAULT_OUTPUT_PATH,
    ContainerFiles,
    FilesFormat,
    container_path,
)
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.ports.tasks import BadTaskError, ContainerRequest, TaskContext
from wingbeat_propeller.tasks.environment import build_environment
from wingbeat_propeller.tasks.pod_spec import BadPodSpecError, has_pod_spec, primary_container
from wingbeat_propeller.tasks.templating import TemplateError, mentions_inputs, mentions_task_template, render

_FORMATS: Mapping[int, FilesFormat] = {
    tasks_pb2.DataLoadingConfig.JSON: "json",
    tasks_pb2.DataLoadingConfig.YAML: "yaml",
    tasks_pb2.DataLoadingConfig.PROTO: "proto",
}


class ContainerPlugin:
    """Builds a ContainerRequest out of a task template that carries a container or a pod. Implements TaskPlugin."""

    task_types: Sequence[str] = ("python-task", "container", "raw-container", "sidecar")

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Whether an argument asks for an input value."""
        try:
            container = container_of(template)
        except BadTaskError:
            return False  # build reports it
        return mentions_inputs((*container.command, *container.args))

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> ContainerRequest:
        """Raises BadTaskError when there is no container, no command, or something that cannot be rendered."""
        container = container_of(template)
        try:
            argv = render([*container.command, *container.args], context, inputs)
        except TemplateError as error:
            raise _bad_task(f"task {template.id.name!r}: {error}", "FailedToBuildResource") from error
        if not argv:
            raise _bad_task(
                f"task {template.id.name!r} has neither a command nor args; the entrypoint of image "
                f"{container.image!r} is not known to this installation, so name the program in the task"
            )
        try:
            memory = context.resources.settle(tasks_pb2.Resources.MEMORY, container.resources).limit
            cpu = context.resources.settle(tasks_pb2.Resources.CPU, container.resources).limit
        except InvalidResourcesError as error:
            raise _bad_task(f"task {template.id.name!r}: {error}") from error
        return ContainerRequest(
            name=context.name,
            image=container.image,
            argv=argv,
            env=build_environment(((pair.key, pair.value) for pair in container.env), template.id, context),
            memory_limit_bytes=None if memory is None else ceil(memory),
            cpu_limit=None if cpu is None else float(cpu),
            timeout_s=context.timeout_s,
            origin=context.origin,
            labels=context.labels,
            annotations=context.annotations,
            interruptible=context.interruptible,
            files=_files(template, container, context),
        )


def wants_task_template(template: tasks_pb2.TaskTemplate) -> bool:
    """Whether the task reads its own template: the engine then writes it to `<input prefix>/task.pb` before launch."""
    try:
        container = container_of(template)
    except BadTaskError:
        return False  # build reports it
    return mentions_task_template((*container.command, *container.args))


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


def _files(
    template: tasks_pb2.TaskTemplate, container: tasks_pb2.Container, context: TaskContext
) -> ContainerFiles | None:
    """Inputs and outputs as files, when the template wants them so."""
    config = container.data_config
    if template.WhichOneof("target") == "k8s_pod" and template.k8s_pod.HasField("data_config"):
        config = template.k8s_pod.data_config
    if not config.enabled:
        return None
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
