"""The catalog of a running installation: misses explained, entries taken out, and DataCatalog for others."""

import json
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from flyteidl.admin import node_execution_pb2
from flyteidl.core import catalog_pb2
from flyteidl.datacatalog import datacatalog_pb2, datacatalog_pb2_grpc
from tests.e2e.client import Client, entity, execution_id, succeeded
from tests.e2e.installation import Installation

EVICTED = "evicted; nodes and elements that show CACHE_EVICTED now:"


class Programs:
    """Runs of cacheable programs, and the command about them."""

    def __init__(self, installation: Installation, client: Client, marks: Path) -> None:
        self.installation = installation
        self.client = client
        self.marks = marks

    def run(self, workflow: str, **inputs: object) -> str:
        """Name of an execution that has succeeded."""
        return self._run(workflow, {"marks": str(self.marks), **inputs})

    def run_mapped(self, items: list[str]) -> str:
        """The same of the map task."""
        return self._run("mapped", {"items": items})

    def _run(self, workflow: str, given: dict[str, object]) -> str:
        name = f"catalog-{uuid4().hex[:12]}"
        succeeded(self.client.wait(self.client.launch("caching", workflow, given, execution_name=name)))
        return name

    def cache(self, *arguments: str) -> str:
        """What `wingbeat cache` says."""
        return self.installation.wingbeat("cache", *arguments, "--data-dir", str(self.installation.data_dir)).stdout

    def metadata(self, execution: str, node: str) -> node_execution_pb2.TaskNodeMetadata:
        """What a node shows of the cache."""
        request = node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(execution), limit=100)
        nodes = {found.id.node_id: found for found in self.client.admin.ListNodeExecutions(request).node_executions}
        return nodes[node].closure.task_node_metadata

    def lines(self) -> int:
        """How many tasks ran."""
        return len(self.marks.read_text().splitlines())


@pytest.fixture
def programs(installation: Installation, client: Client, marks: Path) -> Programs:
    """Programs leave their lines in a file of the test's own, so tests share no entries."""
    return Programs(installation, client, marks)


def test_a_miss_is_explained_down_to_the_part_of_a_value(programs: Programs) -> None:
    """The command names the execution whose entry is nearest and the field of the dataclass that differs."""
    options = entity("caching", "Options")
    first = programs.run("structured", options=options(1, 2), names={"a": 1, "b": 2})
    second = programs.run("structured", options=options(1, 3), names={"b": 2, "a": 1})
    assert programs.metadata(second, "n0").cache_status == catalog_pb2.CACHE_POPULATED
    text = programs.cache("why", second, "n0")
    assert f"put by {first} n0" in text
    assert "input options.width was 2 when it was made, and is 3 here" in text
    assert "names" not in text
    answer = json.loads(programs.cache("why", second, "n0", "-o", "json"))
    (difference,) = answer["neighbours"][0]["differences"]
    assert (difference["variable"], difference["path"]) == ("options", ".width")
    third = programs.run("structured", options=options(width=2, depth=1), names={"b": 2, "a": 1})
    assert programs.metadata(third, "n0").cache_status == catalog_pb2.CACHE_HIT
    assert "It was a hit" in programs.cache("why", third, "n0")


def test_elements_of_map_tasks_are_explained(programs: Programs) -> None:
    """Each element is a call of its own; the array as a whole is none."""
    unique = uuid4().hex
    first = programs.run_mapped([f"a{unique}", f"b{unique}"])
    second = programs.run_mapped([f"a{unique}", f"c{unique}"])
    text = programs.cache("why", second, "n0", "--element", "1")
    assert f"put by {first} n0[" in text
    assert f'and is "c{unique}" here' in text
    assert "There is an entry with this key now" in programs.cache("why", second, "n0", "--element", "0")
    for refused in ((), ("--element", "2")):
        answer = programs.installation.wingbeat(
            "cache", "why", second, "n0", *refused, "--data-dir", str(programs.installation.data_dir), check=False
        )
        assert answer.returncode == 1


def test_evicted_entries_are_made_anew(programs: Programs) -> None:
    """After an eviction the next run misses; nodes that had the entries say so, and a second eviction finds none."""
    first = programs.run("plain", what="a")
    second = programs.run("plain", what="a")
    assert programs.lines() == 2
    assert programs.cache("evict", second).startswith(f"2 entries {EVICTED} 2")
    assert programs.metadata(second, "n1").cache_status == catalog_pb2.CACHE_EVICTED
    assert programs.cache("evict", second).startswith(f"0 entries {EVICTED} 0")
    third = programs.run("plain", what="a")
    assert programs.lines() == 4
    assert programs.metadata(third, "n1").cache_status == catalog_pb2.CACHE_POPULATED
    assert programs.cache("evict", third, "n1").startswith(f"1 entry {EVICTED} 1")
    assert programs.metadata(first, "n1").cache_status == catalog_pb2.CACHE_POPULATED


def test_evicting_takes_out_what_elements_were_given(programs: Programs) -> None:
    """Not only what they have made: the next run makes all elements anew, and those of this one say so."""
    unique = uuid4().hex
    first = programs.run_mapped([f"{name}{unique}" for name in "abc"])
    second = programs.run_mapped([f"{name}{unique}" for name in "bcd"])
    assert programs.cache("evict", second).startswith(f"3 entries {EVICTED} 3")
    text = programs.cache("why", second, "n0", "--element", "0")
    assert "Its entry has been evicted" in text
    assert programs.cache("evict", second).startswith(f"0 entries {EVICTED} 0")
    assert programs.cache("evict", first).startswith(f"1 entry {EVICTED} 1")
    third = programs.run_mapped([f"{name}{unique}" for name in "abcd"])
    assert programs.cache("evict", third, "n0").startswith(f"4 entries {EVICTED} 4")


def test_a_sub_workflow_is_explained_and_evicted_as_a_whole(programs: Programs) -> None:
    """Which input differs from that of the nearest entry; whose outputs a hit has; and gone is gone."""
    first = programs.run("kept_whole", what="a")
    second = programs.run("kept_whole", what="b")
    assert f"put by {first} n0" in (text := programs.cache("why", second, "n0"))
    assert 'input what was "a" when it was made, and is "b" here' in text
    third = programs.run("kept_whole", what="a")
    assert f"made by {first} n0" in programs.cache("why", third, "n0")
    assert programs.cache("evict", third).startswith(f"1 entry {EVICTED} 1")
    assert programs.metadata(third, "n0").cache_status == catalog_pb2.CACHE_EVICTED
    fourth = programs.run("kept_whole", what="a")
    assert programs.metadata(fourth, "n0").cache_status == catalog_pb2.CACHE_POPULATED


def test_others_read_what_our_engine_has_put(installation: Installation, programs: Programs) -> None:
    """DataCatalog serves an entry by the catalog key that a node shows, with its outputs and who made them."""
    execution = programs.run("plain", what="a")
    key = programs.metadata(execution, "n1").catalog_key
    dataset = datacatalog_pb2.DatasetID(
        project=key.dataset_id.project,
        domain=key.dataset_id.domain,
        name=key.dataset_id.name,
        version=key.dataset_id.version,
    )
    with grpc.insecure_channel(installation.endpoint) as channel:
        stub = datacatalog_pb2_grpc.DataCatalogStub(channel)
        request = datacatalog_pb2.GetArtifactRequest(dataset=dataset, tag_name=key.artifact_tag.name)
        artifact = stub.GetArtifact(request).artifact
    assert artifact.id == key.artifact_tag.artifact_id
    assert artifact.data[0].value.scalar.primitive.string_value.startswith("a-")
    assert artifact.metadata.key_map["execution-name"] == execution
    assert artifact.metadata.key_map["exec-node"] == "n1"


def test_a_sub_workflow_inside_of_a_dynamic_task_is_explained(programs: Programs) -> None:
    """What the dynamic task has made tells which sub-workflow it is."""
    first = programs.run("kept_inside", what="a")
    second = programs.run("kept_inside", what="b")
    inside = "n0-0-dn0"
    assert f"put by {first} {inside}" in (text := programs.cache("why", second, inside))
    assert 'input what was "a" when it was made, and is "b" here' in text
