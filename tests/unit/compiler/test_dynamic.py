"""Workflows from futures.pb: what is taken over, what is refused."""

import pytest
from flyteidl.core import (
    dynamic_job_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from wingbeat_propeller.compiler.dynamic import BadDynamicWorkflowError, compile_dynamic, compiled_uri, read_futures
from wingbeat_propeller.compiler.references import KnownReferences

_OUTPUTS = interface_pb2.VariableMap(
    variables={"o0": interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.INTEGER))}
)
_NOTHING = KnownReferences({}, {})
_WORKFLOW = identifier_pb2.Identifier(
    resource_type=identifier_pb2.WORKFLOW, project="p", domain="d", name="dynamic_n0", version="e-n0-0"
)


def _task_id(name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, project="p", domain="d", name=name, version="v")


def _task(name: str) -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(
        id=_task_id(name),
        type="python-task",
        interface=interface_pb2.TypedInterface(inputs=interface_pb2.VariableMap(), outputs=_OUTPUTS),
        container=tasks_pb2.Container(image="image"),
    )


def _spec(task: str = "inner", var: str = "o0") -> dynamic_job_pb2.DynamicJobSpec:
    promise = types_pb2.OutputReference(node_id="dn0", var=var)
    return dynamic_job_pb2.DynamicJobSpec(
        nodes=[workflow_pb2.Node(id="dn0", task_node=workflow_pb2.TaskNode(reference_id=_task_id(task)))],
        tasks=[_task("inner")],
        outputs=[literals_pb2.Binding(var="o0", binding=literals_pb2.BindingData(promise=promise))],
    )


def _parent() -> tasks_pb2.TaskTemplate:
    parent = _task("parent")
    parent.container.config.add(key="queue", value="fast")
    return parent


def test_a_workflow_with_the_outputs_of_its_task() -> None:
    """It has the name it is given, no inputs, the parent's outputs; its tasks inherit the parent's configuration."""
    spec = read_futures(_spec().SerializeToString(), _parent(), _WORKFLOW)
    closure = compile_dynamic(spec, _NOTHING)
    assert closure.primary.template.id == _WORKFLOW
    assert closure.primary.template.interface.outputs == _OUTPUTS
    assert not closure.primary.template.interface.inputs.variables
    (task,) = closure.tasks
    assert [(pair.key, pair.value) for pair in task.template.container.config] == [("queue", "fast")]


def test_what_is_missing_is_looked_up() -> None:
    """Tasks that do not come along are asked for, and taken from the answer."""
    spec = read_futures(_spec("elsewhere").SerializeToString(), _parent(), _WORKFLOW)
    assert [identifier.name for identifier in spec.missing.tasks] == ["elsewhere"]
    found = KnownReferences({("p", "d", "elsewhere", "v"): _task("elsewhere")}, {})
    assert compile_dynamic(spec, found).tasks[0].template.id.name == "elsewhere"
    with pytest.raises(BadDynamicWorkflowError, match="elsewhere"):
        compile_dynamic(spec, _NOTHING)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff", "malformed"),
        (b"", "No nodes"),
        (_spec(var="o7").SerializeToString(), "o7"),
    ],
)
def test_bad_futures(data: bytes, words: str) -> None:
    """Bytes that are no spec, no nodes at all, and bindings that fit nothing are refused with a sentence."""
    with pytest.raises(BadDynamicWorkflowError, match=words):
        compile_dynamic(read_futures(data, _parent(), _WORKFLOW), _NOTHING)


def test_where_the_compiled_form_is_kept() -> None:
    """Beside futures.pb."""
    assert compiled_uri("s3://b/x/0/futures.pb") == "s3://b/x/0/dynamic_compiled.pb"
