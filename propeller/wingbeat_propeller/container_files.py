"""Raw containers: programs whose inputs come as files and whose outputs are files (FlyteIDL's DataLoadingConfig).

The container plugin says with `ContainerFiles` what a container wants, a runtime has it carried out. On one machine
that is the program `wingbeat_propeller.copilot`, which reads a `CopilotJob` as JSON from its standard input.
"""

import base64
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, cast

DEFAULT_INPUT_PATH = "/var/flyte/inputs"
DEFAULT_OUTPUT_PATH = "/var/flyte/outputs"

FilesFormat: TypeAlias = Literal["json", "yaml", "proto"]
"""In what form all inputs together are given, beside `inputs.pb`."""

ContainerPaths: TypeAlias = Literal["auto", "mounted", "rewritten"]
"""How a program finds the two folders: `mounted` at the paths of the template, in a private mount namespace, or
`rewritten`: its command line and environment name the real folders instead. `auto` mounts where that is permitted."""


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """Where a container finds its inputs and leaves its outputs, and where both lie in the blob store."""

    input_path: str
    """As the container names the folder; normalized and absolute."""
    output_path: str
    format: FilesFormat
    inputs_uri: str
    output_prefix: str
    raw_output_prefix: str
    outputs: bytes
    """Serialized `flyteidl.core.VariableMap` of the declared outputs."""
    downloads: bool = True
    """False: blobs stay where they are, inputs carry their URIs."""
    uploads: bool = True
    """False: the file of an output that is a blob holds its URI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopilotJob:
    """One attempt of a raw container on this machine."""

    files: ContainerFiles
    folder: str
    """Folder of the attempt for inputs, outputs and whatever mounting needs; made when missing."""
    paths: ContainerPaths
    program: str
    """What to execute: an absolute path, or one below the container's input path."""
    argv: Sequence[str]
    env: Mapping[str, str]
    store: Mapping[str, object]
    """How to open the blob store; see copilot.transfer."""

    def to_json(self) -> str:
        """For the standard input of the copilot."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        files = {**asdict(self.files), "outputs": base64.b64encode(self.files.outputs).decode()}
        return json.dumps({**fields, "files": files})

    @classmethod
    def from_json(cls, text: str | bytes) -> "CopilotJob":
        """The same again. Raises ValueError, KeyError or TypeError for what `to_json` cannot have written."""
        fields = cast("dict[str, object]", json.loads(text))
        files = cast("dict[str, str]", fields["files"])
        outputs = base64.b64decode(files["outputs"])
        rest = {**fields, "files": ContainerFiles(**{**files, "outputs": outputs})}  # pyright: ignore[reportArgumentType]
        return cls(**rest)  # pyright: ignore[reportArgumentType]


def container_path(path: str, default: str) -> str:
    """A path of a template, normalized; relative ones are below the root, where containers start.

    Raises ValueError for the root itself.
    """
    normal = posixpath.normpath(posixpath.join("/", path or default))
    normal = f"/{normal.lstrip('/')}"
    if normal == "/":
        raise ValueError("the root folder cannot hold inputs or outputs")
    return normal


def is_inside(path: str, folder: str) -> bool:
    """Whether `path` is the folder or lies below it."""
    return path == folder or path.startswith(f"{folder}/")
