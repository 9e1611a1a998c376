"""How much one call or message may hold."""

from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import invalid_argument

ITEMS_MAX = 10_000
"""Items of a call, or of a message of a stream."""


def check_count(count: int) -> None:
    """Raises ApiError INVALID_ARGUMENT when there are too many items."""
    if count > ITEMS_MAX:
        text = f"{count} items are more than the {ITEMS_MAX} that one call or message may have"
        violation = error_details_pb2.BadRequest.FieldViolation(field="items", description=text)
        raise invalid_argument(text, [error_details_pb2.BadRequest(field_violations=[violation])])
