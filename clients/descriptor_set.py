"""Our protos, FlyteIDL and error details as one descriptor set, for all generators: `clients/descriptor_set.py OUT`.

FlyteIDL comes from the installed package, so that clients and server agree on its version; its .proto files are not in
that package, its descriptors are. Options that name packages of languages are added here: they are no business of the
contract.
"""

import importlib
import pkgutil
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2

ROOT: Final = Path(__file__).parents[1]
GO_MODULE: Final = "wingbeat.dev/client"
JAVA_PACKAGE: Final = "dev.wingbeat.idl"


def main(out: Path) -> None:
    """Write the set to `out`, in dependency order, FlyteIDL first."""
    collected: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    pool = descriptor_pool.Default()
    for name in [*_flyteidl_files(), error_details_pb2.DESCRIPTOR.name]:
        _collect(pool, name, collected)
    own = _own_files()
    for file in own.file:
        if file.name not in collected:
            collected[file.name] = file
    for file in collected.values():
        _name_packages(file)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(descriptor_pb2.FileDescriptorSet(file=collected.values()).SerializeToString(deterministic=True))


def _flyteidl_files() -> list[str]:
    """Names of all files of FlyteIDL, by importing their modules, which registers them."""
    import flyteidl

    modules = [m.name for m in pkgutil.walk_packages(flyteidl.__path__, "flyteidl.") if m.name.endswith("_pb2")]
    return sorted(importlib.import_module(name).DESCRIPTOR.name for name in modules)


def _collect(
    pool: descriptor_pool.DescriptorPool, name: str, into: dict[str, descriptor_pb2.FileDescriptorProto]
) -> None:
    """The file and, before it, what it depends on."""
    if name in into:
        return
    found = pool.FindFileByName(name)
    for dependency in found.dependencies:
        _collect(pool, dependency.name, into)
    into[name] = descriptor_pb2.FileDescriptorProto()
    found.CopyToProto(into[name])


def _own_files() -> descriptor_pb2.FileDescriptorSet:
    """Our files with comments, and what they depend on."""
    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto/wingbeatidl").rglob("*.proto"))
    include = [f"-I{ROOT / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "own.binpb")
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *include, *options, *sources]) != 0:
            raise RuntimeError("protoc failed")
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def _name_packages(file: descriptor_pb2.FileDescriptorProto) -> None:
    if not file.package.startswith("wingbeatidl."):
        return
    _, area, version = file.package.split(".")
    file.options.go_package = f"{GO_MODULE}/idl/{area}/{version};{area}{version}"
    file.options.java_package = f"{JAVA_PACKAGE}.{area}.{version}"
    file.options.java_multiple_files = True
    file.options.java_outer_classname = "".join(map(str.title, re.split("[/_.]", Path(file.name).stem))) + "Proto"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
