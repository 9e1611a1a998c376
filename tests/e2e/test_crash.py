"""`kill -9` at random moments of a running fan-out: everything ends right all the same.

The rule, for every task of every execution:

- a task whose node was SUCCEEDED when a process was killed does not run again: no line is added to its file;
- a task that finished, so that its last line stands in its file, has it once: what has run to its end is taken over,
  recorded or not, as the processes of tasks do not die with the process that started them;
- the execution ends SUCCEEDED with the right output.

When the whole machine goes (tasks and their hosts, too), or a clean stop ends running tasks, the second rule cannot
hold: a task may have written its last line and died before anything recorded its end. The others hold all the same.

Moments and victims come from a seed, which pytest prints; WINGBEAT_TEST_SEED replays it.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fanout import WIDTH
from flyteidl.admin import node_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from tests.e2e.client import Client, execution_id, phase
from tests.e2e.installation import Installation, running_installation, until

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = 3
SECONDS = 0.3
"""How long a task of the fan-out takes."""
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def victim() -> Iterator[Installation]:
    """An installation of this module's own: the tests leave it in pieces."""
    with running_installation() as installation:
        yield installation


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["propeller", "server", "postgres", "everything", "machine", "nothing"])
def test_killed(victim: Installation, tmp_path: Path, role: str, record_property) -> None:
    """One kind of process, or all at once, is killed several times while fifty tasks run; `nothing` is a clean stop."""
    dice = random.Random(f"{SEED} {role}")
    print(f"WINGBEAT_TEST_SEED={SEED}")
    record_property("seed", SEED)
    client = Client(victim.endpoint)
    execution = client.launch("fanout", "fanout_wf", {"folder": str(tmp_path), "seconds": SECONDS})
    for _ in range(KILLS):
        threshold = dice.randrange(1, WIDTH - 5)
        until(lambda least=threshold: _lines(tmp_path) >= least, timeout_s=TIMEOUT_S, what=f"{threshold} lines")
        time.sleep(dice.random() * SECONDS)  # the moment itself is what is drawn, not something to wait for
        finished = _finished_nodes(client, execution.id.name)
        before = {node: _mark(tmp_path, node) for node in finished}
        _kill(victim, role)
        client.close()
        client = Client(victim.endpoint)
        for node, text in before.items():
            assert _mark(tmp_path, node) == text, f"seed {SEED}: {node} ran again"
    ended = client.wait(client.remote.fetch_execution(name=execution.id.name), sync_nodes=False)
    client.close()
    assert phase(ended) == "SUCCEEDED", f"seed {SEED}: {ended.error.message if ended.error else ''}\n{victim.logs()}"
    assert ended.outputs["o0"] == sum(index * index for index in range(WIDTH))
    for mark in sorted(tmp_path.iterdir()):
        ends = [line for line in mark.read_text().splitlines() if line.startswith("end")]
        assert len(ends) >= 1 if role in ("machine", "nothing") else len(ends) == 1, (
            f"seed {SEED}: task {mark.name}\n{mark.read_text()}"
        )


@pytest.mark.timeout(300)
def test_two_engines(tmp_path: Path) -> None:
    """Executions of an engine that is killed again and again move on in the other; none is driven by both."""
    dice = random.Random(SEED)
    print(f"WINGBEAT_TEST_SEED={SEED}")
    with running_installation("--propellers", "2") as pair:
        client = Client(pair.endpoint)
        marks = [tmp_path / str(number) for number in range(4)]
        for mark in marks:
            mark.mkdir()
        launched = [client.launch("fanout", "fanout_wf", {"folder": str(mark)}) for mark in marks]
        for least in sorted(dice.sample(range(1, 2 * WIDTH), KILLS)):
            until(lambda least=least: sum(map(_lines, marks)) >= least, timeout_s=TIMEOUT_S, what=f"{least} lines")
            _kill(pair, dice.choice(["propeller-0", "propeller-1"]))
        for execution, mark in zip(launched, marks, strict=True):
            ended = client.wait(execution, sync_nodes=False)
            assert phase(ended) == "SUCCEEDED", f"seed {SEED}: {ended.error and ended.error.message}\n{pair.logs()}"
            ends = [line for path in mark.iterdir() for line in path.read_text().splitlines() if line.startswith("end")]
            assert len(ends) == WIDTH + 1, f"seed {SEED}"
        client.close()


def _kill(victim: Installation, role: str) -> None:
    """Kill, then wait until the installation is whole again."""
    if role == "nothing":
        victim.down()
        victim.up()
        return
    if role == "machine":
        victim.kill_everything()
        victim.up()
        return
    if role == "everything":
        victim.kill(victim.roles)
        victim.up()
        return
    roles = [name for name in victim.roles if name.startswith(role)]
    assert roles, f"{role} is not among {victim.roles}"
    former = {name: victim.pid(name) for name in roles}
    victim.kill(roles)
    until(
        lambda: victim.state["ready"] and all(victim.pid(name) not in (0, former[name]) for name in roles),
        what=f"the restart of {role}",
    )
    until(victim.answers, what=f"an answer after the restart of {role}")


def _lines(folder: Path) -> int:
    return sum(len(mark.read_text().splitlines()) for mark in folder.iterdir())


def _mark(folder: Path, node: str) -> str:
    """What the task of a node has written: node n7 belongs to file 07."""
    path = folder / f"{int(node.removeprefix('n')):02}"
    return path.read_text() if path.exists() else ""


def _finished_nodes(client: Client, name: str) -> list[str]:
    """Task nodes that are SUCCEEDED now; none while the server is away."""
    request = node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(name), limit=1000)
    try:
        page = client.admin.ListNodeExecutions(request, timeout=10)
    except grpc.RpcError:
        return []
    return [
        node.id.node_id
        for node in page.node_executions
        if node.closure.phase == core_execution_pb2.NodeExecution.SUCCEEDED and node.id.node_id.startswith("n")
    ]


def test_killed_with_a_reservation(victim: Installation, tmp_path: Path) -> None:
    """The engine that holds a reservation is killed while others wait for its call: the call goes on, is made once, and
    all share what comes of it."""
    client = Client(victim.endpoint)
    marks = tmp_path / "marks"
    given = {"marks": str(marks), "what": "a", "seconds": 5.0}
    names = [f"reserved-{number}-{tmp_path.name[-8:].lower().replace('_', '-')}" for number in range(4)]
    started = [client.launch("caching", "serialized", given, execution_name=name) for name in names]
    until(lambda: marks.exists() and "a begins" in marks.read_text(), what="a task that runs")
    victim.kill(["propeller-0"])
    ended = [client.wait(execution) for execution in started]
    assert [phase(execution) for execution in ended] == ["SUCCEEDED"] * 4
    assert len({execution.outputs["o0"] for execution in ended}) == 1
    assert marks.read_text().splitlines() == ["a begins", "a"]
    client.close()
