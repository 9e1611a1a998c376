"""Named entities: names of registered things, their descriptions and whether they show."""

import grpc
from flyteidl.admin import common_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.registry.specs import refusal, task

_T = common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development", name="t")


async def _list(admin: admin_pb2_grpc.AdminServiceStub, **fields: object) -> list[str]:
    request = common_pb2.NamedEntityListRequest(
        resource_type=identifier_pb2.TASK, project="flytesnacks", domain="development", limit=10, **fields
    )
    return [entity.id.name for entity in (await admin.ListNamedEntities(request)).entities]


async def test_get_and_update(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A name exists with its first version; the state is always overwritten, an empty description is not."""
    asked = common_pb2.NamedEntityGetRequest(resource_type=identifier_pb2.TASK, id=_T)
    assert await refusal(admin.GetNamedEntity(asked)) == (grpc.StatusCode.NOT_FOUND, "entry not found")
    await admin.CreateTask(task())
    await admin.CreateTask(task(version="v2"))
    assert (await admin.GetNamedEntity(asked)).metadata == common_pb2.NamedEntityMetadata()

    async def update(**metadata: object) -> common_pb2.NamedEntityMetadata:
        await admin.UpdateNamedEntity(
            common_pb2.NamedEntityUpdateRequest(
                resource_type=identifier_pb2.TASK, id=_T, metadata=common_pb2.NamedEntityMetadata(**metadata)
            )
        )
        return (await admin.GetNamedEntity(asked)).metadata

    archived = common_pb2.NAMED_ENTITY_ARCHIVED
    assert await update(description="d", state=archived) == common_pb2.NamedEntityMetadata(
        description="d", state=archived
    )
    assert await update() == common_pb2.NamedEntityMetadata(description="d")
    nothing = common_pb2.NamedEntityUpdateRequest(resource_type=identifier_pb2.TASK, id=_T)
    assert await refusal(admin.UpdateNamedEntity(nothing)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "missing metadata",
    )


async def test_lists_hide_generated_names_until_a_filter_is_given(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Names of the server's own making are hidden by default; any filter ends that."""
    for name in (".flytegen.t", "t", "u"):
        await admin.CreateTask(task(name))
    assert await _list(admin) == ["t", "u"]
    assert await _list(admin, filters="eq(state,0)") == [".flytegen.t", "t", "u"]
    assert await _list(admin, filters="eq(named_entity_metadata.state,0)+contains(name,u)") == ["u"]
    assert await _list(admin, filters="eq(task.name,u)") == ["u"], "as flytectl's help says"
    assert await _list(admin, sort_by=common_pb2.Sort(key="name")) == ["u", "t"]


async def test_types_without_names(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Only tasks, workflows and launch plans have names."""
    request = common_pb2.NamedEntityListRequest(resource_type=identifier_pb2.DATASET, project="p", domain="d", limit=1)
    code, message = await refusal(admin.ListNamedEntities(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("invalid value for resource_type")
