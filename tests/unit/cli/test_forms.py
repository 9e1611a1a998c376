"""What people type as inputs, and the forms in which commands answer."""

import gc
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from flyteidl.core import types_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat import Phase
from wingbeat.cli import COMMANDS
from wingbeat.cli.enum_names import named
from wingbeat.cli.kinds import KINDS, find_kind, type_text
from wingbeat.cli.output import fail, say, say_table
from wingbeat.cli.refusals import refusal, silence
from wingbeat.cli.typed_inputs import pairs, parse_value, read_inputs
from wingbeat.cli.yaml_text import to_yaml
from wingbeat.errors import ConversionError

SIMPLE = types_pb2.SimpleType
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="\ufeff\ufffe\uffff"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def simple(kind: int) -> types_pb2.LiteralType:
    """A type without parts."""
    return types_pb2.LiteralType(simple=kind)


def optional(kind: types_pb2.LiteralType) -> types_pb2.LiteralType:
    """That type, or nothing."""
    return types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=[kind, simple(SIMPLE.NONE)]))


@given(JSON)
def test_yaml(value: Any) -> None:
    """Any reader of YAML finds the same value."""
    assert yaml.safe_load(to_yaml(value)) == value


def test_yaml_is_for_people() -> None:
    """Blocks, and quotes only where they are needed."""
    document = {"name": "a b", "list": [{"a": 1}, [], "true"], "empty": {}, "text": "x: y"}
    assert to_yaml(document) == 'name: a b\nlist:\n  - a: 1\n  - []\n  - "true"\nempty: {}\ntext: "x: y"\n'


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", simple(SIMPLE.INTEGER), 3),
        ("3", simple(SIMPLE.STRING), "3"),
        ("true", simple(SIMPLE.BOOLEAN), True),
        ("90s", simple(SIMPLE.DURATION), "90s"),
        ("[1, 2]", types_pb2.LiteralType(collection_type=simple(SIMPLE.INTEGER)), [1, 2]),
        ('{"a": [1]}', simple(SIMPLE.STRUCT), {"a": [1]}),
        ("plain words", simple(SIMPLE.STRUCT), "plain words"),
        ("AAE=", simple(SIMPLE.BINARY), b"\x00\x01"),
        ("s3://bucket/key", types_pb2.LiteralType(blob=types_pb2.BlobType()), "s3://bucket/key"),
        ("3", None, 3),
        ("3", optional(simple(SIMPLE.STRING)), "3"),
        ("null", optional(simple(SIMPLE.STRING)), None),
        ("3", optional(simple(SIMPLE.INTEGER)), 3),
        ("Infinity", simple(SIMPLE.FLOAT), math.inf),
    ],
)
def test_typed_values(text: str, kind: types_pb2.LiteralType | None, value: object) -> None:
    """A text is read by the type that is wanted."""
    assert parse_value(text, kind) == value


def test_an_output_that_cannot_be_written() -> None:
    """One sentence, and no traceback."""
    command = [sys.executable, "-c", "from wingbeat.cli import main; main()", "version"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: what there is to say cannot be written: No space left on device\n"


def test_files_are_paths_of_this_machine(tmp_path: Path) -> None:
    """Where a file is wanted and a file is named, it is meant, in lists of JSON too."""
    file = tmp_path / "a.txt"
    file.touch()
    blob = types_pb2.LiteralType(blob=types_pb2.BlobType())
    assert parse_value(str(file), blob) == file
    assert parse_value(json.dumps([str(file)]), types_pb2.LiteralType(collection_type=blob)) == [file]


def test_inputs_from_everywhere(tmp_path: Path) -> None:
    """A file of JSON or JSON itself, and assignments over it; what is neither says what to write."""
    types = {"a": simple(SIMPLE.STRING), "b": simple(SIMPLE.INTEGER)}
    file = tmp_path / "inputs.json"
    file.write_text('{"a": "x", "b": 1}')
    assert read_inputs(["b=2"], str(file), types) == {"a": "x", "b": 2}
    assert read_inputs([], '{"a": "y"}', types) == {"a": "y"}
    for assignments, source in (
        (["a"], None),
        (["=1"], None),
        ([], "absent.json"),
        ([], "{"),
        ([], '{"a": 1'),
    ):
        with pytest.raises(ConversionError):
            read_inputs(assignments, source, types)
    file.write_text("[1]")
    with pytest.raises(ConversionError, match="no JSON object"):
        read_inputs([], str(file), types)


def test_names_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    """Identifiers have parts between colons, which must come out as they are."""
    say("[bold]a:a:b[/] and p:x:y")
    say_table(["key:b:7"], [])
    with pytest.raises(typer.Exit):
        fail("artifact:a:b is not there")
    shown = capsys.readouterr()
    assert shown.out.split("\n")[:2] == ["a:a:b and p:x:y", "key:b:7"]
    assert shown.err == "Error: artifact:a:b is not there\n"


def test_tables_are_never_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal, too, a cell stands whole on its line, and nothing is behind the last one."""
    monkeypatch.setenv("COLUMNS", "40")
    long = "n" * 50
    say_table(["name", "phase", "error"], [[long, "[green]DONE[/]", "-"], ["b", "[red]FAILED[/]", "a b " * 20]])
    first, second, third = capsys.readouterr().out.rstrip("\n").split("\n")
    assert first == f"name{' ' * 46}  phase   error"
    assert second == f"{long}  DONE    -"
    assert third == f"b{' ' * 49}  FAILED  {('a b ' * 20).rstrip()}"


def test_refusals() -> None:
    """What is not there is named as people type it; all else stays as the server says it."""
    place = 'project: "p" domain: "d" name: "x"'
    known = {
        f"missing entity of type execution with identifier {place}": "there is no execution p/d/x",
        f'missing entity of type TASK with identifier resource_type: TASK {place} version: "v1"': (
            "there is no task p/d/x@v1"
        ),
        f'missing entity of type node execution with identifier node_id: "n0" execution_id {{ {place} }}': (
            "there is no node 'n0' of the execution p/d/x"
        ),
        "missing entity of type execution with identifier p/d/x": "there is no execution p/d/x",
        "missing entity, somehow": "missing entity, somehow",
    }
    assert {message: refusal(message) for message in known} == known
    said = "failed to connect to all addresses; last error: UNKNOWN: ipv6:%5B::1%5D:1: Connection refused"
    assert silence("localhost:1", said).startswith("the server at localhost:1 does not answer: Connection refused (")
    assert "answer: too slow (" in silence("localhost:1", "too slow")


def test_pairs_and_names() -> None:
    """Labels and phases as they are typed; an error says what there is."""
    assert pairs(["a=1", "b=x=y"], "label") == {"a": "1", "b": "x=y"}
    with pytest.raises(ConversionError, match="KEY=VALUE"):
        pairs(["a"], "label")
    assert named(Phase, "timed-out") is Phase.TIMED_OUT
    with pytest.raises(ValueError, match="succeeded"):
        named(Phase, "done")


def test_kinds() -> None:
    """Plurals and other spellings are understood; every kind has as many headings as cells are made for it."""
    assert [find_kind(text)[0] for text in ("Executions", "launch_plans", "lp", "batches", "nodes")] == [
        "execution",
        "launch-plan",
        "launch-plan",
        "batch",
        "node",
    ]
    with pytest.raises(ValueError, match="known are: execution"):
        find_kind("pod")
    assert {"execution", "node", "attempt", "task", "workflow", "launch-plan", "project", "signal"} <= KINDS.keys()


def test_types_in_words() -> None:
    """Short enough for a cell."""
    union = types_pb2.UnionType(variants=[simple(SIMPLE.INTEGER), simple(SIMPLE.NONE)])
    listed = types_pb2.LiteralType(collection_type=types_pb2.LiteralType(union_type=union))
    assert type_text(types_pb2.LiteralType(map_value_type=listed)) == "{[integer | none]}"


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.server])
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the client explains itself."""
    from wingbeat.cli import main

    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    gc.enable()  # a command does without
    assert not ended.value.code
    assert "Usage" in capsys.readouterr().out
