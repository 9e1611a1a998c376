"""Checks of notification rules in launch plans and executions."""

from collections.abc import Iterable

from flyteidl.admin import common_pb2
from flyteidl.core import execution_pb2

from wingbeat_controlplane.errors import invalid_argument, invalid_value, missing

_Phase = execution_pb2.WorkflowExecution
_FINAL = frozenset({_Phase.SUCCEEDED, _Phase.FAILED, _Phase.ABORTED, _Phase.TIMED_OUT})


def check_notifications(notifications: Iterable[common_pb2.Notification]) -> None:
    """Each names one way (email, slack, pagerduty), recipients, and final phases only. Raises ApiError."""
    for notification in notifications:
        way = notification.WhichOneof("type")
        if way is None:
            raise invalid_argument("invalid notification: one of email, slack and pager_duty is expected")
        recipients = _recipients(notification, way)
        if not recipients:
            raise missing("recipients")
        if not all(recipients):
            raise invalid_value("recipients")
        if not notification.phases:
            raise missing("phases")
        if any(phase not in _FINAL for phase in notification.phases):
            raise invalid_argument("invalid notification: phases must be final (SUCCEEDED, FAILED, ABORTED, TIMED_OUT)")


def _recipients(notification: common_pb2.Notification, way: str) -> list[str]:
    if way == "email":
        return list(notification.email.recipients_email)
    if way == "slack":
        return list(notification.slack.recipients_email)
    return list(notification.pager_duty.recipients_email)
