"""Requests that are refused for their form alone, and names."""

import pytest
from flyteidl.admin import common_pb2, execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.names import check_name, generated_name
from wingbeat_controlplane.executions.request_checks import check_create


def _request() -> execution_pb2.ExecutionCreateRequest:
    plan = identifier_pb2.Identifier(
        resource_type=identifier_pb2.LAUNCH_PLAN, project="p", domain="d", name="n", version="v"
    )
    return execution_pb2.ExecutionCreateRequest(
        project="p", domain="d", spec=execution_pb2.ExecutionSpec(launch_plan=plan)
    )


def _refusal(request: execution_pb2.ExecutionCreateRequest) -> str:
    with pytest.raises(ApiError) as caught:
        check_create(request)
    return caught.value.message


def test_a_plain_request_passes() -> None:
    """Project, domain and a launch plan are all that is needed."""
    check_create(_request())


@pytest.mark.parametrize("field", ["project", "domain"])
def test_missing_scope(field: str) -> None:
    """Project and domain are required, and the message names the missing one."""
    request = _request()
    request.ClearField(field)
    assert _refusal(request) == f"missing {field}"


def test_missing_spec_and_launch_plan() -> None:
    """The spec and its launch plan with all its parts are required."""
    request = _request()
    request.spec.launch_plan.version = ""
    assert _refusal(request) == "missing version"
    request.spec.ClearField("launch_plan")
    assert _refusal(request) == "missing launch_plan"
    request.ClearField("spec")
    assert _refusal(request) == "missing spec"


@pytest.mark.parametrize("resource_type", [identifier_pb2.WORKFLOW, identifier_pb2.UNSPECIFIED, 77])
def test_only_launch_plans_and_tasks_run(resource_type: int) -> None:
    """Other types, also numbers that no enum knows, are refused."""
    request = _request()
    request.spec.launch_plan.resource_type = resource_type
    assert _refusal(request).startswith("Invalid reference entity resource type")


def test_labels_tags_modes_and_parallelism() -> None:
    """Malformed extras are named."""
    request = _request()
    request.spec.labels.values["-"] = "x"
    assert "label" in _refusal(request)
    request = _request()
    request.spec.tags.append("")
    assert "tag" in _refusal(request)
    request = _request()
    request.spec.metadata.mode = 99
    assert _refusal(request) == "invalid value for mode"
    request = _request()
    request.spec.max_parallelism = -1
    assert _refusal(request) == "invalid value for max_parallelism"
    request = _request()
    request.spec.notifications.notifications.append(common_pb2.Notification(phases=[4]))
    assert "notification" in _refusal(request)


@pytest.mark.parametrize("name", ["a", "abc-1", "a" * 63, "UPPER"])
def test_names_that_pass(name: str) -> None:
    """Letters, digits and dashes after a letter; upper case is kept."""
    check_name(name)


@pytest.mark.parametrize("name", ["1a", "-a", "a_b", "a.b", "a b", "a\n", "é", "aé", "\u212a", "a" * 64])
def test_names_that_do_not(name: str) -> None:
    """Everything else is refused, a Kelvin sign, which lowers to k, included."""
    with pytest.raises(ApiError):
        check_name(name)


def test_generated_names() -> None:
    """Twenty legal characters, different each time."""
    names = {generated_name() for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert len(name) == 20
        check_name(name)
