"""Where the blobs and logs of an execution lie. Pure: the same rules by which they are written (core/ids.py,
core/folders.py, executions/new_execution.py)."""

from collections.abc import Iterator
from dataclasses import dataclass

from flyteidl.admin import matchable_resource_pb2

from wingbeat_propeller.core.folders import RAW_DATA_FOLDER, raw_output_folder
from wingbeat_propeller.core.ids import ExecutionKey, attempt_name, element_name, generated_name

METADATA_FOLDER = "metadata/propeller"
ADMIN_FOLDER = "metadata/admin"
BATCHES_FOLDER = "metadata/batches"
LAUNCH_FILES = ("inputs", "user_inputs")
"""What a launch writes when its inputs are large."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt leaves: the folder of its raw data, and the name of its folder at the local runtime."""

    raw_folder: str
    log_name: str


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one execution in a store with URI prefix `base`."""

    base: str
    key: int
    project: str
    domain: str
    name: str
    raw_prefix: str

    @classmethod
    def of(cls, base: str, key: int, project: str, domain: str, name: str, config: bytes) -> "Places":
        """`config` is the execution's serialized WorkflowExecutionConfig."""
        return cls(base, key, project, domain, name, raw_prefix(base, config))

    @property
    def metadata_folder(self) -> str:
        """Inputs, outputs, errors and decks of its nodes."""
        return f"{self.base}/{METADATA_FOLDER}/{self.project}-{self.domain}-{self.name}"

    @property
    def launch_files(self) -> list[str]:
        """Inputs that were too large for its row."""
        return [f"{self.base}/{ADMIN_FOLDER}/{self.project}/{self.domain}/{self.name}/{file}" for file in LAUNCH_FILES]

    @property
    def has_raw_data_outside(self) -> bool:
        """Whether its raw data lies where the store does not reach."""
        return not self.raw_prefix.startswith(f"{self.base}/")

    def attempt(self, generated: str) -> Attempt:
        """An attempt by its generated name."""
        return Attempt(raw_output_folder(self.raw_prefix, generated), attempt_name(ExecutionKey(self.key), generated))

    def elements(self, node_id: str, node_attempt: int, element: int, attempt: int) -> Iterator[Attempt]:
        """An attempt of an element of an array, under each attempt that the array has had."""
        for number in range(node_attempt + 1):
            array = generated_name(self.name, node_id, number)
            yield self.attempt(element_name(array, element, attempt))


def raw_prefix(base: str, config: bytes) -> str:
    """What addresses of raw data begin with, of an execution with this serialized WorkflowExecutionConfig."""
    said = matchable_resource_pb2.WorkflowExecutionConfig.FromString(config)
    prefix = said.raw_output_data_config.output_location_prefix.rstrip("/")
    if base.startswith("/"):  # a folder, whose files tasks may be told by either name
        prefix = prefix.removeprefix("file://")
    return prefix or f"{base}/{RAW_DATA_FOLDER}"


@dataclass(frozen=True, slots=True)
class BatchPlaces:
    """The places of a batch in a store with URI prefix `base`."""

    base: str
    project: str
    domain: str
    name: str

    @property
    def folder(self) -> str:
        """All that Wingbeat has written of it."""
        return f"{self.base}/{BATCHES_FOLDER}/{self.project}/{self.domain}/{self.name}"

    @property
    def results(self) -> str:
        """Parts of the results."""
        return f"{self.folder}/results"

    @property
    def index(self) -> str:
        """What counts of the results."""
        return f"{self.results}/index.json"

    def is_uploaded(self, uri: str) -> bool:
        """Whether its manifest is one that came as a stream of rows, and so is Wingbeat's own."""
        return uri.startswith(f"{self.folder}/manifest/")
