"""What the elements of an array are given, as told by the array's inputs and its compiled workflow. Pure."""

from flyteidl.core import compiler_pb2, identifier_pb2, literals_pb2, workflow_pb2

from wingbeat_controlplane.errors import failed_precondition, invalid_argument


def find_array(
    closure: compiler_pb2.CompiledWorkflowClosure, spec_node_id: str, task: identifier_pb2.Identifier | None = None
) -> workflow_pb2.ArrayNode:
    """The array of that id in the workflow or one inside of it, over `task` if that is known; an empty one when there
    is none, as for arrays that dynamic tasks have made."""
    for workflow in (closure.primary, *closure.sub_workflows):
        for node in workflow.template.nodes:
            array = node.array_node
            if node.id == spec_node_id and (array.node.task_node.reference_id == task or task is None):
                return array
    return workflow_pb2.ArrayNode()


def inputs_of_element(
    inputs: literals_pb2.LiteralMap, array: workflow_pb2.ArrayNode, element: int
) -> literals_pb2.LiteralMap:
    """What one element is given: its items of the lists that are mapped over, and everything else as it is.

    Raises ApiError FAILED_PRECONDITION for lists that stand elsewhere, INVALID_ARGUMENT for an unknown element.
    """
    of_element = literals_pb2.LiteralMap()
    for name, literal in inputs.literals.items():
        kind = literal.WhichOneof("value")
        if name in array.bound_inputs or kind not in ("collection", "offloaded_metadata"):
            of_element.literals[name].CopyFrom(literal)
        elif kind == "offloaded_metadata":
            raise failed_precondition(f"input {name} is stored apart: {literal.offloaded_metadata.uri}")
        elif not 0 <= element < len(literal.collection.literals):
            raise invalid_argument(f"element {element} is outside of the {len(literal.collection.literals)} there are")
        else:
            of_element.literals[name].CopyFrom(literal.collection.literals[element])
    return of_element
