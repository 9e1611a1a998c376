"""Which cron expressions and rates are legal."""

import pytest
from flyteidl.admin import schedule_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.registry.schedules import check_cron, check_schedule, schedule_type


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 0-23/2 1,15 JAN-mar mon",
        "7/20 ? ? * ?",
        "0 0 30 2 *",
        "@daily",
        "@every 1h30m",
        "CRON_TZ=Europe/Zurich 0 8 * * 1-5",
        "TZ=UTC @hourly",
        "daily",
    ],
)
def test_legal(expression: str) -> None:
    """Five fields, descriptors, intervals, zones and the bare words that flytekit lets pass."""
    check_cron(expression)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("", "expected exactly 5 fields, found 0"),
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("* * * * * *", "expected exactly 5 fields, found 6"),
        ("60 * * * *", "minute: 60 is not between 0 and 59"),
        ("* 24 * * *", "hour: 24"),
        ("* * 0 * *", "day of month: 0"),
        ("* * * 13 *", "month: 13"),
        ("* * * * 7", "day of week: 7"),
        ("* * * * L", "day of week: 'L' is no number or name"),
        ("5-3 * * * *", "beginning of range"),
        ("*/0 * * * *", "must be a positive number"),
        ("1,,2 * * * *", "is no number"),
        ("@reboot", "unrecognized descriptor"),
        ("@every soon", "unrecognized descriptor"),
        ("TZ=Moon/Base * * * * *", "unknown time zone"),
    ],
)
def test_refused(expression: str, text: str) -> None:
    """What is refused says which field is wrong."""
    with pytest.raises(ValueError, match=text):
        check_cron(expression)


def test_rates_and_kinds() -> None:
    """A rate needs a positive value; each kind of schedule has its word."""
    rate = schedule_pb2.Schedule(rate=schedule_pb2.FixedRate(value=1, unit=schedule_pb2.HOUR))
    check_schedule(rate)
    with pytest.raises(ApiError, match="must be positive"):
        check_schedule(schedule_pb2.Schedule(rate=schedule_pb2.FixedRate(unit=schedule_pb2.HOUR)))
    cron = schedule_pb2.Schedule(cron_schedule=schedule_pb2.CronSchedule(schedule="@daily"))
    kinds = [schedule_type(schedule) for schedule in (schedule_pb2.Schedule(), cron, rate)]
    assert kinds == ["NONE", "CRON", "RATE"]
