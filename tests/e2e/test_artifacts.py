"""Artifacts of real flytekit programs: made, found, named, asked for by launch plans, and traced."""

import json
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import artifact_id_pb2, identifier_pb2
from tests.e2e.client import DOMAIN, PROJECT, Client, create_request, succeeded
from tests.e2e.installation import Installation, until

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeatidl.lineage.v1 import lineage_pb2, lineage_pb2_grpc

PROGRAM = "artifact_programs"


def _call(client: Client, rpc: str, request: Any, answer: Any) -> Any:
    method = client.channel.unary_unary(
        f"/flyteidl.artifact.ArtifactRegistry/{rpc}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return method(request)


def _versions(client: Client, name: str, **partitions: str) -> list[artifacts_pb2.Artifact]:
    key = artifact_id_pb2.ArtifactKey(project=PROJECT, domain=DOMAIN, name=name)
    request = artifacts_pb2.SearchArtifactsRequest(artifact_key=key)
    for partition, value in partitions.items():
        request.partitions.value[partition].static_value = value
    return list(_call(client, "SearchArtifacts", request, artifacts_pb2.SearchArtifactsResponse).artifacts)


def _made(client: Client, name: str, execution: str, **partitions: str) -> artifacts_pb2.Artifact:
    """The artifact that an execution has made, once it is there."""

    def found() -> artifacts_pb2.Artifact | None:
        versions = _versions(client, name, **partitions)
        return next((one for one in versions if one.source.workflow_execution.name == execution), None)

    return until(found, what=f"artifact {name} of {execution}")


def _id(name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    return identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)


def test_partitions_and_queries(client: Client, installation: Installation) -> None:
    """Partitions come from inputs and from the task; a launch plan's query finds the newest with those that it names,
    of what had succeeded before; lineage leads from the user to the maker and back; aliases move."""
    first = succeeded(client.run(PROGRAM, "training_wf", {"region": "north", "number": 1})).id.name
    large = succeeded(client.run(PROGRAM, "training_wf", {"region": "north", "number": 10})).id.name
    using = succeeded(client.run(PROGRAM, "using_wf", {"region": "north"}))
    assert using.outputs["o0"] == 4
    with pytest.raises(grpc.RpcError, match=r"there is no artifact .*region=south, size=small"):
        client.admin.CreateExecution(_request(client, "using_wf", region="south"))
    made = _made(client, "model", first, region="north", size="small")
    assert made.source.task_id.name == f"{PROGRAM}.train"
    assert made.spec.value.scalar.primitive.integer == 2
    assert _made(client, "model", large).artifact_id.partitions.value["size"].static_value == "large"

    up = _trace(client, lineage_pb2.DIRECTION_UP, using.id.name)
    assert [(step.execution.name, step.node_id) for step in up][:3] == [
        (using.id.name, "n0"),
        (using.id.name, ""),
        (first, "n0"),
    ]
    assert [link.kind for link in up[1].links] == [lineage_pb2.LINK_KIND_ARTIFACT]
    down = _trace(client, lineage_pb2.DIRECTION_DOWN, first, "n0")
    assert [(step.execution.name, step.node_id) for step in down] == [(using.id.name, ""), (using.id.name, "n0")]
    usage = artifacts_pb2.ListUsageRequest(artifact_id=made.artifact_id)
    used = _call(client, "ListUsage", usage, artifacts_pb2.ListUsageResponse)
    assert [execution.name for execution in used.executions] == [using.id.name]

    for direction, name in ((0, using.id.name), (1, first)):
        asked = artifacts_pb2.FindByWorkflowExecRequest(exec_id=_id(name), direction=direction)
        found = _call(client, "FindByWorkflowExec", asked, artifacts_pb2.SearchArtifactsResponse)
        assert [one.artifact_id for one in found.artifacts] == [made.artifact_id]

    flags = ("--data-dir", str(installation.data_dir))
    version = made.artifact_id.version
    newer = _made(client, "model", large).artifact_id.version
    installation.wingbeat("artifact", "tag", f"model@{version}", "prod", *flags)
    refused = installation.wingbeat("artifact", "tag", f"model@{newer}", "prod", *flags, check=False)
    assert "another version" in refused.stderr
    installation.wingbeat("artifact", "tag", f"model@{newer}", "prod", "--move", *flags)
    shown = json.loads(installation.wingbeat("artifact", "get", "model:prod", "-o", "json", *flags).stdout)
    assert shown["artifactId"]["version"] == newer
    assert shown["tags"] == ["prod"]
    traced = installation.wingbeat("lineage", "artifact:model:prod", *flags).stdout
    assert f"{large} n0 (train)" in traced
    assert installation.wingbeat("lineage", f"artifact:{PROJECT}:{DOMAIN}:model@{newer}", *flags).stdout == traced
    meaningless = installation.wingbeat("lineage", "artifact:a:b:c:d:e", *flags, check=False)
    assert "names no artifact" in meaningless.stderr
    assert "model" in installation.wingbeat("artifact", "list", *flags).stdout
    found = installation.wingbeat("artifact", "search", "model", "--partition", "size=small", *flags).stdout
    assert version in found
    assert newer not in found


def test_a_relaunch_has_the_same_artifact(client: Client) -> None:
    """Relaunched, an execution runs with the artifact that it had, although there is a newer one; what the caller gives
    instead of a query counts."""
    succeeded(client.run(PROGRAM, "training_wf", {"region": "west", "number": 2}))
    using = succeeded(client.run(PROGRAM, "using_wf", {"region": "west"}))
    succeeded(client.run(PROGRAM, "training_wf", {"region": "west", "number": 3}))
    request = execution_pb2.ExecutionRelaunchRequest(id=_id(using.id.name))
    again = client.remote.fetch_execution(name=client.admin.RelaunchExecution(request).id.name)
    assert succeeded(client.wait(again)).outputs["o0"] == using.outputs["o0"] == 6
    asked = artifacts_pb2.FindByWorkflowExecRequest(exec_id=_id(again.id.name))
    found = _call(client, "FindByWorkflowExec", asked, artifacts_pb2.SearchArtifactsResponse)
    assert len(found.artifacts) == 1
    given = succeeded(client.run(PROGRAM, "using_wf", {"region": "west", "model": 7}))
    assert given.outputs["o0"] == 14


def test_time_partitions_and_outputs_of_workflows(client: Client) -> None:
    """A time partition is cut to its granularity, on both sides; an output of a workflow is an artifact, too."""
    day = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
    succeeded(client.run(PROGRAM, "reporting_wf", {"day": day, "text": "report"}))
    assert succeeded(client.run(PROGRAM, "day_wf")).outputs["o0"] == "REPORT OF 2026-05-01"
    name = succeeded(client.run(PROGRAM, "doubling_wf", {"number": 4})).id.name
    made = _made(client, "doubled", name)
    assert made.spec.value.scalar.primitive.integer == 8
    assert made.source.node_id == ""


def test_elements_of_maps(client: Client, installation: Installation) -> None:
    """Each element of a map makes an artifact, with partitions from its own inputs and from its run; a mapped task that
    is not registered with its workflow makes none, and the log says why."""
    regions = ["east", "south", "west"]
    name = succeeded(client.run(PROGRAM, "mapping_wf", {"regions": regions, "size": 20})).id.name
    made = [_made(client, "model", name, region=region) for region in (*regions, "alone")]
    assert [one.artifact_id.version.removeprefix(f"{name}/") for one in made] == [
        *(f"n1/{element}/0/o0" for element in range(3)),
        "n0/0/o0",
    ]
    assert {one.artifact_id.partitions.value["size"].static_value for one in made} == {"large"}
    assert {one.source.task_id.name for one in made} == {f"{PROGRAM}.train"}
    assert {one.spec.value.scalar.primitive.integer for one in made} == {21}
    identifier = made[0].artifact_id
    artifact = lineage_pb2.ArtifactIdentifier(
        project=PROJECT, domain=DOMAIN, name=identifier.artifact_key.name, version=identifier.version
    )
    stub = lineage_pb2_grpc.LineageServiceStub(client.channel)
    up = stub.Trace(lineage_pb2.TraceRequest(artifact=artifact, direction=lineage_pb2.DIRECTION_UP))
    assert [(step.execution.name, step.node_id) for step in up.steps] == [(name, "n1"), (name, "")]
    name = succeeded(client.run(PROGRAM, "mapping_alone_wf", {"regions": regions})).id.name
    until(lambda: f"the mapped task {PROGRAM}.trim is not registered" in installation.logs(1_000), what="the reason")
    assert all(one.source.workflow_execution.name != name for one in _versions(client, "model"))


def test_tasks_that_a_dynamic_task_brings_along(client: Client) -> None:
    """They make artifacts although they are not registered."""
    name = succeeded(client.run(PROGRAM, "growing_wf", {"number": 4})).id.name
    made = _made(client, "grown", name)
    assert made.spec.value.scalar.primitive.integer == 5
    assert made.source.task_id.name == f"{PROGRAM}.grow"


def test_a_partition_without_a_value(client: Client, installation: Installation) -> None:
    """An output that cannot become an artifact fails nothing; why stands in the log."""
    name = succeeded(client.run(PROGRAM, "forgetting_wf", {"region": "east", "number": 1})).id.name
    until(lambda: "partition 'size' has no value" in installation.logs(1_000), what="the reason in the log")
    assert all(one.source.workflow_execution.name != name for one in _versions(client, "model"))


def _request(client: Client, workflow: str, **texts: str) -> execution_pb2.ExecutionCreateRequest:
    request = create_request(client.register(PROGRAM, workflow))
    for name, text in texts.items():
        request.inputs.literals[name].scalar.primitive.string_value = text
    return request


def _trace(client: Client, direction: lineage_pb2.Direction, name: str, node: str = "") -> list[lineage_pb2.Step]:
    value = lineage_pb2.ValueIdentifier(node_id=node)
    value.execution.project, value.execution.domain, value.execution.name = PROJECT, DOMAIN, name
    stub = lineage_pb2_grpc.LineageServiceStub(client.channel)
    return list(stub.Trace(lineage_pb2.TraceRequest(value=value, direction=direction)).steps)
