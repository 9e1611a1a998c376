"""Build hook: compile proto/ into the import package `wingbeatidl`. `make proto` runs the same function."""

import tempfile
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
