"""Outputs of the elements of a map, a page at a time.

A map task of flytekit declares nothing itself. Its elements run the task that it maps, so what that one declares
counts; it is known if it is registered under the same version. An element that the cache had, or that was taken over
from an execution that was recovered, has made nothing: it ended in the moment in which its turn came.
"""

from collections.abc import Set
from typing import NamedTuple

from flyteidl.core import identifier_pb2, literals_pb2, tasks_pb2

from wingbeat_catalog.artifacts.outputs import Outputs, Variables, declared_in, entity_of, read_values, template_of
from wingbeat_catalog.artifacts.partitions import RUNTIME_KEY, Inputs
from wingbeat_catalog.artifacts.store import SQL, Row, Transaction
from wingbeat_propeller.compiler.mapped_task import mapped_task
from wingbeat_propeller.ports.blobs import Blobs

PAGE = 1_000


class UndeclaredError(LookupError):
    """What the outputs are called as artifacts is not known; the text says why."""


class Mapped(NamedTuple):
    """What elements run, and which of its outputs are artifacts."""

    entity: identifier_pb2.Identifier
    declared: Variables


class ElementPage(NamedTuple):
    """Outputs of some elements, and the element that the next page begins with, if there is one."""

    outputs: list[Outputs]
    next_element: int | None


async def mapped(connection: Transaction, output: Row, template: tasks_pb2.TaskTemplate) -> Mapped:
    """What the elements of a map with this template run."""
    entity = entity_of(output, identifier_pb2.TASK)
    declared = declared_in(template.interface)
    name = mapped_task(template)
    if declared or name is None:
        return Mapped(entity, declared)
    entity.name = name
    task = (entity.project, entity.domain, entity.name, entity.version)
    closure = await connection.fetchval(SQL["task_closure"], *task)
    return Mapped(entity, {} if closure is None else declared_in(template_of(closure).interface))


async def check_undeclared(
    connection: Transaction, blobs: Blobs, announced: Row, entity: identifier_pb2.Identifier
) -> None:
    """Raises UndeclaredError if an element has set partitions, so that its outputs are artifacts for certain."""
    rows = await connection.fetch(SQL["elements"], announced["execution_id"], announced["node_id"], 0, 1)
    for row in rows:
        values = await read_values(blobs, row["outputs"], row["output_uri"])
        if any(literal.metadata.get(RUNTIME_KEY) for literal in values.values()):
            raise UndeclaredError(
                f"the mapped task {entity.name} is not registered under version {entity.version}, so it is not known"
                " which artifacts its outputs are"
            )


async def read_page(
    connection: Transaction, blobs: Blobs, announced: Row, output: Row, known: Mapped, bound_inputs: Set[str]
) -> ElementPage:
    """The elements from `announced["next_element"]` on. Raises BlobNotFoundError, BlobTooLargeError, DecodeError,
    OSError."""
    node_id = announced["node_id"]
    rows = await connection.fetch(SQL["elements"], announced["execution_id"], node_id, announced["next_element"], PAGE)
    inputs = await read_values(blobs, output["inputs"], output["input_uri"])
    outputs = [
        Outputs(
            declared=known.declared,
            values=await read_values(blobs, row["outputs"], row["output_uri"]),
            inputs=_element_inputs(bound_inputs, inputs, row["element"]),
            place=(output["name"], node_id, str(row["element"]), str(row["attempt"])),
            attempt=row["attempt"],
            entity=known.entity,
            value_uri=row["output_uri"] if row["outputs"] is None else None,
        )
        for row in rows
    ]
    return ElementPage(outputs, rows[-1]["element"] + 1 if len(rows) == PAGE else None)


def _element_inputs(bound_inputs: Set[str], inputs: Inputs, element: int) -> Inputs:
    """What an element was given, of the inputs of its map."""
    own: dict[str, literals_pb2.Literal] = {}
    for var, literal in inputs.items():
        is_mapped = var not in bound_inputs and literal.WhichOneof("value") == "collection"
        own[var] = literal.collection.literals[element] if is_mapped else literal
    return own
