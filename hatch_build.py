"""Build hook: compile proto/ into the import package `wingbeatidl`. `make proto` runs the same function."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def compile_protos(root: Path) -> None:
    """Write Python messages, stubs and type stubs for every .proto under `root`/proto into proto/gen/python.

    Raises RuntimeError when protoc refuses a file.
    """
    from grpc_tools import protoc

    out = root / "proto/gen/python"
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(p.relative_to(root / "proto")) for p in (root / "proto/wingbeatidl").rglob("*.proto"))
    include = [f"-I{root / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *include, *outputs, *sources]) != 0:
        raise RuntimeError("protoc failed")
    for folder in {parent for p in out.rglob("*_pb2.py") for parent in p.relative_to(out).parents} - {Path()}:
        (out / folder / "__init__.py").touch()


class ProtoHook(BuildHookInterface[Any]):
    """Runs for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  (hatchling's signature)
        compile_protos(Path(self.root))
