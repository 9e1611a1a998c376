"""Overlap policies and deadlines as flytekit's users set them, and one at a time over `kill -9` of everything.

Moments and victims come from a seed, which pytest prints; WINGBEAT_TEST_SEED replays it.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import literals_pb2
from flytekit import Options
from flytekit.models.common import Annotations
from tests.e2e.client import Client, create_request, execution_id, phase, succeeded
from tests.e2e.installation import Installation, running_installation, until

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
COUNT = 10
KILLS = 3


@pytest.fixture
def pair() -> Iterator[Installation]:
    """An installation of this test's own, with two engines."""
    with running_installation("--propellers", "2") as running:
        yield running


def _lines(folder: Path) -> list[list[str]]:
    file = folder / "lines"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _phase(client: Client, name: str) -> str:
    return phase(client.remote.fetch_execution(name=name))


def _relaunch_request(
    client: Client, source: Any, **inputs: literals_pb2.Literal
) -> execution_pb2.ExecutionCreateRequest:
    request = create_request(client.register("overlap", "attend_wf"))
    request.inputs.CopyFrom(literals_pb2.LiteralMap(literals=inputs))
    request.spec.metadata.reference_execution.CopyFrom(execution_id(source.id.name))
    return request


@pytest.mark.timeout(300)
def test_one_at_a_time(pair: Installation, tmp_path: Path) -> None:
    """Of ten executions at once, under kills of engines and server, no task starts before the one before has ended, and
    they come in the order of launch; each task runs once."""
    dice = random.Random(SEED)
    print(f"WINGBEAT_TEST_SEED={SEED}")
    client = Client(pair.endpoint)
    names = [f"one-at-a-time-{number}" for number in range(COUNT)]
    for name in names:
        client.launch("overlap", "queued", {"folder": str(tmp_path), "seconds": 0.2}, execution_name=name)
    for least in sorted(dice.sample(range(1, 2 * COUNT - 2), KILLS)):
        until(lambda least=least: len(_lines(tmp_path)) >= least, timeout_s=120, what=f"{least} lines\n{pair.logs()}")
        victims = dice.choice([["propeller-0"], ["propeller-1"], ["propeller-0", "propeller-1"], ["server"]])
        former = {role: pair.pid(role) for role in victims}
        pair.kill(victims)
        until(
            lambda former=former: (
                pair.state["ready"] and all(pair.pid(role) not in (0, pid) for role, pid in former.items())
            ),
            what=f"the restart of {victims}",
        )
    until(pair.answers, what="an answer")
    client.close()
    client = Client(pair.endpoint)
    for name in names:
        execution = client.wait(client.remote.fetch_execution(name=name), sync_nodes=False)
        assert phase(execution) == "SUCCEEDED", f"seed {SEED}: {execution.error}\n{pair.logs()}"
    client.close()
    expected = [[word, name] for name in names for word in ("start", "end")]
    assert _lines(tmp_path) == expected, f"seed {SEED}"


def test_children_wait_their_turn(client: Client, tmp_path: Path) -> None:
    """Executions of launch plan nodes obey as well: of three at once each starts after the one before has ended."""
    family = succeeded(client.run("overlap", "family_wf", {"folder": str(tmp_path), "seconds": 0.1}))
    children = {family.outputs[name] for name in ("o0", "o1", "o2")}
    lines = _lines(tmp_path)
    assert [word for word, _ in lines] == ["start", "end"] * 3
    assert [name for _, name in lines[::2]] == [name for _, name in lines[1::2]]
    assert {name for _, name in lines} == children


def test_the_newest_replaces(client: Client, tmp_path: Path) -> None:
    """The second launch has the first aborted, which says by whom, and begins after it."""
    first = client.launch("overlap", "replaced", {"folder": str(tmp_path), "seconds": -1.0})
    until(lambda: _lines(tmp_path), what="the start of the first")
    second = succeeded(client.run("overlap", "replaced", {"folder": str(tmp_path), "seconds": 0.0}))
    ended = client.wait(first, sync_nodes=False)
    assert phase(ended) == "ABORTED"
    assert second.id.name in ended.closure.abort_metadata.cause
    names = [first.id.name, second.id.name]
    assert _lines(tmp_path) == [["start", names[0]], ["start", names[1]], ["end", names[1]]]


def test_deadlines(client: Client, tmp_path: Path) -> None:
    """An execution past its deadline, and one that waits beyond its queue deadline, end TIMED_OUT with the reason."""
    inputs = {"folder": str(tmp_path), "seconds": -1.0}
    limited = Options(annotations=Annotations({"wingbeat.dev/deadline": "2s"}))
    running = client.launch("overlap", "queued", inputs, options=limited)
    until(lambda: _phase(client, running.id.name) == "RUNNING", what="the begin of the first")
    patient = Options(annotations=Annotations({"wingbeat.dev/queue-deadline": "300ms"}))
    waiting = client.launch("overlap", "queued", inputs, options=patient)
    ended = client.wait(waiting, sync_nodes=False)
    assert phase(ended) == "TIMED_OUT"
    assert "did not begin within its queue deadline (0.3 s)" in ended.error.message
    ended = client.wait(running)
    assert phase(ended) == "TIMED_OUT"
    assert "longer than its deadline allows (2 s)" in ended.error.message


def test_mistakes(client: Client, tmp_path: Path) -> None:
    """A deadline that cannot be read is refused with a sentence."""
    options = Options(annotations=Annotations({"wingbeat.dev/deadline": "soon"}))
    with pytest.raises(Exception, match="a duration such as 90s or 1h30m is expected"):
        client.launch("overlap", "attend_wf", {"folder": str(tmp_path), "seconds": 0.0}, options=options)


def test_relaunch_with_other_inputs(client: Client, tmp_path: Path) -> None:
    """A creation that refers to an execution is its relaunch: with its own inputs, and shown as such to flytekit."""
    source = succeeded(client.run("overlap", "attend_wf", {"folder": str(tmp_path), "seconds": 0.0}))
    other = tmp_path / "other"
    other.mkdir()
    primitive = literals_pb2.Primitive(string_value=str(other))
    folder = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
    seconds = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(float_value=0.0)))
    answer = client.admin.CreateExecution(_relaunch_request(client, source, folder=folder, seconds=seconds))
    again = succeeded(client.wait(client.remote.fetch_execution(name=answer.id.name)))
    assert again.outputs["o0"] == answer.id.name
    assert len(_lines(other)) == 2
    assert again.spec.metadata.mode == execution_pb2.ExecutionMetadata.RELAUNCH
    assert again.spec.metadata.reference_execution.name == source.id.name
    request = _relaunch_request(client, source)
    request.spec.metadata.reference_execution.name = "nothing"
    with pytest.raises(grpc.RpcError) as refused:
        client.admin.CreateExecution(request)
    assert refused.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
