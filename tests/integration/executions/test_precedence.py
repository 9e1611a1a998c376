"""Which level decides each setting of an execution: request, launch plan, workflow, domain, project, installation.

Every field is said by one level after the other, from the least to the most specific, and the row that the engine reads
must hold what the last one said; then the levels are taken back again one after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions import entities
from tests.integration.executions.attributes import Where, attributes, delete, overrides, update
from tests.integration.executions.entities import DOMAIN, launch

from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.registry.attribute_checks import resource_type_of

Admin = admin_pb2_grpc.AdminServiceStub
Config = matchable_resource_pb2.WorkflowExecutionConfig
Resources = matchable_resource_pb2.TaskResourceAttributes

PROJECT_LEVEL, DOMAIN_LEVEL, WORKFLOW_LEVEL = Where(), Where(DOMAIN), Where(DOMAIN, "w")
STORED_LEVELS = (PROJECT_LEVEL, DOMAIN_LEVEL, WORKFLOW_LEVEL)


def _application() -> Config:
    return Config(
        max_parallelism=60,
        security_context={"run_as": {"k8s_service_account": "installation"}},
        raw_output_data_config={"output_location_prefix": "s3://installation"},
        labels={"values": {"from": "installation"}},
        annotations={"values": {"from": "installation"}},
        envs={"values": [{"key": "FROM", "value": "installation"}]},
        interruptible={"value": True},
    )


@pytest.fixture
def options() -> ExecutionOptions:
    """An installation that has something to say about everything."""
    return ExecutionOptions(
        defaults=_application(), task_resources=Resources(limits={"memory": "60Gi"}), dedupe_window_s=0
    )


@dataclass(frozen=True)
class Field:
    """A field of the execution settings: how a level says it by its number or name, and how it reads in the row."""

    name: str
    say: Callable[[int, str], Mapping[str, Any]]
    read: Callable[[Config], object]
    installation: object
    expected: Callable[[int, str], object]


FIELDS = (
    Field(
        "max_parallelism",
        lambda number, _: {"max_parallelism": number},
        lambda config: config.max_parallelism,
        60,
        lambda number, _: number,
    ),
    Field(
        "security_context",
        lambda _, level: {"security_context": {"run_as": {"k8s_service_account": level}}},
        lambda config: config.security_context.run_as.k8s_service_account,
        "installation",
        lambda _, level: level,
    ),
    Field(
        "raw_output_data_config",
        lambda _, level: {"raw_output_data_config": {"output_location_prefix": f"s3://{level}"}},
        lambda config: config.raw_output_data_config.output_location_prefix,
        "s3://installation",
        lambda _, level: f"s3://{level}",
    ),
    Field(
        "labels",
        lambda number, level: {"labels": {"values": {"from": level, f"only-{number}": "x"}}},
        lambda config: dict(config.labels.values),
        {"from": "installation"},
        lambda number, level: {"from": level, f"only-{number}": "x"},
    ),
    Field(
        "annotations",
        lambda number, level: {"annotations": {"values": {"from": level, f"only-{number}": "x"}}},
        lambda config: dict(config.annotations.values),
        {"from": "installation"},
        lambda number, level: {"from": level, f"only-{number}": "x"},
    ),
    Field(
        "envs",
        lambda number, level: {"envs": {"values": [{"key": "FROM", "value": level}, {"key": f"O{number}"}]}},
        lambda config: {pair.key: pair.value for pair in config.envs.values},
        {"FROM": "installation"},
        lambda number, level: {"FROM": level, f"O{number}": ""},
    ),
    Field(
        "interruptible",
        lambda number, _: {"interruptible": {"value": number % 2 == 0}},
        lambda config: config.interruptible.value if config.HasField("interruptible") else None,
        True,
        lambda number, _: number % 2 == 0,
    ),
)


class Levels:
    """Says something at each level and launches; what a level says about other fields is nothing."""

    def __init__(self, admin: Admin, pool: asyncpg.Pool) -> None:
        self._admin = admin
        self._pool = pool
        self._plan = "lp"
        self._said: dict[str, Any] = {}

    async def store(self, where: Where, **config: Any) -> None:
        """Attributes of a level."""
        await update(self._admin, where, attributes(workflow_execution_config=config))

    async def take_back(self, where: Where) -> None:
        """Attributes of a level are deleted."""
        await delete(self._admin, where, matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG)

    async def register(self, **spec: Any) -> None:
        """A launch plan that says something is launched from now on."""
        plan = entities.launch_plan("talkative")
        plan.spec.MergeFrom(launch_plan_pb2.LaunchPlanSpec(**spec))
        await self._admin.CreateLaunchPlan(plan)
        self._plan = "talkative"

    def silent_plan(self) -> None:
        """The launch plan that says nothing is launched from now on."""
        self._plan = "lp"

    def ask(self, **spec: Any) -> None:
        """What requests say from now on."""
        self._said = spec

    async def launch(self) -> tuple[asyncpg.Record, execution_pb2.Execution]:
        """Launch; the row that the engine reads, and the execution as clients see it."""
        request = launch(plan=self._plan)
        request.spec.MergeFrom(execution_pb2.ExecutionSpec(**self._said))
        created = await self._admin.CreateExecution(request)
        row = await self._pool.fetchrow("SELECT * FROM executions WHERE name = $1", created.id.name)
        assert row is not None
        return row, await self._admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id))

    async def config(self) -> Config:
        """Effective settings of a launch."""
        row, _ = await self.launch()
        return Config.FromString(row["config"])


@pytest.fixture
def levels(admin: Admin, pool: asyncpg.Pool) -> Levels:
    """All levels of the workflow `w`."""
    return Levels(admin, pool)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
async def test_every_field_over_all_levels(levels: Levels, field: Field) -> None:
    """The most specific level that says something decides; taking it back uncovers the one below at the next launch."""
    assert field.read(await levels.config()) == field.installation
    for number, where in enumerate(STORED_LEVELS, 1):
        await levels.store(where, **field.say(number, str(where)))
        assert field.read(await levels.config()) == field.expected(number, str(where)), where
    await levels.register(**field.say(4, "plan"))
    assert field.read(await levels.config()) == field.expected(4, "plan")
    levels.ask(**field.say(5, "request"))
    assert field.read(await levels.config()) == field.expected(5, "request")

    levels.ask()
    levels.silent_plan()
    for number, where in reversed([*enumerate(STORED_LEVELS, 1)]):
        assert field.read(await levels.config()) == field.expected(number, str(where)), where
        await levels.take_back(where)
    assert field.read(await levels.config()) == field.installation


@pytest.mark.parametrize("level", ["project", "domain", "workflow", "plan", "request", "nobody"])
async def test_overwriting_the_cache_is_said_by_any_level(levels: Levels, level: str) -> None:
    """True anywhere is true; the request's own wish is shown, and others' are not."""
    stored = {str(where): where for where in STORED_LEVELS}
    if level in stored:
        await levels.store(stored[level], overwrite_cache=True)
    elif level == "plan":
        await levels.register(overwrite_cache=True)
    elif level == "request":
        levels.ask(overwrite_cache=True)
    row, shown = await levels.launch()
    assert Config.FromString(row["config"]).overwrite_cache is (level != "nobody")
    assert shown.spec.overwrite_cache is (level == "request")


async def test_a_domain_is_passed_over_where_its_workflow_has_settings(levels: Levels) -> None:
    """Of workflow and domain only one counts, as in Flyte v1; what it leaves open is the project's to say."""
    await levels.store(PROJECT_LEVEL, max_parallelism=1, labels={"values": {"from": "project"}})
    await levels.store(DOMAIN_LEVEL, max_parallelism=2, annotations={"values": {"from": "domain"}})
    config = await levels.config()
    assert (config.max_parallelism, dict(config.labels.values)) == (2, {"from": "project"})
    assert dict(config.annotations.values) == {"from": "domain"}
    await levels.store(WORKFLOW_LEVEL, envs={"values": [{"key": "FROM", "value": "workflow"}]})
    config = await levels.config()
    assert (config.max_parallelism, dict(config.labels.values)) == (1, {"from": "project"})
    assert dict(config.annotations.values) == {"from": "installation"}
    assert config.envs.values[0].value == "workflow"


async def test_attributes_of_others_do_not_count(levels: Levels, admin: Admin) -> None:
    """Neither another workflow's nor another domain's settings reach an execution."""
    await levels.store(Where(DOMAIN, "other"), max_parallelism=1)
    await levels.store(Where("staging"), max_parallelism=2)
    await levels.store(Where("staging", "w"), max_parallelism=3)
    assert (await levels.config()).max_parallelism == 60


async def test_what_is_shown(levels: Levels) -> None:
    """The resolved parallelism and security context are shown, everything else as it was asked for."""
    await levels.store(
        DOMAIN_LEVEL,
        max_parallelism=7,
        security_context={"run_as": {"k8s_service_account": "domain"}},
        labels={"values": {"from": "domain"}},
        interruptible={"value": True},
    )
    levels.ask(annotations={"values": {"from": "request"}})
    _, shown = await levels.launch()
    assert shown.spec.max_parallelism == 7
    assert shown.spec.security_context.run_as.k8s_service_account == "domain"
    assert dict(shown.spec.annotations.values) == {"from": "request"}
    assert not shown.spec.labels.values
    assert not shown.spec.HasField("interruptible")


async def test_single_tasks_follow_domain_and_project(levels: Levels, admin: Admin, pool: asyncpg.Pool) -> None:
    """A task on its own has no launch plan that says anything: what its first execution asked for is not the next's."""
    await levels.store(DOMAIN_LEVEL, max_parallelism=7)

    async def config(**spec: Any) -> Config:
        request = launch(text="x", count=1)
        request.spec.MergeFrom(execution_pb2.ExecutionSpec(**spec))
        request.spec.launch_plan.CopyFrom(entities.identifier(identifier_pb2.TASK, "t"))
        created = await admin.CreateExecution(request)
        return Config.FromString(await pool.fetchval("SELECT config FROM executions WHERE name = $1", created.id.name))

    first = await config(security_context={"run_as": {"k8s_service_account": "first"}})
    second = await config()
    assert first.security_context.run_as.k8s_service_account == "first"
    assert second.security_context.run_as.k8s_service_account == "installation"
    assert second.max_parallelism == 7


async def test_task_resources_over_all_levels(levels: Levels, admin: Admin) -> None:
    """The most specific level's task resources are stored for the engine, as a whole; without any the platform's."""

    async def stored() -> Resources:
        row, _ = await levels.launch()
        return Resources.FromString(row["task_resources"])

    assert await stored() == Resources(limits={"memory": "60Gi"})
    for number, where in enumerate(STORED_LEVELS, 1):
        given = attributes(task_resource_attributes={"defaults": {"cpu": str(number)}})
        await update(admin, where, given)
        assert await stored() == given.task_resource_attributes
    for number, where in reversed([*enumerate(STORED_LEVELS, 1)]):
        assert (await stored()).defaults.cpu == str(number)
        await delete(admin, where, matchable_resource_pb2.TASK_RESOURCE)
    assert await stored() == Resources(limits={"memory": "60Gi"})


@pytest.mark.parametrize(
    ("say", "column", "read"),
    [
        (lambda name: attributes(execution_cluster_label={"value": name}), "cluster_label", lambda value: value),
        (lambda name: attributes(cluster_assignment={"cluster_pool_name": name}), "cluster_pool", lambda value: value),
        (
            lambda name: attributes(execution_queue_attributes={"tags": [name]}),
            "queue_tags",
            lambda value: value and value[0],
        ),
        (
            lambda name: overrides(spark=name),
            "plugin_overrides",
            lambda value: value and matchable_resource_pb2.PluginOverrides.FromString(value).overrides[0].plugin_id[0],
        ),
    ],
    ids=["cluster_label", "cluster_assignment", "execution_queue", "plugin_override"],
)
async def test_what_is_only_kept(
    levels: Levels, admin: Admin, say: Callable[[str], Any], column: str, read: Callable[[Any], object]
) -> None:
    """Placement and plugins are resolved at launch and stored with the execution; nothing said is NULL."""

    async def stored() -> object:
        row, _ = await levels.launch()
        return read(row[column])

    assert await stored() is None
    for where in STORED_LEVELS:
        await update(admin, where, say(str(where)))
        assert await stored() == str(where)
    kind = resource_type_of(say(""), "")
    for where in reversed(STORED_LEVELS):
        assert await stored() == str(where)
        await delete(admin, where, kind)
    assert await stored() is None


async def test_labels_and_placement_that_requests_ask_for(levels: Levels, admin: Admin, pool: asyncpg.Pool) -> None:
    """A request's cluster label and quality of service are kept; labels that win become searchable tags."""
    await update(admin, DOMAIN_LEVEL, attributes(execution_cluster_label={"value": "domain"}))
    await levels.store(DOMAIN_LEVEL, labels={"values": {"team": "domain"}})
    high = core_execution_pb2.QualityOfService(tier=core_execution_pb2.QualityOfService.HIGH)
    levels.ask(execution_cluster_label={"value": "request"}, quality_of_service=high, tags=["nightly"])
    row, shown = await levels.launch()
    assert row["cluster_label"] == "request"
    assert core_execution_pb2.QualityOfService.FromString(row["quality_of_service"]) == high
    assert shown.spec.quality_of_service == high
    tags = await pool.fetch("SELECT key, value FROM execution_tags ORDER BY key")
    assert [tuple(tag) for tag in tags] == [("nightly", ""), ("team", "domain")]
