"""The workflow that a dynamic task has made while it ran, from its futures.pb to a compiled closure.

Rules of Flyte v1: the workflow is named after its node and has the task's outputs and no inputs; the tasks come along,
and each gets the configuration of the task that made them. What does not come along (reference tasks, launch plans) is
looked up by the caller, between `read_futures` and `compile_dynamic`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flyteidl.core import compiler_pb2, dynamic_job_pb2, identifier_pb2, tasks_pb2, workflow_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.compiler.errors import CompilationFailedError
from wingbeat_propeller.compiler.references import EntityKey, KnownReferences, ReferencedIds, entity_key, referenced_ids
from wingbeat_propeller.compiler.workflow import compile_workflow

FUTURES_FILE = "futures.pb"
"""What a dynamic task writes instead of its outputs, in its output folder."""
_COMPILED_FILE = "dynamic_compiled.pb"


class BadDynamicWorkflowError(ValueError):
    """The task has made no workflow that could run; the text says why."""


@dataclass(frozen=True, slots=True)
class DynamicSpec:
    """What a futures.pb holds, as a template that can be compiled."""

    template: workflow_pb2.WorkflowTemplate
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate]
    tasks: dict[EntityKey, tasks_pb2.TaskTemplate]
    missing: ReferencedIds
    """What it refers to and does not bring along."""


def compiled_uri(futures_uri: str) -> str:
    """Where the compiled closure of a dynamic node is kept, beside its futures.pb."""
    return futures_uri.removesuffix(FUTURES_FILE) + _COMPILED_FILE


def read_futures(data: bytes, parent: tasks_pb2.TaskTemplate, identifier: identifier_pb2.Identifier) -> DynamicSpec:
    """The workflow in a futures.pb that task `parent` wrote; `identifier` becomes its own. Raises
    BadDynamicWorkflowError."""
    try:
        spec = dynamic_job_pb2.DynamicJobSpec.FromString(data)
    except DecodeError as error:
        raise BadDynamicWorkflowError(f"{FUTURES_FILE} is malformed: {error}") from error
    template = workflow_pb2.WorkflowTemplate(id=identifier, nodes=spec.nodes, outputs=spec.outputs)
    template.interface.outputs.CopyFrom(parent.interface.outputs)
    tasks: dict[EntityKey, tasks_pb2.TaskTemplate] = {}
    for task in spec.tasks:
        if entity_key(task.id) not in tasks:
            if task.HasField("container"):
                task.container.config.extend(parent.container.config)
            tasks[entity_key(task.id)] = task
    wanted = referenced_ids(template, spec.subworkflows)
    unknown = tuple(identifier for identifier in wanted.tasks if entity_key(identifier) not in tasks)
    return DynamicSpec(template, spec.subworkflows, tasks, ReferencedIds(unknown, wanted.launch_plans))


def compile_dynamic(spec: DynamicSpec, found: KnownReferences) -> compiler_pb2.CompiledWorkflowClosure:
    """The closure of a dynamic workflow; `found` answers for what was missing. Raises BadDynamicWorkflowError."""
    tasks = dict(spec.tasks)
    for identifier in spec.missing.tasks:
        task = found.task(identifier)
        if task is not None:
            tasks[entity_key(identifier)] = task
    launch_plans = {entity_key(identifier): found.launch_plan(identifier) for identifier in spec.missing.launch_plans}
    references = KnownReferences(tasks, {key: plan for key, plan in launch_plans.items() if plan is not None})
    try:
        return compile_workflow(spec.template, spec.sub_workflows, references)
    except CompilationFailedError as error:
        raise BadDynamicWorkflowError(str(error)) from error
