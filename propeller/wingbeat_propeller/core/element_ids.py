"""Ids by which clients know elements of arrays: `<array>-0-n<index>`.

Ids of nodes are shortened where they are long, and what is inside of an element has the shortened one as its parent;
whoever asks for an element says its id in full all the same.
"""

import re
from typing import NamedTuple

from wingbeat_propeller.core.ids import NODE_ID_LENGTH_MAX, fixed_length

_ID = re.compile(r"(?P<array>.+)-0-n(?P<element>0|[1-9]\d{0,8})", re.DOTALL)
"""Arrays are never tried again: their attempt is 0."""


class ElementId(NamedTuple):
    """An element by the unique id of its array, and its index."""

    array_id: str
    element: int


def parse_element_id(node_id: str) -> ElementId | None:
    """None for what cannot be the id of an element."""
    match = _ID.fullmatch(node_id)
    return None if match is None else ElementId(match["array"], int(match["element"]))


def element_node_id(array_id: str, element: int) -> str:
    """The id that is parsed."""
    return f"{array_id}-0-n{element}"


def stored_parent_id(node_id: str) -> str:
    """What the nodes inside of a node, or of an element, have as their parent."""
    return fixed_length(node_id, NODE_ID_LENGTH_MAX, 64)
