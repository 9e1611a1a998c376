"""What a failure node is told: the error, in an input of that name.

flytekit binds an input `err` to nothing when the handler asks for the error; Flyte puts a union of type `FlyteError`
there, which flytekit turns into its own error class.
"""

from dataclasses import replace

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.core.bindings import BindingProgram, Constant
from wingbeat_propeller.core.outcome import Failure

ERROR_INPUT = "err"
_TYPE = types_pb2.LiteralType(simple=types_pb2.ERROR, structure=types_pb2.TypeStructure(tag="FlyteError"))


def with_error_input(program: BindingProgram, failure: Failure, failed_node: str) -> BindingProgram:
    """The bindings of a failure node, with the error in the place of `err` if the node has such an input.

    `failed_node` is the unique id of the node that failed.
    """
    if all(var != ERROR_INPUT for var, _ in program.bindings):
        return program
    error = types_pb2.Error(failed_node_id=failed_node, message=failure.message)
    value = literals_pb2.Literal(scalar=literals_pb2.Scalar(error=error))
    union = literals_pb2.Union(value=value, type=_TYPE)
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(union=union)).SerializeToString()
    bindings = tuple((var, Constant(literal) if var == ERROR_INPUT else given) for var, given in program.bindings)
    return replace(program, bindings=bindings)
