"""Caching with the real flytekit: what was made before is taken, and shown as such."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import catalog_pb2
from flytekit.core.options import Options as RunOptions
from flytekit.models.common import Annotations
from tests.e2e.client import Client, entity, execution_id, phase, succeeded
from tests.e2e.installation import Installation

HIT, MISS = catalog_pb2.CACHE_HIT, catalog_pb2.CACHE_MISS
POPULATED, DISABLED = catalog_pb2.CACHE_POPULATED, catalog_pb2.CACHE_DISABLED


class Runner:
    """Runs the programs, and looks at what became of their nodes."""

    def __init__(self, client: Client, marks: Path) -> None:
        self.client = client
        self.marks = marks

    def run(self, workflow: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """An execution that has succeeded; `marks` is given to programs that want it."""
        return succeeded(self.client.wait(self.launch(workflow, inputs, **options)))

    def launch(self, workflow: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """An execution under a name of its own: equal requests without one may be taken for repetitions."""
        given = {**(inputs or {})} if workflow == "mapped" else {"marks": str(self.marks), **(inputs or {})}
        name = f"cache-{uuid4().hex[:12]}"
        return self.client.launch("caching", workflow, given, execution_name=name, **options)

    def lines(self) -> list[str]:
        """What ran so far."""
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def nodes(self, execution: Any, parent: str = "") -> dict[str, node_execution_pb2.NodeExecution]:
        """Nodes of an execution, or inside one of them, by their id in the workflow."""
        request = node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=execution_id(execution.id.name), limit=100, unique_parent_id=parent
        )
        nodes = self.client.admin.ListNodeExecutions(request).node_executions
        return {node.metadata.spec_node_id: node for node in nodes}

    def status(self, execution: Any, node: str = "n0", parent: str = "") -> int:
        """Cache status of a node."""
        return self.nodes(execution, parent)[node].closure.task_node_metadata.cache_status


@pytest.fixture
def runner(client: Client, marks: Path) -> Runner:
    """Programs leave their lines in a file of the test's own, so tests share no entries."""
    return Runner(client, marks)


def test_a_second_call_takes_what_the_first_has_made(runner: Runner) -> None:
    """MISS becomes POPULATED; then HIT with the same output, the key, its source, and no task execution."""
    first = runner.run("plain", {"what": "a"})
    assert [runner.status(first, node) for node in ("n0", "n1")] == [POPULATED, POPULATED]
    second = runner.run("plain", {"what": "a"})
    assert second.outputs["o0"] == first.outputs["o0"]
    assert sorted(runner.lines()) == ["a", "touched"]
    node = runner.nodes(second)["n1"]
    metadata = node.closure.task_node_metadata
    assert metadata.cache_status == HIT
    assert metadata.catalog_key.artifact_tag.name.startswith("flyte_cached-")
    source = metadata.catalog_key.source_task_execution
    assert source.node_execution_id.execution_id.name == first.id.name
    assert source.node_execution_id.node_id == "n1"
    attempts = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=10)
    assert not runner.client.admin.ListTaskExecutions(attempts).task_executions
    assert second.node_executions["n1"].outputs["o0"] == first.outputs["o0"]
    other = runner.run("plain", {"what": "b"})
    assert [runner.status(other, node) for node in ("n0", "n1")] == [HIT, POPULATED]


def test_nodes_are_found_by_their_cache_status(runner: Runner) -> None:
    """The filter of ListNodeExecutions."""
    runner.run("plain", {"what": "a"})
    execution = runner.run("plain", {"what": "b"})
    request = node_execution_pb2.NodeExecutionListRequest(
        workflow_execution_id=execution_id(execution.id.name), limit=10, filters="eq(cache_status,CACHE_HIT)"
    )
    found = runner.client.admin.ListNodeExecutions(request).node_executions
    assert [node.metadata.spec_node_id for node in found] == ["n0"]


def test_tasks_inside_of_sub_workflows_are_cached(runner: Runner) -> None:
    """Whatever the workflow around them."""
    first = runner.run("plain", {"what": "a"})
    second = runner.run("around", {"what": "a"})
    assert second.outputs["o0"] == first.outputs["o0"]
    assert runner.status(second, "n1", parent="n0") == HIT


def test_the_order_of_fields_does_not_count(runner: Runner) -> None:
    """A dataclass and a dict in another order are the same."""
    options = entity("caching", "Options")
    first = runner.run("structured", {"options": options(1, 2), "names": {"a": 1, "b": 2}})
    second = runner.run("structured", {"options": options(width=2, depth=1), "names": {"b": 2, "a": 1}})
    assert (second.outputs["o0"], len(runner.lines())) == (first.outputs["o0"], 1)


def test_ignored_inputs_and_hashes_of_values_count_as_they_say(runner: Runner) -> None:
    """cache_ignore_input_vars, HashMethod."""
    first = runner.run("ignoring", {"what": "a", "note": "x"})
    assert runner.run("ignoring", {"what": "a", "note": "y"}).outputs["o0"] == first.outputs["o0"]
    one = runner.run("by_hash", {"text": "four"})
    assert runner.run("by_hash", {"text": "five"}).outputs["o0"] == one.outputs["o0"]
    assert runner.lines() == ["a", "hashed", "measured", "hashed"]


def test_elements_of_maps_are_cached_one_by_one(runner: Runner, marks: Path) -> None:
    """Those that are there do not run, and the task execution shows which were."""
    name = str(marks)
    first = runner.run("mapped", {"items": [f"{name}{number}" for number in range(4)]})
    second = runner.run("mapped", {"items": [f"{name}{number}" for number in (2, 9, 0)]})
    made, found = first.outputs["o0"], second.outputs["o0"]
    assert (found[0], found[2]) == (made[2], made[0])
    assert found[1] not in made
    node = runner.nodes(second)["n0"]
    request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=10)
    (attempt,) = runner.client.admin.ListTaskExecutions(request).task_executions
    shown = {entry.index: entry.cache_status for entry in attempt.closure.metadata.external_resources}
    assert shown == {0: HIT, 1: POPULATED, 2: HIT}


def test_a_dynamic_task_is_cached_with_its_final_outputs(runner: Runner) -> None:
    """A hit has neither an attempt nor inner nodes."""
    first = runner.run("made_on_the_way", {"count": 2})
    assert runner.status(first) == POPULATED
    second = runner.run("made_on_the_way", {"count": 2})
    assert second.outputs["o0"] == first.outputs["o0"]
    assert runner.status(second) == HIT
    assert not runner.nodes(second, parent="n0")
    third = runner.run("made_on_the_way", {"count": 3})
    assert third.outputs["o0"][:2] == first.outputs["o0"]
    assert sorted(runner.lines()) == ["compiled", "compiled", "part 0", "part 1", "part 2"]


def test_a_sub_workflow_is_cached_as_a_whole(runner: Runner) -> None:
    """Of three at once one runs its tasks; the others have no inner nodes, the same outputs, and show whose they are.
    overwrite_cache replaces them."""
    started = [runner.launch("kept_whole", {"what": "a"}) for _ in range(3)]
    ended = [succeeded(runner.client.wait(execution)) for execution in started]
    (value,) = {execution.outputs["o0"] for execution in ended}
    assert runner.lines()[:3] == ["a begins", "a", value.rpartition("-")[0]]
    statuses = {execution.id.name: runner.status(execution) for execution in ended}
    assert sorted(statuses.values()) == [HIT, HIT, POPULATED]
    (maker,) = (name for name, status in statuses.items() if status == POPULATED)
    for execution in ended:
        node = runner.nodes(execution)["n0"]
        assert node.metadata.is_parent_node
        inner = runner.nodes(execution, parent="n0")
        if statuses[execution.id.name] == HIT:
            key = node.closure.task_node_metadata.catalog_key
            assert key.dataset_id.name == "flyte_workflow-caching.two_steps"
            assert key.source_task_execution.node_execution_id.execution_id.name == maker
            assert not inner
        else:
            assert {"n0", "n1"} < set(inner)
    count = len(runner.lines())
    replaced = runner.run("kept_whole", {"what": "a"}, overwrite_cache=True)
    assert replaced.outputs["o0"] != value
    assert len(runner.lines()) == count + 4
    assert runner.run("kept_whole", {"what": "a"}).outputs["o0"] == replaced.outputs["o0"]


def test_overwrite_cache_runs_and_replaces(runner: Runner) -> None:
    """The next call takes what was made last."""
    first = runner.run("plain", {"what": "a"})
    second = runner.run("plain", {"what": "a"}, overwrite_cache=True)
    assert second.outputs["o0"] != first.outputs["o0"]
    assert runner.status(second, "n1") == POPULATED
    assert runner.run("plain", {"what": "a"}).outputs["o0"] == second.outputs["o0"]


def test_the_cache_can_be_switched_off_for_one_run(runner: Runner) -> None:
    """By an annotation; nothing is taken and nothing is put."""
    off = RunOptions(annotations=Annotations({"wingbeat.dev/cache": "off"}))
    first = runner.run("plain", {"what": "a"}, options=off)
    assert runner.status(first, "n1") == DISABLED
    second = runner.run("plain", {"what": "a"})
    assert second.outputs["o0"] != first.outputs["o0"]
    assert runner.run("plain", {"what": "a"}, options=off).outputs["o0"] != second.outputs["o0"]


def test_nodes_say_otherwise_than_their_tasks(runner: Runner) -> None:
    """with_overrides(cache=...) counts."""
    first = runner.run("overridden", {"what": "a"})
    second = runner.run("overridden", {"what": "a"})
    assert second.outputs["o0"] == first.outputs["o0"]
    assert second.outputs["o1"] != first.outputs["o1"]
    assert [runner.status(second, node) for node in ("n0", "n1")] == [HIT, DISABLED]


def test_serialized_calls_run_once_and_share(runner: Runner) -> None:
    """Of several at once one runs; the others show whom they wait for and end with hits."""
    started = [runner.launch("serialized", {"what": "a", "seconds": 1.0}) for _ in range(5)]
    ended = [succeeded(runner.client.wait(execution)) for execution in started]
    assert len({execution.outputs["o0"] for execution in ended}) == 1
    assert runner.lines() == ["a begins", "a"]
    assert sorted(runner.status(execution) for execution in ended) == [HIT] * 4 + [POPULATED]


def test_what_fails_is_not_kept(runner: Runner) -> None:
    """It is a miss, and the next call runs."""
    for _ in range(2):
        execution = runner.client.wait(runner.launch("failing"))
        assert phase(execution) == "FAILED"
        assert runner.status(execution) == MISS
    assert runner.lines() == ["failed", "failed"]


def test_a_recovered_execution_keeps_what_the_cache_said(runner: Runner) -> None:
    """Nodes that are taken over show the status and the key of then."""
    runner.run("plain", {"what": "a"})
    source = runner.run("plain", {"what": "a"})
    request = execution_pb2.ExecutionRecoverRequest(id=execution_id(source.id.name))
    recovered = runner.client.admin.RecoverExecution(request)
    execution = runner.client.remote.fetch_execution(name=recovered.id.name)
    succeeded(runner.client.wait(execution))
    metadata = runner.nodes(execution)["n1"].closure.task_node_metadata
    assert metadata.cache_status == HIT
    assert metadata.catalog_key.artifact_tag.name


def test_an_annotation_that_cannot_be_read_is_refused(runner: Runner) -> None:
    """On or off, nothing else."""
    options = RunOptions(annotations=Annotations({"wingbeat.dev/cache": "maybe"}))
    with pytest.raises(Exception, match="on or off is expected"):
        runner.run("plain", {"what": "a"}, options=options)


def test_a_launch_is_foretold_into_what_it_launches(runner: Runner, installation: Installation) -> None:
    """The nodes of the execution of a launch plan node, with its default inputs and the settings that it inherits."""
    runner.run("launching")
    ask = ("foretell", "caching.launching", "--inputs", json.dumps({"marks": str(runner.marks)}))
    folder = ("--data-dir", str(installation.data_dir))
    nodes = json.loads(installation.wingbeat(*ask, *folder, "-o", "json").stdout)["nodes"]
    assert [(node.get("launchedBy", []), node["nodeId"], node["forecast"]) for node in nodes] == [
        ([], "n0", "FORECAST_INNER"),
        (["n0"], "n0", "FORECAST_HIT"),
        (["n0"], "n1", "FORECAST_HIT"),
        ([], "n1", "FORECAST_HIT"),
    ]
    off = installation.wingbeat(*ask, *folder, "--cache", "off").stdout
    assert "run n0 > n1 (caching.make): it would run: the cache is off for this launch." in off
    assert "0 would hit, 3 would run" in off


def test_a_launch_is_foretold(runner: Runner, installation: Installation) -> None:
    """The command says what would hit and what would run; that is what happens then, and nothing happens before."""
    runner.run("plain", {"what": "a"})
    inputs = json.dumps({"marks": str(runner.marks), "what": "b"})
    ask = ("foretell", "caching.plain", "--inputs", inputs, "--data-dir", str(installation.data_dir))
    answer = installation.wingbeat(*ask, "-o", "json")
    nodes = {node["nodeId"]: node for node in json.loads(answer.stdout)["nodes"]}
    assert {name: node["forecast"] for name, node in nodes.items()} == {"n0": "FORECAST_HIT", "n1": "FORECAST_RUN"}
    assert nodes["n1"]["reason"] == "FORECAST_REASON_MISS"
    assert sorted(runner.lines()) == ["a", "touched"]
    execution = runner.run("plain", {"what": "b"})
    assert [runner.status(execution, node) for node in ("n0", "n1")] == [HIT, POPULATED]
    answer = installation.wingbeat(*ask, "--cache", "off")
    assert "0 would hit, 2 would run" in answer.stdout
