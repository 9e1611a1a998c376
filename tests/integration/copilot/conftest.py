"""One attempt of a raw container, run by the real copilot over a real folder of blobs."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flyteidl.core import errors_pb2, interface_pb2, literals_pb2, types_pb2

from wingbeat_propeller.container_files import ContainerFiles, ContainerPaths, CopilotJob
from wingbeat_propeller.copilot.mounts import refusal

INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
STRING = types_pb2.LiteralType(simple=types_pb2.STRING)
FILE = types_pb2.LiteralType(blob=types_pb2.BlobType(format="txt"))
FOLDER = types_pb2.LiteralType(blob=types_pb2.BlobType(dimensionality=types_pb2.BlobType.MULTIPART))


class Attempt:
    """Inputs and outputs of one run; `store` describes the blob store, the folder `blobs` unless a test changes it."""

    def __init__(self, folder: Path, paths: ContainerPaths) -> None:
        self.blobs = folder / "blobs"
        self.folder = folder / "attempt"
        self.work = folder / "work"
        self.work.mkdir()
        self.paths: ContainerPaths = paths
        self.store: Mapping[str, object] = {"folder": str(self.blobs)}
        self.files = ContainerFiles(
            input_path="/var/inputs",
            output_path="/var/outputs",
            format="json",
            inputs_uri=f"{self.blobs}/n0/data/inputs.pb",
            output_prefix=f"{self.blobs}/n0/data/0",
            raw_output_prefix=f"{self.blobs}/raw/n0-0",
            outputs=b"",
        )

    def put(self, name: str, content: bytes) -> str:
        """A blob; returns its URI."""
        path = self.blobs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def start(
        self,
        script: str,
        inputs: Mapping[str, literals_pb2.Literal] | None = None,
        outputs: Mapping[str, types_pb2.LiteralType] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        **files: object,
    ) -> "subprocess.Popen[str]":
        """Start the copilot with a shell script as the container's program."""
        self.put("n0/data/inputs.pb", literals_pb2.LiteralMap(literals=inputs or {}).SerializeToString())
        variables = {name: interface_pb2.Variable(type=kind) for name, kind in (outputs or {}).items()}
        declared = interface_pb2.VariableMap(variables=variables).SerializeToString()
        job = CopilotJob(
            files=dataclasses.replace(self.files, outputs=declared, **files),  # pyright: ignore[reportArgumentType]
            folder=str(self.folder),
            paths=self.paths,
            program="/bin/sh",
            argv=["sh", "-ec", script],
            env={"PATH": os.environ["PATH"], **(env or {})},
            store=self.store,
        )
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "wingbeat_propeller.copilot"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.work,
            env={"PATH": os.environ["PATH"], "COPILOT_ONLY": "secret"},
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(job.to_json())
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, script: str, *args: object, **kwargs: object) -> "subprocess.CompletedProcess[str]":
        """The same, to its end."""
        process = self.start(script, *args, **kwargs)  # pyright: ignore
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def outputs(self) -> Mapping[str, literals_pb2.Literal]:
        """What outputs.pb says; AssertionError with the error, if there is one."""
        assert not (self.blobs / "n0/data/0/error.pb").exists(), self.error()
        return literals_pb2.LiteralMap.FromString((self.blobs / "n0/data/0/outputs.pb").read_bytes()).literals

    def error(self) -> errors_pb2.ContainerError:
        """What error.pb says."""
        return errors_pb2.ErrorDocument.FromString((self.blobs / "n0/data/0/error.pb").read_bytes()).error


# Most containers forbid private mounts.
@pytest.fixture(params=["rewritten"] if refusal() else ["mounted", "rewritten"])
def attempt(request: pytest.FixtureRequest, tmp_path: Path) -> Attempt:
    """An attempt whose program finds its folders in the one way and in the other."""
    return Attempt(tmp_path, request.param)


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def blob(uri: str, kind: types_pb2.LiteralType = FILE) -> literals_pb2.Literal:
    """A file or folder."""
    metadata = literals_pb2.BlobMetadata(type=kind.blob)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(metadata=metadata, uri=uri)))
