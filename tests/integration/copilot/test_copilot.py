"""The copilot over a folder of blobs: what the program finds, and what becomes of what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from flyteidl.core import execution_pb2, literals_pb2, types_pb2
from tests.integration.copilot.conftest import FILE, FOLDER, INTEGER, STRING, Attempt, blob, integer

USER, SYSTEM = execution_pb2.ExecutionError.USER, execution_pb2.ExecutionError.SYSTEM
RECOVERABLE = 1


def test_values_in_and_out(attempt: Attempt) -> None:
    """Inputs are files at the paths of the template, files left there are the outputs; an extension does not matter."""
    done = attempt.run(
        "echo $(( $(cat /var/inputs/a) + $(cat /var/inputs/b) )) > /var/outputs/sum.txt; echo hello; pwd",
        {"a": integer(2), "b": integer(40)},
        {"sum": INTEGER},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["hello", str(attempt.work)]
    assert attempt.outputs() == {"sum": integer(42)}


def test_environment(attempt: Attempt) -> None:
    """The program has its own environment and no standard input; two variables tell it the folders."""
    done = attempt.run("cat; env", env={"MINE": "/var/inputs/x"})
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    shown = "/var" if attempt.paths == "mounted" else str(attempt.folder)
    assert variables["MINE"] == f"{shown}/inputs/x"
    assert variables["WINGBEAT_INPUT_PATH"] == f"{shown}/inputs"
    assert variables["WINGBEAT_OUTPUT_PATH"] == f"{shown}/outputs"
    assert "COPILOT_ONLY" not in variables


@pytest.mark.parametrize("form", ["json", "yaml", "proto"])
def test_documents(attempt: Attempt, form: str) -> None:
    """All inputs together lie beside the files, in the form that was asked for, with local paths; inputs.pb always."""
    inputs = {"n": integer(7), "f": blob(attempt.put("f", b"content"))}
    attempt.run(
        "mkdir /var/outputs/all; cp /var/inputs/inputs.* /var/outputs/all", inputs, {"all": FOLDER}, format=form
    )
    folder = Path(attempt.outputs()["all"].scalar.blob.uri)
    names = {"inputs.pb"} if form == "proto" else {"inputs.pb", f"inputs.{form}"}
    assert {path.name for path in folder.iterdir()} == names
    shown = "/var/inputs/f" if attempt.paths == "mounted" else f"{attempt.folder}/inputs/f"
    literals = literals_pb2.LiteralMap.FromString((folder / "inputs.pb").read_bytes()).literals
    assert literals["f"].scalar.blob.uri == shown
    if form != "proto":
        read = {"json": json.loads, "yaml": yaml.safe_load}[form]
        assert read((folder / f"inputs.{form}").read_text()) == {"n": 7, "f": shown}


def test_files_and_folders(attempt: Attempt) -> None:
    """A file is a copy of its own; folders keep their structure both ways; outputs lie below the raw prefix."""
    original = attempt.put("f", b"original\n")
    for name in ("a", "below/b", "below/deeper/c"):
        attempt.put(f"d/{name}", name.encode())
    done = attempt.run(
        "echo more >> /var/inputs/f; cp /var/inputs/f /var/outputs/f.txt; cp -r /var/inputs/d /var/outputs/d",
        {"f": blob(original), "d": blob(f"{attempt.blobs}/d", FOLDER)},
        {"f": FILE, "d": FOLDER},
    )
    assert done.returncode == 0, done.stderr
    outputs = attempt.outputs()
    assert outputs["f"].scalar.blob.metadata.type.format == "txt"
    assert outputs["f"].scalar.blob.uri == f"{attempt.files.raw_output_prefix}/f"
    assert Path(outputs["f"].scalar.blob.uri).read_text() == "original\nmore\n"
    assert Path(original).read_text() == "original\n"
    folder = Path(outputs["d"].scalar.blob.uri)
    assert folder == Path(f"{attempt.files.raw_output_prefix}/d")
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()} == {
        name: name for name in ("a", "below/b", "below/deeper/c")
    }


def test_an_empty_folder(attempt: Attempt) -> None:
    """An output folder with nothing in it is an empty folder for the next task."""
    attempt.run("mkdir /var/outputs/d", {}, {"d": FOLDER})
    uri = attempt.outputs()["d"].scalar.blob.uri
    assert list(Path(uri).iterdir()) == []
    attempt.run("ls -a /var/inputs/d > /var/outputs/names", {"d": blob(uri, FOLDER)}, {"names": STRING})
    assert attempt.outputs()["names"].scalar.primitive.string_value.split() == [".", ".."]


def test_an_input_is_the_program(attempt: Attempt) -> None:
    """Files are copied executable, so that a script can be an input."""
    script = attempt.put("script", b"#!/bin/sh\necho 3 > $WINGBEAT_OUTPUT_PATH/x\n")
    done = attempt.run("exec /var/inputs/script", {"script": blob(script)}, {"x": INTEGER})
    assert done.returncode == 0, done.stderr
    assert attempt.outputs() == {"x": integer(3)}


def test_offloaded_literals(attempt: Attempt) -> None:
    """A literal that lies in an object of its own is read."""
    uri = attempt.put("offloaded.pb", integer(9).SerializeToString())
    offloaded = literals_pb2.Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(uri=uri))
    attempt.run("cp /var/inputs/x /var/outputs/x", {"x": offloaded}, {"x": INTEGER})
    assert attempt.outputs() == {"x": integer(9)}


def test_references_instead_of_copies(attempt: Attempt) -> None:
    """A task that wants no downloads and no uploads handles URIs."""
    attempt.run(
        "grep -o 's3://there/x' /var/inputs/inputs.json > /var/outputs/f; test ! -e /var/inputs/f",
        {"f": blob("s3://there/x")},
        {"f": FILE},
        downloads=False,
        uploads=False,
    )
    assert attempt.outputs()["f"].scalar.blob.uri == "s3://there/x"


@pytest.mark.parametrize(("end", "code"), [("exit 0", 0), ("exit 3", 3)])
def test_an_error_file(attempt: Attempt, end: str, code: int) -> None:
    """The text of `_ERROR` is the error, whatever the exit code, and outputs do not count."""
    done = attempt.run(f"echo 1 > /var/outputs/x; echo 'no beans' > /var/outputs/_ERROR; {end}", {}, {"x": INTEGER})
    assert done.returncode == 0, code
    error = attempt.error()
    assert (error.code, error.message, error.origin, error.kind) == ("UserError", "no beans", USER, RECOVERABLE)
    assert not (attempt.blobs / "n0/data/0/outputs.pb").exists()


def test_a_program_that_fails(attempt: Attempt) -> None:
    """Its exit code and its last words are all there is; nothing is copied out."""
    done = attempt.run("echo 1 > /var/outputs/x; echo oh no >&2; exit 7", {}, {"x": INTEGER})
    assert done.returncode == 7
    assert done.stderr.endswith("oh no\n")
    assert not (attempt.blobs / "n0/data/0").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_program_that_is_killed(attempt: Attempt, number: int) -> None:
    """The copilot ends by the same signal."""
    assert attempt.run(f"kill -{int(number)} $$", {}, {"x": INTEGER}).returncode == -number


def test_a_polite_end_is_the_programs_own(attempt: Attempt, tmp_path: Path) -> None:
    """A program that is told to stop may clean up; then the attempt counts as stopped, however the program ended."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    script = (
        f"trap 'echo cleaned; exit 0' TERM; echo 1 > /var/outputs/x; echo go > {ready}; while :; do sleep 0.01; done"
    )
    process = attempt.start(script, {}, {"x": INTEGER})
    assert ready.read_text() == "go\n"
    os.killpg(process.pid, signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert stdout == "cleaned\n"
    assert process.returncode == -signal.SIGTERM
    assert not (attempt.blobs / "n0/data/0").exists()


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("true", INTEGER, "output 'x': the command left no file"),
        ("echo 1 > /var/outputs/x.a; echo 2 > /var/outputs/x.b", INTEGER, "several files for it: x.a, x.b"),
        ("echo one > /var/outputs/x", INTEGER, "'one' is no value of type integer"),
        ("mkdir /var/outputs/x", INTEGER, "is no file"),
        ("mkdir /var/outputs/x", FILE, "declared as a file"),
        ("echo 1 > /var/outputs/x", FOLDER, "declared as a folder"),
        ("mkdir /var/outputs/x; mkfifo /var/outputs/x/p", FOLDER, "neither a file nor a folder"),
        ("mkdir /var/outputs/x; ln -s / /var/outputs/x/root", FOLDER, "neither a file nor a folder"),
        ("echo 1 > /var/outputs/x", types_pb2.LiteralType(collection_type=INTEGER), "List[Integer]"),
        ("mkdir /var/outputs/_ERROR", INTEGER, "_ERROR is a folder"),
    ],
)
def test_wrong_outputs(attempt: Attempt, script: str, kind: types_pb2.LiteralType, words: str) -> None:
    """The error names the output and says what is wrong with it; no outputs.pb is written."""
    done = attempt.run(script, {}, {"x": kind})
    assert done.returncode == 0
    error = attempt.error()
    assert (error.code, error.origin, error.kind) == ("OutputUploadFailed", USER, RECOVERABLE)
    assert words in error.message
    assert words in done.stderr
    assert not (attempt.blobs / "n0/data/0/outputs.pb").exists()


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("{blobs}/absent", FILE, "there is no file at"),
        ("{blobs}/absent", FOLDER, "there is no file at"),
        ("/nowhere/absent", FILE, "there is no file at /nowhere/absent"),
        ("s3://there/x", FILE, "outside of the store"),
        ("gs://there/x", FOLDER, "the scheme 'gs' is not known"),
        ("", FILE, "an empty URI"),
    ],
)
def test_inputs_that_cannot_be_had(attempt: Attempt, uri: str, kind: types_pb2.LiteralType, words: str) -> None:
    """The error names the URI, and the program does not start."""
    uri = uri.format(blobs=attempt.blobs)
    done = attempt.run("echo started", {"x": blob(uri, kind)})
    assert (done.returncode, done.stdout) == (0, "")
    error = attempt.error()
    assert (error.code, error.origin, error.kind) == ("InputDownloadFailed", USER, RECOVERABLE)
    assert words in error.message


def test_a_second_run_starts_clean(attempt: Attempt) -> None:
    """What an earlier run of the same attempt left behind is gone."""
    attempt.run("echo 1 > /var/outputs/x; echo 1 > /var/outputs/_ERROR", {}, {"x": INTEGER})
    (attempt.blobs / "n0/data/0/error.pb").unlink()
    attempt.run("true", {}, {"x": INTEGER})
    assert "no file" in attempt.error().message


def test_large_files_are_streamed(attempt: Attempt) -> None:
    """A file far larger than the memory that the copilot may use passes in and out."""
    size = 400 << 20
    uri = attempt.put("large", b"")
    os.truncate(uri, size)
    process = attempt.start("mv /var/inputs/large /var/outputs/large", {"large": blob(uri)}, {"large": FILE})
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _peak_kib(process.pid))
        time.sleep(0.005)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert Path(attempt.outputs()["large"].scalar.blob.uri).stat().st_size == size
    assert 0 < peak_kib < 128 << 10


def _peak_kib(pid: int) -> int:
    """Most memory that a process has had since its program began; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def test_paths_that_cannot_be_mounted(tmp_path: Path) -> None:
    """Where the paths would hide what the task needs they are rewritten instead, or refused when that is forbidden."""
    attempt = Attempt(tmp_path, "auto")
    done = attempt.run(f"echo 1 > {tmp_path}/x", {}, {"x": INTEGER}, output_path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert attempt.outputs() == {"x": integer(1)}
    assert "no private mounts here" in done.stderr
    assert not (tmp_path / "x").exists()
    (attempt.blobs / "n0/data/0/outputs.pb").unlink()
    attempt.paths = "mounted"
    attempt.run("true", {}, {"x": INTEGER}, output_path=str(tmp_path))
    error = attempt.error()
    assert (error.code, error.origin, error.kind) == ("ContainerPathsNotPermitted", SYSTEM, 0)
    assert "container_paths" in error.message


def test_a_process_that_may_not_stays_where_it_is(tmp_path: Path) -> None:
    """When something does not work out the process is in the namespaces it was in, with its files as they were."""
    script = """
import os, sys
from wingbeat_propeller.copilot.mounts import NotPermittedError, enter
before = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "user")]
try:
    enter({"/var/wb-test": sys.argv[1] + "/absent"}, sys.argv[1] + "/scratch", keep=())
except NotPermittedError as error:
    print(error)
assert before == [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "user")]
open(sys.argv[1] + "/file", "w").close()
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert (tmp_path / "file").exists()
    assert not os.path.exists("/var/wb-test")


def test_other_paths_stay(attempt: Attempt) -> None:
    """Nothing appears on the machine's own file system, also where the path is right below the root; everything else is
    there for the program."""
    paths = {"input_path": "/wb-test-in/deep", "output_path": "/var/wb-test-out"}
    script = "cat /wb-test-in/deep/n > /var/wb-test-out/n; ls -d /bin/sh /proc/self /dev/null; test -d /var/tmp"
    done = attempt.run(script, {"n": integer(5)}, {"n": INTEGER}, **paths)
    assert done.returncode == 0, done.stderr
    assert attempt.outputs() == {"n": integer(5)}
    assert not os.path.exists("/wb-test-in")
    assert not os.path.exists("/var/wb-test-out")
