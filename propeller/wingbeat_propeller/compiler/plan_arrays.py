"""Array nodes of a plan: what their elements run, and how many must succeed.

Two ways lead to one: the array node of today, and the task of type `container_array`, whose node is an ordinary one and
whose numbers stand in the task's `custom`.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from flyteidl.core import identifier_pb2, workflow_pb2
from flyteidl.plugins import array_job_pb2
from google.protobuf import json_format

from wingbeat_propeller.core.bindings import BindingProgram, Promise
from wingbeat_propeller.core.plan import (
    ELEMENT_NODE_ID,
    END,
    START,
    ArraySpec,
    FailurePolicy,
    NodeKind,
    Plan,
    Target,
    TaskSpec,
)

LEGACY_TASK_TYPE = "container_array"
_ELEMENT = 2
"""Plan index of the one node of a plan made for an element."""


def wraps(array: workflow_pb2.ArrayNode) -> bool:
    """Whether the interface of the inner node is that of one element, so that the array's is lists of it.

    A mapped task of flytekit takes whole lists and picks its item itself; nothing else does.
    """
    return array.is_original_sub_node_interface.value or array.node.WhichOneof("target") != "task_node"


def array_spec(
    array: workflow_pb2.ArrayNode,
    identifier: identifier_pb2.Identifier,
    element: TaskSpec | Plan,
    input_names: tuple[str, ...],
) -> ArraySpec:
    """The array over `element`, which is shown under `identifier`. The inner node's metadata are each element's."""
    criterion = array.WhichOneof("success_criteria")
    return _spec(
        array.node,
        identifier,
        element,
        bound_inputs=frozenset(array.bound_inputs),
        picks=wraps(array),
        parallelism=array.parallelism,
        min_successes=array.min_successes if criterion == "min_successes" else None,
        min_success_ratio=_ratio(array.min_success_ratio) if criterion == "min_success_ratio" else Fraction(1),
        runs_all=array.run_all_sub_nodes,
        input_names=input_names,
    )


def legacy_array_spec(node: workflow_pb2.Node, task: TaskSpec) -> ArraySpec:
    """The array that a task of type `container_array` is; its program adds the index to the output prefix itself.

    Raises ValueError when `custom` is no ArrayJob.
    """
    try:
        job = json_format.Parse(
            json_format.MessageToJson(task.template.custom), array_job_pb2.ArrayJob(), ignore_unknown_fields=True
        )
    except json_format.ParseError as error:
        raise ValueError(f"task '{task.name}' of type {LEGACY_TASK_TYPE}: {error}") from error
    criterion = job.WhichOneof("success_criteria")
    return _spec(
        node,
        task.template.id,
        task,
        bound_inputs=_bound_by_arguments(task.template.container.args),
        picks=False,
        appends_index=True,
        parallelism=job.parallelism,
        min_successes=job.min_successes if criterion == "min_successes" else None,
        min_success_ratio=_ratio(job.min_success_ratio) if criterion == "min_success_ratio" else Fraction(1),
        input_names=tuple(sorted(task.template.interface.inputs.variables)),
    )


def _spec(
    node: workflow_pb2.Node,
    identifier: identifier_pb2.Identifier,
    element: TaskSpec | Plan,
    *,
    bound_inputs: frozenset[str],
    picks: bool,
    parallelism: int,
    min_successes: int | None,
    min_success_ratio: Fraction,
    input_names: tuple[str, ...],
    appends_index: bool = False,
    runs_all: bool = False,
) -> ArraySpec:
    metadata = node.metadata
    retries = metadata.retries.retries
    if not retries and isinstance(element, TaskSpec):
        retries = element.template.metadata.retries.retries
    return ArraySpec(
        project=identifier.project,
        domain=identifier.domain,
        name=identifier.name,
        version=identifier.version,
        element=element,
        bound_inputs=bound_inputs,
        picks=picks,
        appends_index=appends_index,
        parallelism=parallelism,
        min_successes=min_successes,
        min_success_ratio=min_success_ratio,
        runs_all=runs_all,
        attempts_max=1 + retries,
        timeout_s=metadata.timeout.ToMicroseconds() / 1e6,
        interruptible=metadata.interruptible if metadata.WhichOneof("interruptible_value") is not None else None,
        input_names=input_names,
        output_names=element.output_names,
    )


def _ratio(value: float) -> Fraction:
    """The decimal number that was meant: the field holds 32 bits, and 0.6 of 5 elements are 3, not 4."""
    return Fraction(Decimal(f"{value:.7g}"))


def _bound_by_arguments(arguments: Sequence[str]) -> frozenset[str]:
    """Inputs bound whole, which flytekit's older map task tells nobody but itself: `-- vars a,b resolver ...`."""
    values = list(arguments)
    for position, argument in enumerate(values[:-2]):
        if argument == "--" and values[position + 1] == "vars":
            return frozenset(filter(None, values[position + 2].split(",")))
    return frozenset()


def element_plan(node: workflow_pb2.Node, kind: NodeKind, target: Target, inputs: tuple[str, ...]) -> Plan:
    """A plan of one node, for elements that are neither tasks nor workflows: its outputs are what the node gives."""
    outputs = target.output_names
    return Plan(
        name=node.id,
        policy=FailurePolicy.FAIL_IMMEDIATELY,
        ids=("start-node", "end-node", ELEMENT_NODE_ID),
        names=("", "", node.metadata.name),
        kinds=(NodeKind.START, NodeKind.END, kind),
        indegree=(0, 1, 1),
        successors=((_ELEMENT,), (), (END,)),
        bindings=(
            BindingProgram(),
            BindingProgram(tuple((name, Promise(_ELEMENT, name)) for name in outputs), (_ELEMENT,) if outputs else ()),
            BindingProgram(tuple((name, Promise(START, name)) for name in inputs), (START,) if inputs else ()),
        ),
        uses=(1 if inputs else 0, 0, 1 if outputs else 0),
        targets=(None, None, target),
        owners=(-1, -1, -1),
        failure_node=None,
        attempts_max=(1, 1, 1 + node.metadata.retries.retries),
        timeout_s=(0.0, 0.0, 0.0),  # the element's own
        interruptible=(None, None, None),
        interruptible_default=False,
        input_names=inputs,
        output_names=outputs,
        is_counted=kind is not NodeKind.LAUNCH_PLAN,
    )
