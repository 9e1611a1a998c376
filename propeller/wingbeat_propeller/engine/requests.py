"""From a Launch to a runtime request: the context of the attempt, and the files its program reads."""

from collections.abc import Callable, Mapping

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.folders import checkpoints_in, raw_output_folder
from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.engine.blob_retry import riding_out
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.outcomes import RESULT_FILES
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.tasks import TaskContext
from wingbeat_propeller.tasks.container import wants_task_template
from wingbeat_propeller.tasks.templating import TASK_TEMPLATE_FILE


def build_context(
    live: LiveExecution, launch: Launch, raw_output_prefix: str, previous_checkpoint: str = ""
) -> TaskContext:
    """Everything a plugin needs; `raw_output_prefix` serves executions that name none."""
    state = live.state
    raw_output = raw_output_folder(live.raw_output_prefix or raw_output_prefix, launch.generated_name)
    return TaskContext(
        execution_project=state.project,
        execution_domain=state.domain,
        execution_name=state.name,
        workflow_name=live.workflow_name,
        node_id=launch.node_id,
        attempt=launch.ref.attempt,
        name=launch.name,
        generated_name=launch.generated_name,
        input_uri=_inputs_uri(launch),
        input_prefix=launch.data_dir,
        output_prefix=launch.output_prefix or launch.output_dir,
        raw_output_prefix=raw_output,
        checkpoint_prefix=checkpoints_in(raw_output),
        previous_checkpoint_prefix=previous_checkpoint,
        envs={**live.envs, **launch.env} if launch.env else live.envs,
        labels=live.labels,
        annotations=live.annotations,
        interruptible=launch.interruptible,
        timeout_s=launch.timeout_s,
        resources=live.resources,
        array_id=launch.array_id,
        element=launch.ref.element,
    )


async def load_inputs(blobs: Blobs, launch: Launch) -> Mapping[str, bytes]:
    """Inputs of an attempt, serialized, by name. Raises BlobStoreFailedError, BlobNotFoundError,
    MalformedLiteralMapError."""
    if launch.inputs is not None:
        return split_literal_map(launch.inputs)
    uri = _inputs_uri(launch)
    return split_literal_map(await riding_out(lambda: blobs.get(uri), f"reading {uri}"))


async def write_files(blobs: Blobs, launch: Launch) -> None:
    """Put in place what the program of a container reads. Raises BlobStoreFailedError."""
    if launch.inputs is not None:
        inputs_uri = _inputs_uri(launch)
        inputs = launch.inputs
        await riding_out(lambda: blobs.put(inputs_uri, inputs), f"writing {inputs_uri}")
    if wants_task_template(launch.task.template):
        template_uri = f"{launch.data_dir}/{TASK_TEMPLATE_FILE}"
        template = launch.task.template.SerializeToString()
        await riding_out(lambda: blobs.put(template_uri, template), f"writing {template_uri}")


class SupersededError(Exception):
    """The attempt is not this process's to start any more."""


async def remove_results(blobs: Blobs, launch: Launch, is_ours: Callable[[], bool]) -> None:
    """Take away what an earlier run of the same attempt may have left, lest it is taken for the result of the next one.

    `is_ours` is asked before each call to the store: another process may have started the attempt meanwhile, and what
    lies there then is its result. Raises BlobStoreFailedError, SupersededError.
    """

    async def delete(uri: str) -> None:
        if not is_ours():
            raise SupersededError
        await blobs.delete(uri)

    for name in RESULT_FILES:
        uri = f"{launch.output_dir}/{name}"
        await riding_out(lambda uri=uri: delete(uri), f"removing {uri}")


def _inputs_uri(launch: Launch) -> str:
    return f"{launch.data_dir}/inputs.pb"
