"""Values of answers in SQL, from the database to the client's text."""

import math
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from wingbeat.cli.sql import json_value, text_of
from wingbeat_controlplane.services.sql import message_of


@pytest.mark.parametrize(
    ("value", "json", "text"),
    [
        (None, None, ""),
        (True, True, "true"),
        (7, 7, "7"),
        (2**63, "9223372036854775808", "9223372036854775808"),
        (0.5, 0.5, "0.5"),
        (math.inf, "inf", "inf"),
        ("a", "a", "a"),
        (b"ab", "YWI=", "YWI="),
        (Decimal("1.50"), "1.50", "1.50"),
        (Decimal("1e3"), "1000", "1000"),
        (datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T00:00:00+00:00", "2026-05-01T00:00:00+00:00"),
        (timedelta(seconds=90), "0:01:30", "0:01:30"),
        (date(2026, 5, 1), "2026-05-01", "2026-05-01"),
        ([1, None, "a"], [1, None, "a"], '[1, null, "a"]'),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values(value: object, json: object, text: str) -> None:
    """Every type of the database comes through, its digits too."""
    message = message_of(value)
    assert json_value(message) == json
    assert text_of(message) == text
