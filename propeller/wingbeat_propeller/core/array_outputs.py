"""The outputs of an array node: for each output a collection of what its elements produced, in their order."""

from collections.abc import Iterable, Mapping, Sequence

from wingbeat_propeller.core.values import NONE_LITERAL, collection_literal, split_literal_map


def collections(names: Sequence[str], elements: Iterable[Mapping[str, bytes] | None]) -> dict[str, bytes]:
    """Serialized collection literals by output name. An element that has failed (None), or that lacks an output, is a
    literal of none."""
    columns: dict[str, list[bytes]] = {name: [] for name in names}
    for outputs in elements:
        for name, column in columns.items():
            column.append(NONE_LITERAL if outputs is None else outputs.get(name, NONE_LITERAL))
    return {name: collection_literal(column) for name, column in columns.items()}


def small_collections(
    names: Sequence[str], elements: Sequence[bytes | str | None], room: int
) -> dict[str, bytes] | None:
    """The same when all outputs are at hand as serialized LiteralMaps and have about `room` bytes at most, else None.

    Raises MalformedLiteralMapError.
    """
    for outputs in elements:
        room -= 8 if outputs is None else len(outputs)
        if room < 0 or isinstance(outputs, str):
            return None
    return collections(names, [split_literal_map(data) if isinstance(data, bytes) else None for data in elements])
