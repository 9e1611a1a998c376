"""How much one call or message may hold."""

from wingbeat_controlplane.errors import bad_field

ITEMS_MAX = 10_000
"""Items of a call, or of a message of a stream."""


def check_count(count: int) -> None:
    """Raises ApiError INVALID_ARGUMENT when there are too many items."""
    if count > ITEMS_MAX:
        raise bad_field("items", f"{count} items are more than the {ITEMS_MAX} that one call or message may have")
