"""The Python client against a real installation, on programs of flytekit; its documentation runs as it stands."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pandas as pd
import pytest
from tests.e2e import client as flytekit_client
from tests.e2e.installation import Installation, until

import wingbeat
from wingbeat import ExecutionId, Kind, Launch, Level, NodePhase, Phase
from wingbeat.errors import (
    AlreadyExistsError,
    ConversionError,
    ExecutionFailedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    TransferError,
)

DOCUMENT = Path(__file__).parents[2] / "docs/python-client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def plain(installation: Installation) -> Iterator[wingbeat.Client]:
    """A client without flytekit."""
    with wingbeat.Client(data_dir=str(installation.data_dir)) as client:
        yield client


@pytest.fixture(scope="module")
def names(client: flytekit_client.Client) -> dict[str, str]:
    """Registered launch plans by short names."""
    wanted = {
        "hello": ("hello_world", "hello_world_wf"),
        "parcel": ("values", "parcel_wf"),
        "files": ("files", "upper_wf"),
        "gate": ("gates", "input_wf"),
        "approval": ("gates", "approval_wf"),
        "text": ("sizes", "text_wf"),
        "text input": ("sizes", "text_input_wf"),
    }
    return {short: client.register(*entity).id.name for short, entity in wanted.items()}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_documentation_runs(
    number: int, installation: Installation, names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example runs as it stands, in a folder of its own, and prints something."""
    assert names
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINGBEAT_ENDPOINT", installation.endpoint)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(EXAMPLES[number], f"{DOCUMENT}[{number}]", "exec"), {"__name__": "__main__"})
    assert printed.getvalue().strip()


class Size(Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


@dataclass
class Parcel:
    """Some fields of what the program calls so."""

    name: str
    size: Size
    label: wingbeat.File
    box: wingbeat.Directory
    table: wingbeat.DataFrame


def test_structures(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """A dataclass of the program becomes one of the caller's, and the files in it can be read."""
    execution = plain.wait(plain.launch(names["parcel"], {"name": "ada", "size": Size.LARGE}), timeout_s=120)
    assert plain.outputs(execution) == {"o0": ["ada", "large", "1.5", "to ada", "inside", "3"], "o1": "ada large 2"}
    assert plain.inputs(execution) == {"name": "ada", "size": "large"}
    parcel = plain.shape(Parcel, plain.node_outputs(execution, "n0")["o0"])
    assert (parcel.name, parcel.size, parcel.label.read_text()) == ("ada", Size.LARGE, "to ada")
    assert parcel.box.files()["inside.txt"].read_text() == "inside"
    assert list(parcel.table.to_pandas()["weight"]) == [1, 2]


def test_files(plain: wingbeat.Client, names: dict[str, str], tmp_path: Path) -> None:
    """Files, folders and tables go in from this machine and come out as handles."""
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "folder/sub/b c.txt").write_text("b")
    (tmp_path / "folder/a.txt").write_text("a")
    (tmp_path / "straße.txt").write_text("straße ✈", encoding="utf-8")
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]})
    inputs = {"file": tmp_path / "straße.txt", "folder": tmp_path / "folder", "frame": frame}
    outputs = plain.run(names["files"], inputs, timeout_s=120)
    assert outputs["o0"].read_text() == "STRASSE ✈"
    assert outputs["o0"].download(tmp_path).read_text(encoding="utf-8") == "STRASSE ✈"
    found = outputs["o1"].download(tmp_path / "out")
    texts = {str(path.relative_to(found)): path.read_text() for path in found.rglob("*") if path.is_file()}
    assert texts == {"below/below/a.txt": "A", "below/below/sub/b c.txt": "B"}
    pd.testing.assert_frame_equal(outputs["o2"].to_pandas(), frame * 2)
    assert [path.name for path in outputs["o2"].download(tmp_path / "table").iterdir()]


def test_many(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """Of many launches one is wrong: the others run, each is waited for once, and a repetition makes nothing new."""
    launches = [Launch(names["hello"], {"name": f"n{n}" if n != 3 else 3}, key=f"many-{n}") for n in range(12)]
    first = list(plain.launch_many(launches, items_max=5))
    assert [isinstance(one.error, ConversionError) for one in first] == [n == 3 for n in range(12)]
    started = [one.execution for one in first if one.execution]
    assert sorted(plain.wait_many(started, timeout_s=120)) == sorted(started)
    assert {plain.outputs(one)["o0"] for one in started} == {f"Hello, n{n}!" for n in range(12) if n != 3}
    again = [one.execution for one in plain.launch_many(launches) if one.execution]
    assert again == started


def test_many_of_which_some_are_no_launches(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """Whatever is wrong with one, found by the client or by the server it asks, leaves the others alone."""
    hello = names["hello"]
    wrong = {
        ConversionError: [
            Launch(hello, {"name": "a"}, priority=2**40),
            Launch(hello, {"name": "a"}, key="\ud800"),
            Launch(hello, {"name": "a"}, labels={"a": 1}),  # pyright: ignore[reportArgumentType]
        ],
        InvalidArgumentError: [Launch("x\0", {}), Launch("", {}), Launch(hello, {"name": "a"}, labels={"a": "-"})],
        NotFoundError: [Launch(hello, {"name": "a"}, project="nowhere")],
        TransferError: [Launch(hello, {"name": Path("/nothing/there")})],
    }
    for error, launches in wrong.items():
        for launch in launches:
            good = Launch(hello, {"name": "good"}, key="good")
            before, bad, after = plain.launch_many([good, launch, good])
            assert type(bad.error) is error, launch
            assert bad.execution is None
            assert before.require() == after.require()


def test_large_values(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """Values far beyond the size of an answer go in and come out whole."""
    outputs = plain.run(names["text"], {"length": 5_000_000}, timeout_s=120)
    assert outputs["o0"] == "0123456789" * 500_000
    text = "straße ✈" * 400_000
    (digest,) = plain.run(names["text input"], {"text": text}, timeout_s=120).values()
    assert digest.startswith(f"{len(text)} ")


def test_keys(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """The same key and content is the same execution; with other content it is an error that names the execution."""
    first = plain.launch(names["hello"], {"name": "one"}, key="keys-1", labels={"a": "b"})
    assert plain.launch(names["hello"], {"name": "one"}, key="keys-1", labels={"a": "b"}) == first
    with pytest.raises(AlreadyExistsError):
        plain.launch(names["hello"], {"name": "two"}, key="keys-1")
    with pytest.raises(InvalidArgumentError) as refused:
        plain.launch(names["hello"], {"name": "one"}, labels={"": "x"})
    assert refused.value.message


def test_a_watch_outlives_the_server(plain: wingbeat.Client, names: dict[str, str], installation: Installation) -> None:
    """While the server is killed again and again, each execution is seen to its end, and nothing comes twice."""
    labels = {"watched": "yes"}
    cursor = plain.cursor()
    launches = [Launch(names["hello"], {"name": f"w{n}"}, key=f"watched-{n}", labels=labels) for n in range(20)]
    started: list[ExecutionId] = []
    seen: list[tuple[str, str, str]] = []
    ended: dict[ExecutionId, Phase] = {}
    stream = plain.watch(levels=[Level.EXECUTION, Level.NODE], cursor=cursor, labels=labels)
    for portion in (launches[:7], launches[7:14], launches[14:]):
        started += [one.require() for one in plain.launch_many(portion)]
        while len(ended) < len(started):
            one = next(stream)
            seen.append((one.execution.name, one.node, f"{one.phase}-{one.attempt}"))
            if one.level is Level.EXECUTION and one.is_final:
                assert isinstance(one.phase, Phase)
                ended[one.execution] = one.phase
            if len(seen) % 20 == 5:
                installation.kill(["server"])
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]
    until(installation.answers, what="a server")
    assert set(ended.values()) == {Phase.SUCCEEDED}
    assert sorted(ended) == sorted(started)
    assert len(seen) == len(set(seen))


def test_gates(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """A gate is found, refuses a value of another type, takes one of its own, and the execution goes on."""
    execution = plain.launch(names["gate"], {"report": "r"})
    until(lambda: [one.id for one in plain.signals(execution) if not one.is_set] == ["title"], what="the gate")
    with pytest.raises(ConversionError, match="title: 3 is no text"):
        plain.signal(execution, "title", 3)
    with pytest.raises(NotFoundError, match="waited for: title"):
        plain.signal(execution, "other", "x")
    plain.signal(execution, "title", "T")
    assert plain.wait(execution, timeout_s=60).succeeded
    assert plain.outputs(execution) == {"o0": "T: r"}
    assert [(one.id, one.value) for one in plain.signals(execution)] == [("title", "T")]
    with pytest.raises(FailedPreconditionError, match="has ended"):
        plain.signal(execution, "title", "too late")
    assert [(one.id, one.value) for one in plain.signals(execution)] == [("title", "T")]


def test_changes(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """Abort, relaunch, recover, and what is said about each."""
    execution = plain.launch(names["approval"], {"number": 2}, name="changes-1")
    until(lambda: list(plain.signals(execution)), what="the gate")
    assert plain.why(execution).sentence
    plain.terminate(execution, "not needed")
    ended = plain.wait(execution, timeout_s=60)
    assert (ended.phase, ended.failure and ended.failure.message) == (Phase.ABORTED, "not needed")
    with pytest.raises(ExecutionFailedError, match="ABORTED"):
        plain.outputs(execution)
    with pytest.raises(AlreadyExistsError):
        plain.launch(names["approval"], {"number": 3}, name="changes-1")
    recovered = plain.recover(execution)
    again = plain.relaunch(execution)
    for one in (recovered, again):
        until(lambda one=one: list(plain.signals(one)), what="the gate")
        plain.signal(one, "fine")
        assert plain.wait(one, timeout_s=60).succeeded
        assert plain.outputs(one) == {"o0": 8}
    phases = {node.id: node.phase for node in plain.nodes(recovered)}
    assert NodePhase.RECOVERED in phases.values()
    assert recovered in [one.id for one in plain.executions(launch_plan=names["approval"])]


def test_what_is_registered(plain: wingbeat.Client, names: dict[str, str]) -> None:
    """Projects, names and versions, and an entity's interface."""
    assert "flytesnacks" in [project.id for project in plain.projects()]
    for kind in Kind:
        assert "hello_world.greet" if kind is Kind.TASK else names["hello"] in list(plain.names(kind))
    (newest,) = plain.launch_plans(names["hello"], limit=1)
    entity = plain.entity(names["hello"])
    assert (entity.id.version, set(entity.inputs)) == (newest.id.version, {"name"})
    assert [task.id.name for task in plain.tasks("hello_world.greet", limit=1)] == ["hello_world.greet"]
    assert [one.id.name for one in plain.workflows(names["hello"], limit=1)] == [names["hello"]]
