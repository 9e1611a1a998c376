"""Workflows of the real flytekit compile, and the closure has the shape that consoles and engines rely on."""

from collections import OrderedDict
from collections.abc import Mapping

import pytest
from flyteidl.core import compiler_pb2, workflow_pb2
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.models.admin.workflow import WorkflowSpec
from flytekit.models.launch_plan import LaunchPlan
from flytekit.models.task import TaskSpec
from flytekit.tools.translator import FlyteControlPlaneEntity, get_serializable
from tests.unit.compiler import flyte_programs

from wingbeat_propeller.compiler.launch_plan import complete_launch_plan
from wingbeat_propeller.compiler.plan import build_plan
from wingbeat_propeller.compiler.references import (
    EntityKey,
    KnownReferences,
    LaunchPlanInterface,
    entity_key,
    referenced_ids,
    walk_nodes,
)
from wingbeat_propeller.compiler.task import validate_task_template
from wingbeat_propeller.compiler.workflow import compile_workflow

SETTINGS = SerializationSettings(
    project="p",
    domain="d",
    version="v",
    env={},
    image_config=ImageConfig(default_image=Image(name="default", fqn="example.org/image", tag="1")),
)
PROGRAMS = [
    "hello",
    "diamond",
    "types",
    "outermost",
    "branching",
    "launching",
    "gates",
    "mapping",
    "mapping_plans",
    "guarded",
    "dynamics",
    "ordered",
]


def serialize(name: str) -> tuple[workflow_pb2.WorkflowTemplate, list[workflow_pb2.WorkflowTemplate], KnownReferences]:
    """A program as a client registers it: template, sub-workflows, and what was registered before it."""
    entities: OrderedDict[object, FlyteControlPlaneEntity] = OrderedDict()
    spec = get_serializable(entities, SETTINGS, getattr(flyte_programs, name)).to_flyte_idl()
    models = list(entities.values())
    tasks = [model.to_flyte_idl().template for model in models if isinstance(model, TaskSpec)]
    workflows = [model.to_flyte_idl().template for model in models if isinstance(model, WorkflowSpec)]
    interfaces = {entity_key(workflow.id): workflow.interface for workflow in workflows}
    plans: dict[EntityKey, LaunchPlanInterface] = {}
    for model in models:
        if isinstance(model, LaunchPlan):
            plan = model.to_flyte_idl()
            done = complete_launch_plan(plan.spec, interfaces[entity_key(plan.spec.workflow_id)])
            plans[entity_key(plan.id)] = LaunchPlanInterface(
                plan.spec.workflow_id, done.expected_inputs, done.expected_outputs
            )
    for task in tasks:
        assert validate_task_template(task) == ()
    return (
        spec.template,
        list(spec.sub_workflows),
        KnownReferences({entity_key(task.id): task for task in tasks}, plans),
    )


def compiled(name: str) -> compiler_pb2.CompiledWorkflowClosure:
    """The closure of a program."""
    return compile_workflow(*serialize(name))


def edges(connections: Mapping[str, compiler_pb2.ConnectionSet.IdList]) -> dict[str, list[str]]:
    """Connections as plain lists."""
    return {node_id: list(targets.ids) for node_id, targets in connections.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_shape(name: str) -> None:
    """Start and end come first, connections agree both ways and are sorted, no promise is left without a node."""
    template, sub_workflows, references = serialize(name)
    before = template.SerializeToString(deterministic=True)
    closure = compile_workflow(template, sub_workflows, references)
    assert template.SerializeToString(deterministic=True) == before
    for workflow in (closure.primary, *closure.sub_workflows):
        nodes = workflow.template.nodes
        assert [node.id for node in nodes[:2]] == ["start-node", "end-node"]
        assert nodes[1].inputs == workflow.template.outputs
        assert not nodes[0].inputs
        assert workflow.template.interface.HasField("inputs")
        assert workflow.template.interface.HasField("outputs")
        downstream, upstream = edges(workflow.connections.downstream), edges(workflow.connections.upstream)
        assert downstream["start-node"]
        top_level = {node.id for node in nodes}
        assert downstream.keys() <= top_level
        assert {(a, b) for a, targets in downstream.items() for b in targets} == {
            (a, b) for b, sources in upstream.items() if b in top_level for a in sources
        }
        for ids in (*downstream.values(), *upstream.values()):
            assert ids == sorted(set(ids))
        assert b'node_id: ""' not in str(workflow.template).encode()
        for node in walk_nodes(workflow.template):
            assert list(node.upstream_node_ids) == sorted(node.upstream_node_ids)
    keys = [(task.template.id.resource_type, *entity_key(task.template.id)) for task in closure.tasks]
    assert keys == sorted(set(keys))
    assert {key[1:] for key in keys} == {entity_key(task) for task in referenced_ids(template, sub_workflows).tasks}
    assert not closure.launch_plans


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiling_twice_gives_the_same(name: str) -> None:
    """The same template gives the same closure, byte for byte, when it is compiled again."""
    first, second = (compiled(name).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["hello", "diamond", "types", "outermost", "ordered"])
def test_engine_takes_it(name: str) -> None:
    """What is compiled here, the engine can turn into a plan."""
    assert build_plan(compiled(name)).size >= 3


def test_diamond_edges() -> None:
    """Edges follow data inside lists and maps; loose nodes hang between start and end."""
    connections = compiled("diamond").primary.connections
    assert edges(connections.upstream) == {
        "n0": ["start-node"],
        "n1": ["start-node"],
        "n2": ["n0", "n1"],
        "n3": ["n0", "n1", "n2"],
        "n4": ["n0"],
        "n5": ["start-node"],
        "end-node": ["n0", "n3", "n4", "n5"],
    }


def test_explicit_order() -> None:
    """Nodes without data follow each other as the program says."""
    connections = compiled("ordered").primary.connections
    assert edges(connections.downstream) == {
        "start-node": ["n0"],
        "n0": ["n1"],
        "n1": ["n2"],
        "n2": ["end-node"],
    }


def test_arms_are_renamed_and_stay_outside_of_the_flow() -> None:
    """Arms carry the ids of their branches in front, read from the workflow around, and nothing follows them."""
    workflow = compiled("branching").primary
    assert [node.id for node in workflow.template.nodes] == ["start-node", "end-node", "n0", "n1", "n2"]
    inner = {node.id for node in walk_nodes(workflow.template)} - {node.id for node in workflow.template.nodes}
    assert inner == {"n2-n0", "n2-n1", "n2-n2", "n2-n2-n0", "n2-n2-n1"}
    upstream = edges(workflow.connections.upstream)
    assert {node_id: upstream[node_id] for node_id in inner} == {
        "n2-n0": ["n0", "n1"],
        "n2-n1": ["n0"],
        "n2-n2": ["n0"],
        "n2-n2-n0": ["n1"],
        "n2-n2-n1": ["n0"],
    }
    assert not inner & set(workflow.connections.downstream)


def test_failure_node_has_upstream_entries_only() -> None:
    """The failure node reads the workflow's inputs, and no node waits for it."""
    workflow = compiled("guarded").primary
    failure_id = workflow.template.failure_node.id
    assert edges(workflow.connections.upstream)[failure_id] == ["start-node"]
    assert all(failure_id not in targets.ids for targets in workflow.connections.downstream.values())
    assert {task.template.id.name.rsplit(".", 1)[1] for task in compiled("guarded").tasks} == {"double", "clean_up"}


def test_sub_workflows_are_compiled_once() -> None:
    """Sub-workflows at every level have connections of their own."""
    closure = compiled("outermost")
    assert sorted(workflow.template.id.name.rsplit(".", 1)[1] for workflow in closure.sub_workflows) == [
        "inner",
        "outer",
    ]
    assert all(workflow.connections.downstream["start-node"].ids for workflow in closure.sub_workflows)


def test_references_are_known_before_compiling() -> None:
    """Tasks inside sub-workflows, arms, arrays and failure nodes are listed, and launch plans that nodes start."""
    assert [plan.name for plan in referenced_ids(*serialize("launching")[:2]).launch_plans] == ["inner_plan"]
    assert [plan.name for plan in referenced_ids(*serialize("mapping_plans")[:2]).launch_plans] == ["inner_plan"]
    names = {task.name.rsplit(".", 1)[1] for task in referenced_ids(*serialize("branching")[:2]).tasks}
    assert names == {"double", "add"}
