"""PURE: under which key the outputs of a call are kept: a dataset for the task, a tag in it for the inputs.

Datasets and tags are named as Flyte v1 names them (contract CP §13.1, DP §11), so entries may be shared with its
engines. Sub-workflows, which Flyte v1 does not cache as a whole, have datasets of another name with the same parts.
What depends on the task alone is computed once a task. An entry has a second tag where Flyte's depends on the order in
which members of dataclasses and dictionaries were written (`literal_hash`); both lead to the same outputs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from flyteidl.core import catalog_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2

from wingbeat_catalog.hashing.interfaces import signature, strip_interface
from wingbeat_catalog.hashing.literal_hash import canonical_hash, exact_hash, has_order
from wingbeat_catalog.hashing.object_hash import text_of
from wingbeat_propeller.core.cached_task import CachedTask

DATASET_PREFIX = "flyte_task-"
WORKFLOW_PREFIX = "flyte_workflow-"
TAG_PREFIX = "flyte_cached-"


class DatasetName(NamedTuple):
    """What tells datasets apart."""

    project: str
    domain: str
    name: str
    version: str
    org: str = ""

    def digest(self) -> bytes:
        """32 bytes; parts are told apart by their lengths."""
        return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in map(str.encode, self))).digest()


class CallKey(NamedTuple):
    """Names of the tags of one call."""

    exact: str
    """As Flyte has it."""
    canonical: str
    """The same for all equal inputs; mostly equal to `exact`."""


@dataclass(frozen=True, slots=True)
class TaskKey:
    """The part of keys that a task, or a sub-workflow, gives."""

    entity: identifier_pb2.Identifier
    """Without its version."""
    dataset: DatasetName
    digest: bytes
    """Of the dataset's name."""
    interface: bytes
    """Serialized stripped TypedInterface."""
    interface_digest: bytes
    """All 32 bytes: the version of the dataset carries only 6 of each half."""
    outputs: Mapping[str, types_pb2.LiteralType]
    ignored: frozenset[str]
    catalog: bytes
    """Serialized CatalogMetadata with the dataset alone; fields may be appended."""


def task_key(task: CachedTask) -> TaskKey:
    """The part of keys that `task` gives. Raises ValueError for a task without a cache version."""
    version = task.cache_version.strip(" ")
    if not version:
        kind = "workflow" if task.is_workflow else "task"
        raise ValueError(f"{kind} {task.name} is to be cached, but has no cache version")
    interface = strip_interface(interface_pb2.TypedInterface.FromString(task.interface))
    dataset = DatasetName(
        task.project,
        task.domain,
        (WORKFLOW_PREFIX if task.is_workflow else DATASET_PREFIX) + task.name,
        f"{version}-{signature(interface.inputs)}-{signature(interface.outputs)}",
    )
    serialized = interface.SerializeToString(deterministic=True)
    return TaskKey(
        entity=identifier_pb2.Identifier(
            resource_type=identifier_pb2.WORKFLOW if task.is_workflow else identifier_pb2.TASK,
            project=task.project,
            domain=task.domain,
            name=task.name,
        ),
        dataset=dataset,
        digest=dataset.digest(),
        interface=serialized,
        interface_digest=hashlib.sha256(serialized).digest(),
        outputs={name: variable.type for name, variable in interface.outputs.variables.items()},
        ignored=frozenset(task.ignored_inputs),
        catalog=catalog_pb2.CatalogMetadata(dataset_id=dataset_identifier(dataset)).SerializeToString(),
    )


def call_key(key: TaskKey, inputs: literals_pb2.LiteralMap) -> CallKey:
    """Names of the tags of a call. Raises ValueError for inputs without a JSON form."""
    exact = TAG_PREFIX + text_of(exact_hash(inputs, key.ignored))
    if not has_order(inputs, key.ignored):
        return CallKey(exact, exact)
    return CallKey(exact, TAG_PREFIX + text_of(canonical_hash(inputs, key.ignored)))


def tag_key(dataset: bytes, tag: str) -> bytes:
    """What a tag is stored under, 32 bytes: of the dataset's digest and the tag's name."""
    return hashlib.sha256(dataset + tag.encode()).digest()


def dataset_identifier(dataset: DatasetName) -> identifier_pb2.Identifier:
    """The dataset as it stands in CatalogMetadata."""
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.DATASET,
        project=dataset.project,
        domain=dataset.domain,
        name=dataset.name,
        version=dataset.version,
        org=dataset.org,
    )


def dataset_of(identifier: identifier_pb2.Identifier) -> DatasetName:
    """The reverse of `dataset_identifier`."""
    return DatasetName(identifier.project, identifier.domain, identifier.name, identifier.version, identifier.org)
