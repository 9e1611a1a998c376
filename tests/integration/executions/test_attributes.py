"""Matchable attributes over real rpcs and a real database: stored, found by level, merged, taken back."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest
from flyteidl.admin import (
    common_pb2,
    execution_pb2,
    matchable_resource_pb2,
    project_attributes_pb2,
    project_domain_attributes_pb2,
    project_pb2,
    workflow_attributes_pb2,
)
from flyteidl.service import admin_pb2_grpc
from google.protobuf.message import Message
from tests.integration.executions import entities
from tests.integration.executions.attributes import (
    Where,
    attributes,
    delete,
    get,
    ids,
    overrides,
    resources,
    update,
)
from tests.integration.executions.entities import DOMAIN, PROJECT, launch

from wingbeat_controlplane.registry.attribute_checks import resource_type_of

Admin = admin_pb2_grpc.AdminServiceStub
TASK_RESOURCE = matchable_resource_pb2.TASK_RESOURCE
CONFIG = matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG
PROJECT_LEVEL = Where()
DOMAIN_LEVEL = Where(DOMAIN)
WORKFLOW_LEVEL = Where(DOMAIN, "w")
LEVELS = (PROJECT_LEVEL, DOMAIN_LEVEL, WORKFLOW_LEVEL)


async def _refused(call: Awaitable[Message]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("where", LEVELS, ids=str)
@pytest.mark.parametrize(
    "given",
    [
        attributes(task_resource_attributes={"defaults": {"cpu": "1"}, "limits": {"memory": "2Gi"}}),
        attributes(cluster_resource_attributes={"attributes": {"quota": "7"}}),
        attributes(execution_queue_attributes={"tags": ["fast"]}),
        attributes(execution_cluster_label={"value": "gpu"}),
        attributes(plugin_overrides={"overrides": [{"task_type": "spark", "plugin_id": ["a", "b"]}]}),
        attributes(workflow_execution_config={"max_parallelism": 3, "envs": {"values": [{"key": "K", "value": "V"}]}}),
        attributes(cluster_assignment={"cluster_pool_name": "pool"}),
    ],
    ids=lambda given: given.WhichOneof("target"),
)
async def test_every_type_at_every_level(admin: Admin, where: Where, given: Message) -> None:
    """What is stored is read back under the ids that were asked for, replaced by the next update, listed, deleted."""
    kind = resource_type_of(given, "")
    await update(admin, where, attributes(**{given.WhichOneof("target"): {}}))
    await update(admin, where, given)
    found = await get(admin, where, kind)
    assert ids(found) == where.ids
    assert found.matching_attributes == given
    listed = await admin.ListMatchableAttributes(
        matchable_resource_pb2.ListMatchableAttributesRequest(resource_type=kind)
    )
    assert [(ids(entry), entry.attributes) for entry in listed.configurations] == [(where.ids, given)]
    await delete(admin, where, kind)
    await delete(admin, where, kind)
    assert not (
        await admin.ListMatchableAttributes(matchable_resource_pb2.ListMatchableAttributesRequest(resource_type=kind))
    ).configurations


async def test_reads_fall_back_to_less_specific_levels(admin: Admin) -> None:
    """Workflow and domain answer what holds for them, whichever level says it; deleting uncovers the level below."""
    for number, where in enumerate(LEVELS, 1):
        code, details = await _refused(get(admin, where, TASK_RESOURCE))
        assert code is grpc.StatusCode.NOT_FOUND
        assert details == (
            f"Resource [{{Project:{PROJECT} Domain:{where.domain} Workflow:{where.workflow} LaunchPlan:"
            " ResourceType:TASK_RESOURCE}] not found"
        )
        await update(admin, where, resources(limits={"cpu": str(number)}))
        for asked in LEVELS[number - 1 :]:
            found = await get(admin, asked, TASK_RESOURCE)
            assert found.matching_attributes == resources(limits={"cpu": str(number)})
            assert ids(found) == asked.ids
        if where != WORKFLOW_LEVEL:
            await delete(admin, where, TASK_RESOURCE)
    await update(admin, PROJECT_LEVEL, resources(limits={"cpu": "9"}))
    assert (await get(admin, WORKFLOW_LEVEL, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "3"})
    await delete(admin, WORKFLOW_LEVEL, TASK_RESOURCE)
    assert (await get(admin, WORKFLOW_LEVEL, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "9"})


async def test_other_domains_and_workflows_are_not_touched(admin: Admin) -> None:
    """Attributes hold for their own level and below; deleting those of a project leaves its domains alone."""
    for where in (PROJECT_LEVEL, DOMAIN_LEVEL, WORKFLOW_LEVEL):
        await update(admin, where, resources(limits={"cpu": str(len(where.ids))}))
    staging = Where("staging", "w")
    assert (await get(admin, staging, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "1"})
    other = Where(DOMAIN, "other")
    assert (await get(admin, other, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "2"})
    await delete(admin, PROJECT_LEVEL, TASK_RESOURCE)
    assert (await get(admin, other, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "2"})
    await delete(admin, DOMAIN_LEVEL, TASK_RESOURCE)
    assert (await get(admin, WORKFLOW_LEVEL, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "3"})
    assert (await _refused(get(admin, staging, TASK_RESOURCE)))[0] is grpc.StatusCode.NOT_FOUND


async def test_execution_settings_of_a_project_are_shown_with_the_defaults(admin: Admin) -> None:
    """The console's launch form asks a project that said nothing, and one that said something about something else."""
    found = await get(admin, PROJECT_LEVEL, CONFIG)
    assert found.matching_attributes.workflow_execution_config.max_parallelism == 25
    await update(admin, PROJECT_LEVEL, attributes(workflow_execution_config={"labels": {"values": {"team": "a"}}}))
    config = (await get(admin, PROJECT_LEVEL, CONFIG)).matching_attributes.workflow_execution_config
    assert (config.max_parallelism, dict(config.labels.values)) == (25, {"team": "a"})
    domain = (await get(admin, DOMAIN_LEVEL, CONFIG)).matching_attributes.workflow_execution_config
    assert (domain.max_parallelism, dict(domain.labels.values)) == (0, {"team": "a"})
    await delete(admin, PROJECT_LEVEL, CONFIG)
    assert (await _refused(get(admin, DOMAIN_LEVEL, CONFIG)))[0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("where", LEVELS, ids=str)
async def test_plugin_overrides_merge(admin: Admin, where: Where) -> None:
    """Updates at once of different task types all stay; one of a known type replaces just that."""
    names = [f"type{number:02}" for number in range(20)]
    await asyncio.gather(*(update(admin, where, overrides(**{name: name})) for name in names))
    found = (await get(admin, where, matchable_resource_pb2.PLUGIN_OVERRIDE)).matching_attributes
    assert sorted(override.task_type for override in found.plugin_overrides.overrides) == names
    await update(admin, where, overrides(type07="other"))
    found = (await get(admin, where, matchable_resource_pb2.PLUGIN_OVERRIDE)).matching_attributes
    chosen = {override.task_type: list(override.plugin_id) for override in found.plugin_overrides.overrides}
    assert chosen == {name: [name] for name in names} | {"type07": ["other"]}


async def test_updates_at_once_of_one_attribute(admin: Admin) -> None:
    """One of them is what holds afterwards, whole; attributes of other types are not disturbed."""
    given = [resources(defaults={"cpu": str(n)}, limits={"cpu": str(n)}) for n in range(1, 16)]
    await asyncio.gather(
        *(update(admin, DOMAIN_LEVEL, each) for each in given),
        *(update(admin, DOMAIN_LEVEL, attributes(execution_queue_attributes={"tags": ["a"]})) for _ in range(5)),
    )
    assert (await get(admin, DOMAIN_LEVEL, TASK_RESOURCE)).matching_attributes in given
    queue = await get(admin, DOMAIN_LEVEL, matchable_resource_pb2.EXECUTION_QUEUE)
    assert list(queue.matching_attributes.execution_queue_attributes.tags) == ["a"]


async def test_archived_projects_are_read_and_not_written(admin: Admin) -> None:
    """Reads go on; updates and deletes say that the project is not active."""
    await update(admin, WORKFLOW_LEVEL, resources(limits={"cpu": "1"}))
    await admin.UpdateProject(project_pb2.Project(id=PROJECT, state=project_pb2.Project.ARCHIVED))
    await get(admin, WORKFLOW_LEVEL, TASK_RESOURCE)
    await get(admin, PROJECT_LEVEL, CONFIG)
    for where in LEVELS:
        for call in (update(admin, where, resources()), delete(admin, where, TASK_RESOURCE)):
            assert await _refused(call) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                f"project [{PROJECT}] is not active",
            )


@pytest.mark.parametrize(
    ("rpc", "request_", "text"),
    [
        ("UpdateProjectAttributes", project_attributes_pb2.ProjectAttributesUpdateRequest(), "missing attributes"),
        (
            "UpdateProjectAttributes",
            project_attributes_pb2.ProjectAttributesUpdateRequest(attributes={"project": PROJECT}),
            "missing matching_attributes",
        ),
        (
            "UpdateProjectAttributes",
            project_attributes_pb2.ProjectAttributesUpdateRequest(
                attributes={"project": PROJECT, "matching_attributes": {}}
            ),
            f"Unrecognized matching attributes type for request {PROJECT}",
        ),
        (
            "UpdateProjectAttributes",
            project_attributes_pb2.ProjectAttributesUpdateRequest(
                attributes={"project": "nowhere", "matching_attributes": resources()}
            ),
            "failed to validate that project [nowhere] is registered, err: [project [nowhere] not found]",
        ),
        (
            "UpdateProjectDomainAttributes",
            project_domain_attributes_pb2.ProjectDomainAttributesUpdateRequest(
                attributes={"project": PROJECT, "matching_attributes": resources()}
            ),
            "missing domain",
        ),
        (
            "UpdateProjectDomainAttributes",
            project_domain_attributes_pb2.ProjectDomainAttributesUpdateRequest(
                attributes={"project": PROJECT, "domain": "mars", "matching_attributes": resources()}
            ),
            "domain [mars] is unrecognized by system",
        ),
        (
            "UpdateWorkflowAttributes",
            workflow_attributes_pb2.WorkflowAttributesUpdateRequest(
                attributes={"project": PROJECT, "domain": DOMAIN, "matching_attributes": resources()}
            ),
            "missing name",
        ),
        (
            "UpdateWorkflowAttributes",
            workflow_attributes_pb2.WorkflowAttributesUpdateRequest(
                attributes={
                    "project": PROJECT,
                    "domain": DOMAIN,
                    "workflow": "w",
                    "matching_attributes": {"quality_of_service": {"tier": 1}},
                }
            ),
            f"Unrecognized matching attributes type for request {PROJECT}-{DOMAIN}-w",
        ),
        (
            "GetProjectAttributes",
            project_attributes_pb2.ProjectAttributesGetRequest(project="nowhere", resource_type=CONFIG),
            "failed to validate that project [nowhere]",
        ),
        (
            "GetProjectDomainAttributes",
            project_domain_attributes_pb2.ProjectDomainAttributesGetRequest(project=PROJECT, domain="mars"),
            "domain [mars] is unrecognized by system",
        ),
        (
            "GetWorkflowAttributes",
            workflow_attributes_pb2.WorkflowAttributesGetRequest(
                project=PROJECT, domain=DOMAIN, workflow="w", resource_type=99
            ),
            "invalid value for resource_type",
        ),
        (
            "DeleteProjectDomainAttributes",
            project_domain_attributes_pb2.ProjectDomainAttributesDeleteRequest(project=PROJECT),
            "missing domain",
        ),
        (
            "DeleteWorkflowAttributes",
            workflow_attributes_pb2.WorkflowAttributesDeleteRequest(project=PROJECT, domain=DOMAIN),
            "missing name",
        ),
        (
            "ListMatchableAttributes",
            matchable_resource_pb2.ListMatchableAttributesRequest(resource_type=8),
            "invalid value for resource_type",
        ),
    ],
)
async def test_bad_requests(admin: Admin, rpc: str, request_: Message, text: str) -> None:
    """A request that breaks a rule is INVALID_ARGUMENT with a sentence about it."""
    code, details = await _refused(getattr(admin, rpc)(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in details


async def test_bad_attributes_change_nothing(admin: Admin) -> None:
    """Attributes that no launch could use leave what is stored as it is, merged ones included."""
    await update(admin, DOMAIN_LEVEL, resources(limits={"cpu": "1"}))
    code, details = await _refused(update(admin, DOMAIN_LEVEL, resources(limits={"cpu": "one"})))
    assert (code, "cpu" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert (await get(admin, DOMAIN_LEVEL, TASK_RESOURCE)).matching_attributes == resources(limits={"cpu": "1"})
    await update(admin, DOMAIN_LEVEL, overrides(spark="a"))
    code, _ = await _refused(update(admin, DOMAIN_LEVEL, overrides(**{"": "b"})))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    found = await get(admin, DOMAIN_LEVEL, matchable_resource_pb2.PLUGIN_OVERRIDE)
    assert found.matching_attributes == overrides(spark="a")


async def test_limits_of_a_domain_rule_registration(admin: Admin) -> None:
    """Task resources of a domain, else of the project, replace the installation's when tasks are registered there."""
    request = entities.task()
    request.id.name = "greedy"
    request.spec.template.container.resources.requests.add(name="MEMORY", value="2Gi")
    await update(admin, PROJECT_LEVEL, resources(limits={"memory": "1Gi"}))
    code, details = await _refused(admin.CreateTask(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(
        "Requested MEMORY default [2Gi] is greater than current limit set in the platform configuration [1Gi]."
    )
    await update(admin, DOMAIN_LEVEL, resources(limits={"memory": "0", "cpu": "1"}))
    await admin.CreateTask(request)


async def test_cluster_pool_of_request_and_attributes(admin: Admin) -> None:
    """A launch that wants another pool than the assigned one is refused before anything is stored."""
    await update(admin, DOMAIN_LEVEL, attributes(cluster_assignment={"cluster_pool_name": "a"}))
    request = launch("e1")
    request.spec.cluster_assignment.cluster_pool_name = "b"
    code, details = await _refused(admin.CreateExecution(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert 'cannot run on cluster pool "b"' in details
    listed = await admin.ListExecutions(
        common_pb2.ResourceListRequest(id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN), limit=5)
    )
    assert not listed.executions
    request.spec.cluster_assignment.cluster_pool_name = "a"
    created = await admin.CreateExecution(request)
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id))
    assert found.spec.cluster_assignment.cluster_pool_name == "a"


async def test_launching_again_after_a_change_is_no_repetition(admin: Admin) -> None:
    """An unnamed request that follows at once is the same execution only while what it runs with is the same."""
    names = [(await admin.CreateExecution(launch())).id.name for _ in range(2)]
    for given in (
        resources(limits={"cpu": "1"}),
        attributes(workflow_execution_config={"max_parallelism": 1}),
        attributes(execution_cluster_label={"value": "gpu"}),
        overrides(spark="a"),
    ):
        await update(admin, WORKFLOW_LEVEL, given)
        names += [(await admin.CreateExecution(launch())).id.name for _ in range(2)]
    await delete(admin, WORKFLOW_LEVEL, TASK_RESOURCE)
    names.append((await admin.CreateExecution(launch())).id.name)
    assert [names.index(name) for name in names] == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10]
