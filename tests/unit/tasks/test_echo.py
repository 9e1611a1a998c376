"""Which input an echo hands to which output."""

import pytest
from flyteidl.core import interface_pb2, literals_pb2, tasks_pb2, types_pb2
from tests.unit.tasks.test_templating import CONTEXT

from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.ports.tasks import BadTaskError, InstantRequest
from wingbeat_propeller.tasks.echo import EchoPlugin, pair_variables
from wingbeat_propeller.tasks.registry import TaskPlugins

INTEGER, STRING = types_pb2.INTEGER, types_pb2.STRING


def _variables(**simple: "types_pb2.SimpleType") -> dict[str, interface_pb2.Variable]:
    return {name: interface_pb2.Variable(type=types_pb2.LiteralType(simple=kind)) for name, kind in simple.items()}


def test_values_go_to_their_types() -> None:
    """Different types tell which is which, whatever the names."""
    pairs = pair_variables(_variables(b=INTEGER, a=STRING), _variables(o0=INTEGER, o1=STRING))
    assert pairs == {"o0": "b", "o1": "a"}


def test_one_type_goes_by_names() -> None:
    """Variables of one type keep the order of their names; numbers in names are numbers."""
    inputs = _variables(**{f"x{index}": INTEGER for index in range(12)})
    outputs = _variables(**{f"o{index}": INTEGER for index in range(12)})
    assert pair_variables(inputs, outputs) == {f"o{index}": f"x{index}" for index in range(12)}


def test_names_may_hold_digits_that_are_no_numbers() -> None:
    """A superscript is a digit to Python, and no number."""
    pairs = pair_variables(_variables(**{"x²": INTEGER, "x³": INTEGER}), _variables(o0=INTEGER, o1=INTEGER))
    assert pairs == {"o0": "x²", "o1": "x³"}


def test_castable_types_will_do() -> None:
    """An output may have a wider type than the input."""
    optional = types_pb2.LiteralType()
    for simple in (STRING, types_pb2.NONE):
        optional.union_type.variants.add(simple=simple)
    pairs = pair_variables(_variables(x=STRING), {"o0": interface_pb2.Variable(type=optional)})
    assert pairs == {"o0": "x"}


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (_variables(x=INTEGER), {}, "0 and 1"),
        (_variables(x=INTEGER), _variables(o0=STRING), "no input is left for output 'o0' of type String"),
    ],
)
def test_what_does_not_go_together(
    inputs: dict[str, interface_pb2.Variable], outputs: dict[str, interface_pb2.Variable], words: str
) -> None:
    """Different numbers and types are refused."""
    with pytest.raises(ValueError, match=words):
        pair_variables(inputs, outputs)


def test_literals_pass_unchanged() -> None:
    """The outputs hold the bytes of the inputs; an input that was left out is left out."""
    template = tasks_pb2.TaskTemplate(type="echo")
    for name, variable in _variables(a=INTEGER, b=STRING).items():
        template.interface.inputs.variables[name].CopyFrom(variable)
    for name, variable in _variables(o0=INTEGER, o1=STRING).items():
        template.interface.outputs.variables[name].CopyFrom(variable)
    literal = literals_pb2.Literal(hash="h", scalar={"primitive": {"integer": 3}}).SerializeToString()
    plugins = TaskPlugins.installed(echo_sleep_s=2.5)
    assert plugins.runs_in_engine("echo")
    assert not plugins.runs_in_engine("python-task")
    request = plugins.for_type("echo").build(template, {"a": literal}, CONTEXT)
    assert isinstance(request, InstantRequest)
    assert split_literal_map(request.outputs) == {"o0": literal}
    assert (request.name, request.failure, request.delay_s) == (CONTEXT.name, None, 2.5)
    del template.interface.outputs.variables["o1"]
    with pytest.raises(BadTaskError, match="as many outputs as inputs"):
        EchoPlugin().build(template, {"a": literal}, CONTEXT)
