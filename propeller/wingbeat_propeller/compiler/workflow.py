"""From a workflow template to its compiled closure: the shape that engines run and consoles draw.

`compile_workflow` is called when a workflow is registered and when a task of a running execution turns out to be a
workflow of its own. It reads nothing but its arguments and leaves them as they are. It collects every mistake it finds.
The depth of its recursion is bounded by protobuf's limit on nested messages, which a copy by way of the wire enforces;
length is never recursed over, and the work is linear in the size of the template.
"""

from collections.abc import Mapping, Sequence

from flyteidl.core import compiler_pb2, workflow_pb2
from google.protobuf.message import DecodeError, EncodeError

from wingbeat_propeller.compiler.errors import CompilationFailedError, CompileError, ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.references import (
    EntityKey,
    References,
    entity_key,
    id_text,
    referenced_ids,
    walk_nodes,
)
from wingbeat_propeller.compiler.template import compile_template

_SUB_WORKFLOW_DEPTH_MAX = 50


def compile_workflow(
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate],
    references: References,
) -> compiler_pb2.CompiledWorkflowClosure:
    """The closure of a workflow: its template with start and end node, connections, sub-workflows and tasks.

    `sub_workflows` are the templates sent along; those that are used are compiled, the others stay as they are. Launch
    plans are only consulted for their interface. Raises CompilationFailedError.
    """
    errors = ErrorCollector()
    primary = _copy(template)
    others = [_copy(workflow) for workflow in sub_workflows]
    known: dict[EntityKey, workflow_pb2.WorkflowTemplate] = {}
    for workflow in others:
        if known.setdefault(entity_key(workflow.id), workflow) is not workflow:
            errors.report(ErrorCode.VALUE_COLLISION, id_text(workflow.id), "The sub-workflow is given more than once")
    used = _used_sub_workflows(primary, known, errors)
    # Interfaces are read from untouched templates, so the order of compilation does not matter.
    compiled: dict[EntityKey, compiler_pb2.ConnectionSet] = {}
    for key in used:
        with errors.within(f"sub-workflow {known[key].id.name}"):
            compiled[key] = compile_template(known[key], known, references, errors)
    connections = compile_template(primary, known, references, errors)
    errors.raise_if_any()
    tasks = (references.task(identifier) for identifier in referenced_ids(template, sub_workflows).tasks)
    return compiler_pb2.CompiledWorkflowClosure(
        primary=compiler_pb2.CompiledWorkflow(template=primary, connections=connections),
        sub_workflows=[
            compiler_pb2.CompiledWorkflow(template=workflow, connections=compiled.get(entity_key(workflow.id)))
            for workflow in others
        ],
        tasks=[
            compiler_pb2.CompiledTask(template=task)
            for task in sorted(
                (task for task in tasks if task is not None),
                key=lambda task: (task.id.resource_type, *entity_key(task.id)),
            )
        ],
    )


def _copy(template: workflow_pb2.WorkflowTemplate) -> workflow_pb2.WorkflowTemplate:
    try:
        return workflow_pb2.WorkflowTemplate.FromString(template.SerializeToString())
    except (DecodeError, EncodeError) as error:
        mistake = CompileError(
            ErrorCode.WORKFLOW_BUILD_ERROR,
            id_text(template.id),
            "Types, bindings, conditions or branches of the workflow are nested too deeply",
        )
        raise CompilationFailedError([mistake]) from error


def _used_sub_workflows(
    primary: workflow_pb2.WorkflowTemplate,
    known: Mapping[EntityKey, workflow_pb2.WorkflowTemplate],
    errors: ErrorCollector,
) -> list[EntityKey]:
    """Sub-workflows that the primary needs, inner ones first. One that contains itself is reported."""
    heights: dict[EntityKey, int] = {}
    path = {entity_key(primary.id): _sub_workflow_nodes(primary)}
    stack = [(entity_key(primary.id), iter(_sub_workflow_nodes(primary).items()))]
    while stack:
        current, remaining = stack[-1]
        for key, node_id in remaining:
            if key in path:
                errors.report(ErrorCode.CYCLE_DETECTED, node_id, f"The sub-workflow [{':'.join(key)}] contains itself")
            elif key in known and key not in heights:
                path[key] = _sub_workflow_nodes(known[key])
                stack.append((key, iter(path[key].items())))
                break
        else:
            stack.pop()
            heights[current] = 1 + max((heights.get(key, 0) for key in path.pop(current)), default=0)
    height = heights.pop(entity_key(primary.id)) - 1
    if height > _SUB_WORKFLOW_DEPTH_MAX:
        errors.report(
            ErrorCode.WORKFLOW_BUILD_ERROR,
            id_text(primary.id),
            f"Sub-workflows are nested {height} levels deep, at most {_SUB_WORKFLOW_DEPTH_MAX} are possible",
        )
    return list(heights)


def _sub_workflow_nodes(workflow: workflow_pb2.WorkflowTemplate) -> dict[EntityKey, str]:
    """Sub-workflows that a template uses, each with the id of a node that does."""
    return {
        entity_key(node.workflow_node.sub_workflow_ref): node.id
        for node in walk_nodes(workflow)
        if node.workflow_node.HasField("sub_workflow_ref")
    }
