"""Times of rows as protobuf writes them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime) -> Timestamp:
    """A `timestamptz` column's value as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
