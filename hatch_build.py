"""Build hook: compile proto/ into the import package `wingbeatidl`, and all messages into dataclasses as well.

`make proto` runs the same functions.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version as version_of
from importlib.resources import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def compile_protos(root: Path) -> None:
    """Write Python messages, stubs and type stubs for every .proto under `root`/proto into proto/gen/python.

    Files that would not change are left alone, so that a build beside running processes disturbs none of them. Raises
    RuntimeError when protoc refuses a file.
    """
    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(root / "proto")) for p in (root / "proto/wingbeatidl").rglob("*.proto"))
    include = [f"-I{root / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    with tempfile.TemporaryDirectory() as made:
        outputs = [f"--python_out={made}", f"--pyi_out={made}", f"--grpc_python_out={made}"]
        if protoc.main(["protoc", *include, *outputs, *sources]) != 0:
            raise RuntimeError("protoc failed")
        folder = Path(made)
        for package in {parent for p in folder.rglob("*_pb2.py") for parent in p.relative_to(folder).parents} - {
            Path()
        }:
            (folder / package / "__init__.py").touch()
        _mirror(folder, root / "proto/gen/python")


_MESSAGES = """\
\"""The messages of FlyteIDL and of Wingbeat as typed dataclasses, made by betterproto2: see docs/python-client.md.\"""

try:
    import betterproto2 as _betterproto2  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "wingbeat.messages needs betterproto2: install wingbeat[betterproto]", name=error.name
    ) from error
"""


def compile_dataclasses(root: Path) -> None:
    """Write the messages of FlyteIDL and of ours as dataclasses into the package `wingbeat.messages`; after
    `compile_protos`. Nothing is done when nothing has changed.

    Raises RuntimeError when the compiler refuses.
    """
    out = root / "clients/python/wingbeat/messages"
    script = root / "proto/betterproto_request.py"
    request = _run([sys.executable, str(script), str(root / "proto/gen/python")], b"")
    compiler = version_of("betterproto2-compiler")
    digest = hashlib.sha256(request + compiler.encode() + _MESSAGES.encode()).hexdigest()
    mark = out / ".digest"
    if mark.exists() and mark.read_text(encoding="ascii") == digest:
        return
    from google.protobuf.compiler import plugin_pb2

    run = "from betterproto2_compiler.plugin import main; main()"
    answer = plugin_pb2.CodeGeneratorResponse.FromString(_run([sys.executable, "-c", run], request))
    if answer.error:
        raise RuntimeError(f"betterproto2's compiler failed: {answer.error}")
    made = out.with_name(f"{out.name}.new-{os.getpid()}")
    for file in answer.file:
        target = made / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.content, encoding="utf-8")
    (made / "__init__.py").write_text(_MESSAGES, encoding="utf-8")
    (made / ".digest").write_text(digest, encoding="ascii")
    shutil.rmtree(out, ignore_errors=True)
    made.replace(out)


def _run(command: list[str], data: bytes) -> bytes:
    """The output of a program, with ruff on its PATH, which betterproto2's compiler formats by."""
    folders = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    environment = {**os.environ, "PATH": os.pathsep.join(folders)}
    done = subprocess.run(  # noqa: S603  (our own programs)
        command, input=data, capture_output=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{command[:2]} failed:\n{done.stderr.decode(errors='replace')[-4000:]}")
    return done.stdout


def _mirror(made: Path, out: Path) -> None:
    wanted = {p.relative_to(made): p.read_bytes() for p in made.rglob("*.py*")}
    for name, content in wanted.items():
        target = out / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for leftover in {
        p.relative_to(out) for p in out.rglob("*_pb2*.py*") if "__pycache__" not in p.parts
    } - wanted.keys():
        (out / leftover).unlink()


class ProtoHook(BuildHookInterface[Any]):
    """Runs for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compile_protos(Path(self.root))
        compile_dataclasses(Path(self.root))
