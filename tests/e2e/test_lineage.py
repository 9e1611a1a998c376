"""Lineage of real programs: up and down, through all kinds of nodes and across executions."""

import json
from pathlib import Path

import grpc
import pytest
from flyteidl.admin import execution_pb2
from tests.e2e.client import DOMAIN, PROJECT, Client, create_request, execution_id, succeeded
from tests.e2e.installation import Installation

from wingbeatidl.lineage.v1 import lineage_pb2, lineage_pb2_grpc

UP, DOWN = lineage_pb2.DIRECTION_UP, lineage_pb2.DIRECTION_DOWN
LONG_WAY = {"write", "measure", "double", "doubled_parts", "total"}


def _value(name: str, node: str = "", variable: str = "") -> lineage_pb2.ValueIdentifier:
    value = lineage_pb2.ValueIdentifier(node_id=node, variable=variable)
    value.execution.project, value.execution.domain, value.execution.name = PROJECT, DOMAIN, name
    return value


def _trace(client: Client, direction: lineage_pb2.Direction, **request: object) -> list[lineage_pb2.Step]:
    stub = lineage_pb2_grpc.LineageServiceStub(client.channel)
    asked = lineage_pb2.TraceRequest(direction=direction, page_size=4, **request)
    steps: list[lineage_pb2.Step] = []
    while True:
        page = stub.Trace(asked)
        steps += page.steps
        assert not page.is_cut
        if not page.next_page_token:
            return steps
        asked.page_token = page.next_page_token


def _names(steps: list[lineage_pb2.Step]) -> set[str]:
    names = {step.entity.name.removeprefix("lineages.") for step in steps}
    return {"map" if name.startswith("map_") else name for name in names}


def test_through_all_kinds_of_nodes(client: Client) -> None:
    """An output leads up to the inputs of its execution through every kind of node, and these lead down to it; of each
    step the version of task and code are told, and the values."""
    name = succeeded(client.run("lineages", "long_way_wf", {"text": "four"})).id.name
    up = _trace(client, UP, value=_value(name))
    assert _names(up) == LONG_WAY | {"map", "doubling_lp", "long_way_wf"}
    first = up[0]
    assert (first.entity.name, first.node_phase, first.depth) == ("lineages.total", 3, 1)
    assert first.entity.version
    assert first.code_versions
    assert [variable.text for variable in first.outputs] == ["140"]
    written = next(step for step in up if step.entity.name == "lineages.write")
    assert written.outputs[0].uris
    down = _trace(client, DOWN, value=_value(name, variable="text"))
    assert _names(down) == LONG_WAY | {"map", "doubling_lp"}
    assert {step.execution.name for step in down} == {step.execution.name for step in up}
    assert _names(_trace(client, DOWN, value=_value(name, "total"))) == set()


def test_through_a_map_over_a_launch_plan(client: Client) -> None:
    """What the children of all elements have made leads into them and out again."""
    name = succeeded(client.run("lineages", "many_children_wf", {"numbers": [2, 3]})).id.name
    up = _trace(client, UP, value=_value(name))
    doubled = [step for step in up if step.entity.name == "lineages.double"]
    assert _names(up) == {"total", "double", "doubling_lp", "many_children_wf"}
    assert sorted(step.outputs[0].text for step in doubled) == ["4", "6"]
    assert len({step.execution.name for step in doubled} - {name}) == 2
    down = _trace(client, DOWN, value=_value(name, variable="numbers"))
    assert {step.execution.name for step in down} == {step.execution.name for step in up}


def test_across_executions_by_a_blob(client: Client, installation: Installation) -> None:
    """A file that one execution made and another was given ties the two, in both directions, by value and by URI."""
    made = succeeded(client.run("lineages", "writing_wf", {"text": "across"}))
    literal = client.remote.client.get_execution_data(made.id).full_outputs.to_flyte_idl().literals["o0"]
    uri = literal.scalar.blob.uri
    request = create_request(client.register("lineages", "measuring_wf"))
    request.inputs.literals["file"].CopyFrom(literal)
    taken = client.remote.fetch_execution(name=client.admin.CreateExecution(request).id.name)
    succeeded(client.wait(taken))
    up = _trace(client, UP, value=_value(taken.id.name))
    assert [(step.execution.name, step.node_id) for step in up] == [
        (taken.id.name, "n0"),
        (taken.id.name, ""),
        (made.id.name, "n0"),
        (made.id.name, ""),
    ]
    assert [(link.kind, link.by) for link in up[1].links] == [(lineage_pb2.LINK_KIND_BLOB, uri)]
    for start in ({"value": _value(made.id.name, "n0")}, {"uri": uri}):
        down = _trace(client, DOWN, **start)
        assert [(step.execution.name, step.node_id) for step in down] == [(taken.id.name, ""), (taken.id.name, "n0")]
    done = installation.wingbeat("lineage", taken.id.name, "n0.o0", "--data-dir", str(installation.data_dir))
    assert f"the blob made by {made.id.name} n0.o0" in done.stdout
    shown = installation.wingbeat(
        *("lineage", uri, "--down", "--depth", "1", "-o", "json", "--data-dir", str(installation.data_dir))
    )
    answer = json.loads(shown.stdout)
    assert [step["execution"]["name"] for step in answer["steps"]] == [taken.id.name]
    assert answer["isCut"] is True


def test_across_executions_by_files_inside_of_values(client: Client) -> None:
    """Files inside of a dataclass tie who made them and who was given them inside of another value."""
    made = succeeded(client.run("lineages", "composing_wf", {"text": "inside"}))
    literal = client.remote.client.get_execution_data(made.id).full_outputs.to_flyte_idl().literals["o0"]
    request = create_request(client.register("lineages", "counting_wf"))
    request.inputs.literals["reports"].map.literals["first"].CopyFrom(literal)
    taken = client.remote.fetch_execution(name=client.admin.CreateExecution(request).id.name)
    assert succeeded(client.wait(taken)).outputs["o0"] == 12
    up = _trace(client, UP, value=_value(taken.id.name))
    assert [(step.execution.name, step.node_id) for step in up][1:3] == [(taken.id.name, ""), (made.id.name, "n0")]
    assert [link.kind for link in up[1].links] == [lineage_pb2.LINK_KIND_BLOB] * 2
    pages = list(up[2].outputs[0].uris)
    assert {link.by for link in up[1].links} == set(pages)
    assert list(up[1].inputs[0].uris) == pages
    for start in ({"value": _value(made.id.name, "n0")}, {"uri": pages[1]}):
        down = _trace(client, DOWN, **start)
        assert [(step.execution.name, step.node_id) for step in down] == [(taken.id.name, ""), (taken.id.name, "n0")]


@pytest.mark.parametrize(
    ("request_fields", "code", "words"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "say where to begin"),
        ({"uri": "s3://nobody/knows"}, grpc.StatusCode.NOT_FOUND, "no execution is known that has made"),
        ({"value": _value("nothing")}, grpc.StatusCode.NOT_FOUND, "does not exist"),
        ({"uri": "x", "depth": 1_001}, grpc.StatusCode.INVALID_ARGUMENT, "depth is 1001"),
        ({"uri": "x", "page_token": "?"}, grpc.StatusCode.INVALID_ARGUMENT, "invalid page token"),
        (
            {"artifact": {"project": "p", "domain": "d", "name": "n", "version": "v"}},
            grpc.StatusCode.NOT_FOUND,
            "p:d:n@v",
        ),
    ],
)
def test_bad_questions(client: Client, request_fields: dict[str, object], code: grpc.StatusCode, words: str) -> None:
    """A question that cannot be answered gets a sentence that says why."""
    stub = lineage_pb2_grpc.LineageServiceStub(client.channel)
    with pytest.raises(grpc.RpcError, match=words) as error:
        stub.Trace(lineage_pb2.TraceRequest(direction=UP, **request_fields))
    assert error.value.code() is code


def test_unknown_names(client: Client) -> None:
    """Nodes and variables that an execution does not have are named, with those that it has."""
    name = succeeded(client.run("lineages", "writing_wf", {"text": "names"})).id.name
    stub = lineage_pb2_grpc.LineageServiceStub(client.channel)
    for value, words in ((_value(name, "n7"), "no node 'n7'"), (_value(name, "n0", "o7"), "no output 'o7': it has o0")):
        with pytest.raises(grpc.RpcError, match=words):
            stub.Trace(lineage_pb2.TraceRequest(direction=UP, value=value))


def test_cached_and_recovered_nodes(client: Client, tmp_path: Path) -> None:
    """A node that took its outputs from the cache, or from the execution that is recovered, leads to the node that made
    them, and that one leads down to both."""
    made = succeeded(client.run("lineages", "cached_wf", {"text": "once"})).id.name
    # With a name of its own it is no repetition of the same request.
    hit = succeeded(client.run("lineages", "cached_wf", {"text": "once"}, execution_name="lineage-hit")).id.name
    up = _trace(client, UP, value=_value(hit))
    assert [(step.execution.name, step.node_id) for step in up] == [(hit, "n0"), (made, "n0"), (made, "")]
    assert [link.kind for link in up[0].links] == [lineage_pb2.LINK_KIND_CACHED]
    (tmp_path / "broken").touch()
    inputs = {"folder": str(tmp_path), "text": "twice"}
    failed = client.run("lineages", "recovered_wf", inputs).id
    (tmp_path / "broken").unlink()
    request = execution_pb2.ExecutionRecoverRequest(id=execution_id(failed.name))
    recovered = client.remote.fetch_execution(name=client.admin.RecoverExecution(request).id.name)
    name = succeeded(client.wait(recovered)).id.name
    up = _trace(client, UP, value=_value(name))
    kinds = {(step.execution.name, step.node_id): [link.kind for link in step.links] for step in up}
    assert kinds[name, "n0"] == [lineage_pb2.LINK_KIND_RECOVERED]
    assert (failed.name, "n0") in kinds
    down = _trace(client, DOWN, value=_value(made, "n0"))
    assert (hit, "n0") in [(step.execution.name, step.node_id) for step in down]
    down = _trace(client, DOWN, value=_value(failed.name, "n0"))
    assert (name, "n0") in [(step.execution.name, step.node_id) for step in down]


def test_cached_elements(client: Client, installation: Installation) -> None:
    """Elements of a map that took their outputs from the cache lead to the maps that made them, element by element; the
    others were made from the inputs; and the makers lead down to the map."""
    first = succeeded(client.run("lineages", "halving_wf", {"numbers": [10, 20, 30]})).id.name
    second = succeeded(client.run("lineages", "halving_wf", {"numbers": [40]})).id.name
    taken = succeeded(client.run("lineages", "halving_wf", {"numbers": [50, 20, 30, 40]})).id.name
    up = _trace(client, UP, value=_value(taken))
    assert {(step.execution.name, step.node_id) for step in up} == {
        (name, node) for name in (taken, first, second) for node in ("n0", "")
    }
    assert [
        (getattr(link, "from").execution.name, [(run.first, run.count, run.source_first) for run in link.elements])
        for link in up[0].links
        if link.kind == lineage_pb2.LINK_KIND_CACHED
    ] == [(first, [(1, 2, 1)]), (second, [(3, 1, 0)])]
    assert all(step.entity.version for step in up)
    down = _trace(client, DOWN, value=_value(first, "n0"))
    assert [(step.execution.name, step.node_id) for step in down] == [(taken, "n0")]
    done = installation.wingbeat("lineage", taken, "--data-dir", str(installation.data_dir))
    assert f"cached outputs of {first} n0 (elements 1-2 from 1-2)" in done.stdout


def test_what_eager_tasks_launch(client: Client) -> None:
    """What an eager task returns leads up to the executions that it launched, at any depth, and what it was given leads
    down to them; their inputs come from the eager task, and their outputs go back to it."""
    name = succeeded(client.run("eager", "outer", {"x": 5})).id.name
    up = _trace(client, UP, value=_value(name))
    tasks = {step.entity.name.removeprefix("eager.") for step in up if step.node_id}
    assert tasks == {"outer", "add_one", "double", "step", "inner"}
    (outer,) = (step for step in up if step.execution.name == name and step.node_id)
    children = {
        getattr(link, "from").execution.name for link in outer.links if link.kind == lineage_pb2.LINK_KIND_EAGER
    }
    assert len(children) == 5
    for child in children:
        begun = [step for step in up if step.execution.name == child and not step.node_id]
        sources = {(link.kind, getattr(link, "from").execution.name) for step in begun for link in step.links}
        assert sources == {(lineage_pb2.LINK_KIND_EAGER, name)}
    down = _trace(client, DOWN, value=_value(name, variable="x"))
    assert {step.execution.name for step in down} == {step.execution.name for step in up}
    (inner,) = (step for step in up if "-inner-" in step.execution.name and step.node_id and "double" not in step.name)
    down = _trace(client, DOWN, value=_value(inner.execution.name, inner.node_id))
    assert (name, outer.node_id) in [(step.execution.name, step.node_id) for step in down]
