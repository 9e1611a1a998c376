"""The real flytekit as client: what FlyteRemote and its client do to register, fetch, list and activate."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from flytekit.clients.friendly import SynchronousFlyteClient
from flytekit.configuration import Config, ImageConfig, PlatformConfig, SerializationSettings
from flytekit.exceptions.user import (
    FlyteEntityAlreadyExistsException,
    FlyteEntityNotExistException,
    FlyteInvalidInputException,
)
from flytekit.models.admin.common import Sort
from flytekit.models.common import NamedEntityIdentifier
from flytekit.models.filters import Equal, ValueIn
from flytekit.models.launch_plan import LaunchPlanState
from flytekit.models.task import TaskSpec
from flytekit.remote import FlyteRemote
from tests.integration.registry import program

T = TypeVar("T")
_PROJECT, _DOMAIN = "flytesnacks", "development"
_SETTINGS = SerializationSettings(
    image_config=ImageConfig.auto(img_name="example:1"), project=_PROJECT, domain=_DOMAIN, version="v1"
)


@pytest.fixture
def remote(address: str) -> FlyteRemote:
    """FlyteRemote against the server, in the clear."""
    platform = PlatformConfig(endpoint=address, insecure=True)
    return FlyteRemote(Config(platform=platform), default_project=_PROJECT, default_domain=_DOMAIN)


async def _aside(call: Callable[[], T]) -> T:
    """Run a blocking client call while the server runs in this loop."""
    return await asyncio.to_thread(call)


async def test_register_fetch_and_activate(remote: FlyteRemote) -> None:
    """A program registers with all it depends on, twice without harm, and comes back whole."""

    def run() -> None:
        for _ in range(2):
            remote.register_workflow(program.outer, _SETTINGS, version="v1")
            remote.register_launch_plan(program.fixed, version="v1", serialization_settings=_SETTINGS)
        task = remote.fetch_task(name=f"{program.__name__}.double", version="v1")
        assert task.interface.inputs.keys() == {"x"}
        workflow = remote.fetch_workflow(name=f"{program.__name__}.outer", version="v1")
        assert len(workflow.flyte_nodes) == 2
        assert [sub.id.name for sub in workflow.flyte_sub_workflows] == [f"{program.__name__}.inner"]
        latest = remote.fetch_workflow(name=f"{program.__name__}.outer")
        assert latest.id.version == "v1"
        default = remote.fetch_launch_plan(name=f"{program.__name__}.outer", version="v1")
        expected = remote.client.get_launch_plan(default.id).closure.expected_inputs
        assert expected.parameters["x"].default.scalar.primitive.integer == 3
        fixed = remote.fetch_launch_plan(name="fixed", version="v1")
        assert remote.client.get_launch_plan(fixed.id).closure.expected_inputs.parameters == {}
        remote.client.update_launch_plan(fixed.id, LaunchPlanState.ACTIVE)
        assert remote.fetch_active_launchplan(name="fixed").id == fixed.id
        assert remote.fetch_active_launchplan(name=f"{program.__name__}.outer") is None

    await _aside(run)


async def test_errors_become_the_exceptions_users_know(remote: FlyteRemote) -> None:
    """Absent things, repeated registration and changed structure raise flytekit's own exceptions."""

    def run() -> None:
        with pytest.raises(FlyteEntityNotExistException):
            remote.fetch_task(name="nope", version="v1")
        with pytest.raises(FlyteEntityNotExistException):
            remote.fetch_workflow(name="nope")
        task = remote.register_task(program.double, _SETTINGS, version="v1")
        spec = remote.client.get_task(task.id).closure.compiled_task.template
        with pytest.raises(FlyteEntityAlreadyExistsException):
            remote.client.create_task(task.id, TaskSpec(spec))
        spec.container._image = "another"
        with pytest.raises(FlyteInvalidInputException, match="different structure"):
            remote.client.create_task(task.id, TaskSpec(spec))

    await _aside(run)


async def test_lists_pages_and_filters(remote: FlyteRemote) -> None:
    """Lists of the low-level client page, sort and filter."""
    name = f"{program.__name__}.join"

    def run() -> None:
        client: SynchronousFlyteClient = remote.client
        for version in ("a", "b", "c"):
            remote.register_task(program.join, _SETTINGS, version=version)
        scope = NamedEntityIdentifier(_PROJECT, _DOMAIN, name)
        newest_first = Sort("created_at", Sort.Direction.DESCENDING)
        page, token = client.list_tasks_paginated(scope, limit=2, sort_by=newest_first)
        assert ([task.id.version for task in page], token) == (["c", "b"], "2")
        rest, token = client.list_tasks_paginated(scope, limit=2, token=token, sort_by=newest_first)
        assert ([task.id.version for task in rest], token) == (["a"], "")
        found, _ = client.list_tasks_paginated(scope, limit=9, filters=[ValueIn("version", ["a", "c"])])
        assert [task.id.version for task in found] == ["a", "c"]
        found, _ = client.list_tasks_paginated(scope, limit=9, filters=[Equal("version", "b")])
        assert [task.id.version for task in found] == ["b"]
        ids, _ = client.list_task_ids_paginated(_PROJECT, _DOMAIN)
        assert [entry.name for entry in ids] == [name]
        assert [task.id.version for task in remote.list_tasks_by_version("b")] == ["b"]
        projects, _ = client.list_projects_paginated(limit=100)
        assert [project.id for project in projects] == [_PROJECT]
        assert client.get_control_plane_version().startswith("v1.")

    await _aside(run)
