"""Tasks: registered once, read back as sent, listed by filter and page."""

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, description_entity_pb2, task_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.registry.specs import identifier, outcomes, refusal, task


async def test_what_is_stored(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """GetTask answers the template as sent under the request's id; the id's type need not be given."""
    request = task()
    request.spec.description.short_description = "short"
    await admin.CreateTask(request)
    found = await admin.GetTask(common_pb2.ObjectGetRequest(id=identifier(identifier_pb2.UNSPECIFIED, "t")))
    expected = request.spec.template
    expected.id.CopyFrom(request.id)
    assert found.closure.compiled_task.template == expected
    assert (found.id, found.short_description) == (request.id, "short")
    assert found.closure.HasField("created_at")


async def test_registering_again(admin: admin_pb2_grpc.AdminServiceStub, pool: asyncpg.Pool) -> None:
    """The same structure is ALREADY_EXISTS, another one INVALID_ARGUMENT naming what differs; nothing changes."""
    await admin.CreateTask(task())
    assert await refusal(admin.CreateTask(task())) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "task with identical structure already exists",
    )
    code, message = await refusal(admin.CreateTask(task(image="other")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith(
        "t task with different structure already exists. (Please register a new version of the task):"
    )
    assert "other" in message
    assert await pool.fetchval("SELECT count(*) FROM tasks") == 1


async def test_registering_at_once(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Of equal registrations at once exactly one wins; versions of one name do not disturb each other."""
    codes = await outcomes(admin.CreateTask(task()) for _ in range(8))
    assert codes == [grpc.StatusCode.ALREADY_EXISTS] * 7 + [grpc.StatusCode.OK]
    codes = await outcomes(admin.CreateTask(task(version=f"w{index}")) for index in range(20))
    assert codes == [grpc.StatusCode.OK] * 20


def _without(request: task_pb2.TaskCreateRequest, path: str) -> task_pb2.TaskCreateRequest:
    message = request
    *parents, field = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    message.ClearField(field)
    return request


def _described(text: str) -> task_pb2.TaskCreateRequest:
    request = task()
    request.spec.description.short_description = text
    return request


@pytest.mark.parametrize(
    ("request_", "code_text"),
    [
        (_without(task(), "id"), "missing id"),
        (_without(task(), "id.project"), "missing project"),
        (_without(task(), "id.domain"), "missing domain"),
        (_without(task(), "id.name"), "missing name"),
        (_without(task(), "id.version"), "missing version"),
        (_without(task(), "id.resource_type"), "unexpected resource type unspecified for identifier"),
        (_without(task(), "spec"), "missing template"),
        (_without(task(), "spec.template.type"), "type"),
        (_without(task(), "spec.template.metadata"), "metadata"),
        (_without(task(), "spec.template.interface"), "interface"),
        (_without(task(), "spec.template.container.image"), "image"),
        (task(name="nul\0"), "invalid value for name"),
        (task(name="n" * 5_000), "invalid value for name: longer than 1024 bytes"),
        (_described("nul\0"), "text with a NUL character cannot be stored"),
        (task(resources={"requests": [{"name": "MEMORY", "value": "x"}]}), "x"),
        (task(resources={"limits": [{"name": "MEMORY", "value": "5Gi"}]}), "5Gi"),
    ],
)
async def test_bad_tasks_leave_nothing(
    admin: admin_pb2_grpc.AdminServiceStub, pool: asyncpg.Pool, request_: task_pb2.TaskCreateRequest, code_text: str
) -> None:
    """A task that breaks a rule is INVALID_ARGUMENT with a sentence about it, and neither task nor name is stored."""
    code, message = await refusal(admin.CreateTask(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert code_text in message
    assert await pool.fetchval("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM named_entities)") == 0


async def test_strange_names_are_legal(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Names and versions have no pattern."""
    await admin.CreateTask(task(name="a b/ü", version="v 1/é:$"))
    found = await admin.GetTask(common_pb2.ObjectGetRequest(id=identifier(identifier_pb2.TASK, "a b/ü", "v 1/é:$")))
    assert found.id.version == "v 1/é:$"


async def test_absent_tasks(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """An unknown id is NOT_FOUND, an incomplete one INVALID_ARGUMENT."""
    code, message = await refusal(admin.GetTask(common_pb2.ObjectGetRequest(id=identifier(1, "nope"))))
    assert code is grpc.StatusCode.NOT_FOUND
    assert message.startswith("missing entity of type TASK with identifier ")
    assert await refusal(admin.GetTask(common_pb2.ObjectGetRequest())) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "missing id",
    )


async def test_lists_pages_and_ids(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Lists are in order of registration unless sorted, filtered by column, cut in pages with plain offsets."""
    for name, version in (("a", "v1"), ("a", "v2"), ("b", "v1"), ("c", "v1"), ("a", "v3")):
        await admin.CreateTask(task(name, version))
    scope = common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development")

    async def found(name: str = "", limit: int = 100, **fields: object) -> list[str]:
        asked = common_pb2.NamedEntityIdentifier(project=scope.project, domain=scope.domain, name=name)
        answer = await admin.ListTasks(common_pb2.ResourceListRequest(id=asked, limit=limit, **fields))
        return [*(f"{entry.id.name}{entry.id.version}" for entry in answer.tasks), answer.token]

    newest = common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING)
    assert await found() == ["av1", "av2", "bv1", "cv1", "av3", ""]
    assert await found("a") == ["av1", "av2", "av3", ""]
    assert await found("a", sort_by=newest, limit=1) == ["av3", "1"]
    assert await found(limit=2, token="2") == ["bv1", "cv1", "4"]
    assert await found(limit=5) == ["av1", "av2", "bv1", "cv1", "av3", "5"]
    assert await found(limit=5, token="5") == [""]
    assert await found(filters="eq(version,v1)+ne(name,b)") == ["av1", "cv1", ""]
    assert await found(filters="value_in(name,b;c)", sort_by=common_pb2.Sort(key="name")) == ["cv1", "bv1", ""]
    assert await found(filters="contains(name,a)+not_like(version,%3)") == ["av1", "av2", ""]
    assert await found(filters="lt(created_at,2020-01-01T00:00:00Z)") == [""]
    ids = await admin.ListTaskIds(
        common_pb2.NamedEntityIdentifierListRequest(project=scope.project, domain=scope.domain, limit=2)
    )
    assert ([entry.name for entry in ids.entities], ids.token) == (["a", "b"], "2")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit": 0}, "invalid value for limit"),
        ({"limit": 1, "token": "x"}, "invalid pagination token x for ListTasks"),
        ({"limit": 1, "filters": "eq(x"}, "invalid value for filters"),
        ({"limit": 1, "filters": "eq(phase,1)"}, "'t.phase' is invalid filter"),
        ({"limit": 1, "filters": "eq(execution.name,1)"}, "'execution' entity is not allowed in filters"),
        ({"limit": 1, "sort_by": common_pb2.Sort(key="x")}, "invalid sort key 'x'"),
        ({"limit": 1, "id": common_pb2.NamedEntityIdentifier(project="p")}, "missing domain"),
    ],
)
async def test_bad_lists(admin: admin_pb2_grpc.AdminServiceStub, fields: dict[str, object], message: str) -> None:
    """A list request that breaks a rule is INVALID_ARGUMENT with the wording clients know."""
    request = {"id": common_pb2.NamedEntityIdentifier(project="p", domain="d"), **fields}
    assert await refusal(admin.ListTasks(common_pb2.ResourceListRequest(**request))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        message,
    )


async def test_descriptions(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A description sent along is found under the task's id; without one there is none."""
    request = task()
    request.spec.description.CopyFrom(description_entity_pb2.DescriptionEntity(short_description="s", tags=["one"]))
    await admin.CreateTask(request)
    found = await admin.GetDescriptionEntity(common_pb2.ObjectGetRequest(id=request.id))
    assert (found.id, found.short_description, list(found.tags)) == (request.id, "s", ["one"])
    listed = await admin.ListDescriptionEntities(
        description_entity_pb2.DescriptionEntityListRequest(
            resource_type=identifier_pb2.TASK,
            id=common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development", name="t"),
            limit=5,
        )
    )
    assert list(listed.descriptionEntities) == [found]
    await admin.CreateTask(task(version="v2"))
    other = common_pb2.ObjectGetRequest(id=identifier(identifier_pb2.TASK, "t", "v2"))
    assert await refusal(admin.GetDescriptionEntity(other)) == (grpc.StatusCode.NOT_FOUND, "entry not found")
