"""Template variables of command lines."""

import datetime as dt
from collections.abc import Mapping

import msgpack
import pytest
from flyteidl.core import literals_pb2

from wingbeat_propeller.ports.tasks import TaskContext
from wingbeat_propeller.tasks.templating import CommandLine, TemplateError

CONTEXT = TaskContext(
    execution_project="flytesnacks",
    execution_domain="development",
    execution_name="exec",
    workflow_name="wf",
    node_id="n0",
    attempt=0,
    name="exec-n0-0-2s",
    generated_name="exec-n0-0",
    input_uri="file:///m/n0/data/inputs.pb",
    input_prefix="file:///m/n0/data",
    output_prefix="file:///m/n0/data/0",
    raw_output_prefix="file:///r/ab/exec-n0-0",
    checkpoint_prefix="file:///r/ab/exec-n0-0/_flytecheckpoints",
    previous_checkpoint_prefix="",
)


def _primitive(**value: object) -> bytes:
    return literals_pb2.Literal(
        scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(**value))  # pyright: ignore
    ).SerializeToString()


def _one(element: str, inputs: Mapping[str, bytes] | None = None) -> str:
    (rendered,) = CommandLine([element]).render(CONTEXT, inputs)
    return rendered


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("{{.input}}", "file:///m/n0/data/inputs.pb"),
        ("{{ .inputPrefix }}", "file:///m/n0/data"),
        ("{{$outputPrefix}}", "file:///m/n0/data/0"),
        ("--x={{.RAWOUTPUTDATAPREFIX}}!", "--x=file:///r/ab/exec-n0-0!"),
        ("{{.checkpointOutputPrefix}}", "file:///r/ab/exec-n0-0/_flytecheckpoints"),
        ("{{.prevCheckpointPrefix}}", '""'),
        ("{{.perRetryUniqueKey}}", "exec_n0_0"),
        ("{{.taskTemplatePath}}", "file:///m/n0/data/task.pb"),
        ("{{.namespace}}", "flytesnacks-development"),
        ("{{.unknown}} {{.}} {{ input }}", "{{.unknown}} {{.}} {{ input }}"),
        ("", ""),
    ],
)
def test_each_variable_has_its_value(element: str, expected: str) -> None:
    """Known variables are replaced wherever they stand, whatever their case; everything else stays."""
    assert _one(element) == expected


def test_elements_stay_apart() -> None:
    """One element in, one element out, also when empty."""
    line = CommandLine(["a b", "", "{{.input}} x{{.inputPrefix}}"])
    assert line.render(CONTEXT, None) == ["a b", "", "file:///m/n0/data/inputs.pb xfile:///m/n0/data"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (_primitive(integer=-7), "-7"),
        (_primitive(float_value=0.5), "0.5"),
        (_primitive(float_value=3.0), "3"),
        (_primitive(float_value=1e6), "1e+06"),
        (_primitive(float_value=1e-5), "1e-05"),
        (_primitive(boolean=True), "true"),
        (_primitive(string_value="a {{.input}}"), "a {{.input}}"),
        (_primitive(datetime=dt.datetime(2024, 1, 2, 3, 4, 5, 120000, dt.UTC)), "2024-01-02T03:04:05.12Z"),
        (_primitive(datetime=dt.datetime(2024, 1, 2, 3, 4, 5, 0, dt.UTC)), "2024-01-02T03:04:05Z"),
        (_primitive(duration=dt.timedelta(seconds=90)), "90s"),
    ],
)
def test_primitives_are_text(value: bytes, text: str) -> None:
    """Primitives read as Flyte prints them; a value is not scanned for variables."""
    assert _one("<{{.inputs.x}}>", {"x": value}) == f"<{text}>"


def test_composed_values_are_text() -> None:
    """Lists nest, blobs and schemas are their URIs, msgpack is printed plainly."""
    literal = literals_pb2.Literal()
    literal.collection.literals.add().scalar.primitive.integer = 1
    literal.collection.literals.add().scalar.blob.uri = "s3://b/k"
    literal.collection.literals.add().scalar.schema.uri = "s3://b/s"
    plain = literals_pb2.Literal()
    plain.scalar.binary.tag = "msgpack"
    plain.scalar.binary.value = msgpack.packb({"b": [1, None, True], "a": 0.5})
    inputs = {"x": literal.SerializeToString(), "y": plain.SerializeToString()}
    assert _one("{{.Inputs.x}}", inputs) == "[1,s3://b/k,s3://b/s]"
    assert _one("{{.inputs.y}}", inputs) == "map[a:0.5 b:[1 <nil> true]]"


def test_unusable_inputs_are_named() -> None:
    """A missing name and a value without a text form are errors that name the variable."""
    struct = literals_pb2.Literal()
    struct.scalar.generic.SetInParent()
    with pytest.raises(TemplateError, match=r"inputs\.y.*it has x"):
        _one("{{.inputs.y}}", {"x": _primitive(integer=1)})
    with pytest.raises(TemplateError, match=r"inputs\.x.*generic"):
        _one("{{.inputs.x}}", {"x": struct.SerializeToString()})
    with pytest.raises(TemplateError, match=r"inputs\.x.*no serialized literal"):
        _one("{{.inputs.x}}", {"x": b"\xff"})
    for element in ("{{.inputs.x}}", "{{.inputs.}}"):
        with pytest.raises(TemplateError, match="not loaded"):
            _one(element)


def test_a_task_without_inputs_keeps_the_text() -> None:
    """Without any input the text cannot mean one."""
    assert _one("{{.inputs.x}}", {}) == "{{.inputs.x}}"


def test_mentions() -> None:
    """What rendering needs can be asked before."""
    assert CommandLine(["a", "b {{ $Inputs.x }}"]).mentions_inputs
    assert not CommandLine(["{{.inputPrefix}}", "{{.input}}", "{{.inputs.}}"]).mentions_inputs
    assert CommandLine(["{{.TaskTemplatePath}}"]).mentions_task_template
    assert not CommandLine(["{{.input}}"]).mentions_task_template


def test_beginnings_without_an_end() -> None:
    """A megabyte of them stays as it is; to look for the end of each in all of it takes an engine half an hour."""
    text = "{{.inputs.a" * 100_000
    line = CommandLine([text])
    assert not line.mentions_inputs
    assert line.render(CONTEXT, {}) == [text]
