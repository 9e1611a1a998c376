"""Print what protoc would hand to betterproto2's compiler for every file of FlyteIDL and of ours.

Run by the build hook, with the folder of our generated modules as argument. The published `flyteidl` has no .proto
files, so the descriptors are taken out of its modules. The compiler looks up comments by place and stumbles over files
that have none, so each gets a dummy.
"""

import importlib
import pkgutil
import sys

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor import FileDescriptor

PACKAGES = ("flyteidl", "wingbeatidl")


def request() -> plugin_pb2.CodeGeneratorRequest:
    """All files, each after those it imports, the same on every machine."""
    files: dict[str, FileDescriptor] = {}
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for info in sorted(pkgutil.walk_packages(path, f"{package}."), key=lambda info: info.name):
            if info.name.endswith("_pb2"):
                _add(importlib.import_module(info.name).DESCRIPTOR, files)
    message = plugin_pb2.CodeGeneratorRequest(file_to_generate=files)
    for file in files.values():
        copy = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copy)
        copy.source_code_info.location.add(span=[0, 0, 0])
        message.proto_file.append(copy)
    return message


def _add(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    if file.name in files:
        return
    for imported in file.dependencies:
        _add(imported, files)
    files[file.name] = file


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    sys.stdout.buffer.write(request().SerializeToString(deterministic=True))
