"""Projects and domains as clients see them."""

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, project_pb2, task_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.registry.specs import refusal, task

_Project = project_pb2.Project


def _register(admin: admin_pb2_grpc.AdminServiceStub, **fields: object):
    project = _Project(**{"id": "new", "name": "New", **fields})
    return admin.RegisterProject(project_pb2.ProjectRegisterRequest(project=project))


async def test_default_project_and_domains(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A new installation has flytesnacks with the three configured domains."""
    found = await admin.ListProjects(project_pb2.ProjectListRequest())
    assert [project.id for project in found.projects] == ["flytesnacks"]
    assert [domain.id for domain in found.projects[0].domains] == ["development", "staging", "production"]
    domains = await admin.GetDomains(project_pb2.GetDomainRequest())
    assert list(domains.domains) == list(found.projects[0].domains)


async def test_register_get_and_register_again(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A registered project comes back whole; the same id again is refused."""
    labels = common_pb2.Labels(values={"team": "a"})
    await _register(admin, description="d", labels=labels)
    found = await admin.GetProject(project_pb2.ProjectGetRequest(id="new"))
    assert (found.name, found.description, found.labels, found.state) == ("New", "d", labels, _Project.ACTIVE)
    assert await refusal(_register(admin)) == (grpc.StatusCode.ALREADY_EXISTS, "project [new] already exists")


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "Upper"},
        {"id": "a" * 64},
        {"name": ""},
        {"name": "n" * 65},
        {"name": "nul\0"},
        {"description": "d" * 301},
        {"description": "nul\0"},
        {"labels": common_pb2.Labels(values={"bad key": "v"})},
        {"labels": common_pb2.Labels(values={str(index): "v" for index in range(17)})},
        {"domains": [project_pb2.Domain(id="development")]},
        {"state": 77},
    ],
)
async def test_bad_projects_leave_nothing(
    admin: admin_pb2_grpc.AdminServiceStub, pool: asyncpg.Pool, fields: dict[str, object]
) -> None:
    """A project that breaks a rule is INVALID_ARGUMENT and is not stored."""
    code, message = await refusal(_register(admin, **fields))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message
    assert await pool.fetchval("SELECT count(*) FROM projects") == 1


async def test_update_keeps_what_is_empty_but_for_the_state(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Empty fields leave the stored ones, the state is always overwritten."""
    await _register(admin, description="d", labels=common_pb2.Labels(values={"team": "a"}))
    await admin.UpdateProject(_Project(id="new", state=_Project.ARCHIVED))
    archived = await admin.GetProject(project_pb2.ProjectGetRequest(id="new"))
    assert (archived.name, archived.description, archived.state) == ("New", "d", _Project.ARCHIVED)
    assert archived.labels.values == {"team": "a"}
    await admin.UpdateProject(_Project(id="new", name="Newer"))
    active = await admin.GetProject(project_pb2.ProjectGetRequest(id="new"))
    assert (active.name, active.state) == ("Newer", _Project.ACTIVE)
    code, message = await refusal(admin.UpdateProject(_Project(id="nobody")))
    assert (code, message) == (grpc.StatusCode.NOT_FOUND, "project [nobody] not found")


async def test_lists(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Without filters archived ones are hidden and order is by identifier; filters, sorting and pages work."""
    for name in ("b", "a", "z"):
        await _register(admin, id=name)
    await admin.UpdateProject(_Project(id="z", state=_Project.ARCHIVED))

    async def ids(**fields: object) -> list[str]:
        found = await admin.ListProjects(project_pb2.ProjectListRequest(**fields))
        return [*(project.id for project in found.projects), found.token]

    assert await ids() == ["a", "b", "flytesnacks", ""]
    assert await ids(filters="value_in(state,1)") == ["z", ""]
    assert await ids(filters="eq(identifier,b)") == ["b", ""]
    assert await ids(limit=2) == ["a", "b", "2"]
    assert await ids(limit=2, token="2") == ["flytesnacks", ""]
    sort_by = common_pb2.Sort(key="identifier", direction=common_pb2.Sort.DESCENDING)
    assert await ids(limit=1, sort_by=sort_by) == ["flytesnacks", "1"]


async def test_creates_need_an_active_project_and_a_known_domain(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Nothing is registered in an unknown or archived project or an unknown domain."""

    async def message(request: task_pb2.TaskCreateRequest) -> str:
        code, text = await refusal(admin.CreateTask(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        return text

    request = task()
    request.id.project = "nobody"
    assert await message(request) == (
        "failed to validate that project [nobody] and domain [development] are registered,"
        " err: [project [nobody] not found]"
    )
    await _register(admin)
    await admin.UpdateProject(_Project(id="new", state=_Project.ARCHIVED))
    request.id.project = "new"
    assert await message(request) == "project [new] is not active"
    request = task()
    request.id.domain = "moon"
    assert await message(request) == "domain [moon] is unrecognized by system"
    request.id.resource_type = identifier_pb2.WORKFLOW
    assert (await message(request)).startswith("unexpected resource type workflow for identifier [")
