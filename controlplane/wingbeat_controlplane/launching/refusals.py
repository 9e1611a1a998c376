"""Why an item is not launched: a gRPC code, a sentence, and what is wrong with which field."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.launching.json_literals import JsonValueError
from wingbeatidl.launch.v1 import outcome_pb2

TEXT_LENGTH_MAX = 1_000
FIELD_LENGTH_MAX = 200
"""Callers' own words come back cut: what one item says must not make the answer for all too long for its caller."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a field, by its path in the item."""

    field: str
    description: str


class RefusedError(Exception):
    """An item cannot be launched."""

    def __init__(self, code: grpc.StatusCode, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message[:TEXT_LENGTH_MAX]
        self.violations = tuple(
            Violation(one.field[:FIELD_LENGTH_MAX], one.description[:TEXT_LENGTH_MAX]) for one in violations
        )

    def api_error(self, field: str) -> ApiError:
        """As the end of a call in which what cannot be launched stands in `field`."""
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=f"{field}.{one.field}" if one.field else field, description=one.description
            )
            for one in self.violations
        ]
        return ApiError(
            self.code, f"{field}: {self.message}", [error_details_pb2.BadRequest(field_violations=violations)]
        )

    def outcome(self) -> outcome_pb2.LaunchOutcome:
        """As its caller sees it."""
        return outcome_pb2.LaunchOutcome(
            status=outcome_pb2.LAUNCH_STATUS_REFUSED,
            code=self.code.value[0],
            message=self.message,
            violations=[
                outcome_pb2.FieldViolation(field=one.field, description=one.description) for one in self.violations
            ],
        )


def invalid_field(field: str, description: str) -> RefusedError:
    """INVALID_ARGUMENT for one field."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {description}", [Violation(field, description)])


def invalid_value(name: str, error: JsonValueError) -> RefusedError:
    """INVALID_ARGUMENT for something inside an input."""
    return invalid_field(f"inputs.{name}{error.path}", error.reason)


def refused(field: str, error: ApiError) -> RefusedError:
    """What a check of CreateExecution says, about the field it was called for."""
    return RefusedError(error.code, error.message, [Violation(field, error.message)])
