"""Messages and stubs for one language, from the descriptor set: `python clients/generate.py go|typescript|java`.

The generators are those of each ecosystem, called as plugins of one protoc; where each comes from is said beside it.
What they write is not committed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from descriptor_set import GO_MODULE, ROOT
from descriptor_set import main as write_set
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

CLIENTS: Final = ROOT / "clients"
BUILT: Final = CLIENTS / "gen"
SET: Final = BUILT / "wingbeat.binpb"
BUNDLED: Final = "google/protobuf/"
"""Files that the runtime library of every language has itself."""


def go(names: Sequence[str]) -> None:
    """Our messages by protoc-gen-go and -go-grpc, in the versions of go.mod; FlyteIDL is its published Go module."""
    module = CLIENTS / "go"
    tools = BUILT / "bin"
    plugins = ["google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"]
    for plugin in plugins:
        _run(["go", "build", "-o", str(tools / plugin.rsplit("/", 1)[1]), plugin], cwd=module)
    shutil.rmtree(module / "idl", ignore_errors=True)
    arguments: list[str] = []
    for kind in ("go", "go-grpc"):
        arguments += [
            f"--plugin=protoc-gen-{kind}={tools / f'protoc-gen-{kind}'}",
            f"--{kind}_out={module}",
            f"--{kind}_opt=module={GO_MODULE}",
        ]
    _protoc(arguments, [name for name in names if name.startswith("wingbeatidl/")])


def typescript(names: Sequence[str]) -> None:
    """Our messages and FlyteIDL's by protoc-gen-es, in the version of package.json; services are part of it."""
    package = CLIENTS / "typescript"
    _run(["npm", "ci", "--silent"], cwd=package)
    out = _emptied(package / "src/gen")
    plugin = package / "node_modules/.bin/protoc-gen-es"
    arguments = [f"--plugin=protoc-gen-es={plugin}", f"--es_out={out}", "--es_opt=target=ts,import_extension=js"]
    _protoc(arguments, [name for name in names if not name.startswith(BUNDLED)])


def java(names: Sequence[str]) -> None:
    """Our messages and FlyteIDL's by protoc and protoc-gen-grpc-java from Maven, in the versions of pom.xml."""
    project = CLIENTS / "java"
    _run(["mvn", "--quiet", "--batch-mode", "dependency:copy@generators"], cwd=project)
    tools = project / "target/generators"
    for tool in tools.iterdir():
        tool.chmod(0o755)
    out = _emptied(project / "target/generated-sources/idl")
    compiler, plugin = tools / "protoc.exe", tools / "protoc-gen-grpc-java.exe"
    arguments = [
        f"--plugin=protoc-gen-grpc-java={plugin}",
        f"--java_out={out}",
        f"--grpc-java_out=@generated=omit:{out}",
        f"--descriptor_set_in={SET}",
    ]
    _run([str(compiler), *arguments, *(name for name in names if not name.startswith("google/"))])


LANGUAGES: Final[dict[str, Callable[[Sequence[str]], None]]] = {"go": go, "typescript": typescript, "java": java}


def _protoc(arguments: Sequence[str], names: Sequence[str]) -> None:
    if protoc.main(["protoc", f"--descriptor_set_in={SET}", *arguments, *names]) != 0:
        raise SystemExit("protoc failed")


def _run(command: Sequence[str], cwd: Path = ROOT) -> None:
    subprocess.run(command, cwd=cwd, check=True, env=os.environ)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main(language: str) -> None:
    """Write the set, then what `language` needs of it."""
    write_set(SET)
    names = [file.name for file in descriptor_pb2.FileDescriptorSet.FromString(SET.read_bytes()).file]
    LANGUAGES[language](names)


if __name__ == "__main__":
    main(sys.argv[1])
