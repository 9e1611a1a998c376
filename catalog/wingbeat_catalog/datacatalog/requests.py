"""PURE: checks of what clients of DataCatalog ask, with the sentences of Flyte v1.

Every function raises CatalogRequestError; contract CP §13.4.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flyteidl.core import literals_pb2
from flyteidl.datacatalog import datacatalog_pb2

from wingbeat_catalog.errors import CatalogRequestError
from wingbeat_catalog.keys import DatasetName

PAGE_SIZE = 50
PAGE_SIZE_MAX = 1_000
_OFFSET_MAX = 2**31 - 1
_DIGITS_MAX = 20
"""Python refuses to read numbers of thousands of digits."""


class PageAsked(NamedTuple):
    """A part of a list."""

    limit: int
    offset: int
    ascending: bool


def missing(field: str) -> CatalogRequestError:
    """A field that must not be empty is."""
    return CatalogRequestError(f"missing {field}")


def dataset_name(dataset: datacatalog_pb2.DatasetID) -> DatasetName:
    """The name of a dataset; project, domain, name and version must be there."""
    for field in ("project", "domain", "name", "version"):
        if not getattr(dataset, field):
            raise missing(f"dataset {field}")
    return DatasetName(dataset.project, dataset.domain, dataset.name, dataset.version, dataset.org)


def literal_map(data: Iterable[datacatalog_pb2.ArtifactData]) -> literals_pb2.LiteralMap:
    """Data of an artifact by name; at least one, each with a name of its own."""
    literals = literals_pb2.LiteralMap()
    for one in data:
        if not one.name:
            raise missing("artifact data name")
        if one.name in literals.literals:
            raise CatalogRequestError(f"invalid value for artifact data: the name {one.name!r} occurs twice")
        literals.literals[one.name].CopyFrom(one.value)
    if not literals.literals:
        raise missing("artifact data")
    return literals


def partition_keys(keys: Sequence[str]) -> list[str]:
    """Keys of a dataset's partitions, each named once."""
    if any(not key for key in keys):
        raise missing("partition key")
    if len(set(keys)) != len(keys):
        raise CatalogRequestError("invalid value for partition keys: they are not unique")
    return list(keys)


def partitions(keys: Sequence[str], given: Sequence[datacatalog_pb2.Partition]) -> dict[str, str]:
    """Partitions of an artifact: a value for each key of its dataset and no others."""
    for place, partition in enumerate(given):
        if not partition.key or not partition.value:
            raise missing(f"partition {'value' if partition.key else 'key'} {place}")
    found = {partition.key: partition.value for partition in given}
    if len(found) != len(given) or found.keys() != set(keys):
        raise CatalogRequestError(
            f"partitions of the artifact ({', '.join(p.key for p in given) or 'none'}) are not those of the dataset"
            f" ({', '.join(keys) or 'none'})"
        )
    return found


def page(options: datacatalog_pb2.PaginationOptions) -> PageAsked:
    """The part of a list that is asked for."""
    token = options.token.strip()
    if token and (not _is_number(token) or int(token) > _OFFSET_MAX):
        raise CatalogRequestError(f"invalid token value: {options.token}")
    if options.sortKey != datacatalog_pb2.PaginationOptions.CREATION_TIME:
        raise CatalogRequestError(f"invalid sort key {options.sortKey}")
    if options.sortOrder not in datacatalog_pb2.PaginationOptions.SortOrder.values():
        raise CatalogRequestError(f"invalid sort order {options.sortOrder}")
    return PageAsked(
        limit=min(options.limit or PAGE_SIZE, PAGE_SIZE_MAX),
        offset=int(token or 0),
        ascending=options.sortOrder == datacatalog_pb2.PaginationOptions.ASCENDING,
    )


class ArtifactFilters(NamedTuple):
    """What all artifacts of a list have."""

    tags: list[str]
    partition_keys: list[str]
    partition_values: list[str]
    artifact_ids: list[str]


def artifact_filters(expression: datacatalog_pb2.FilterExpression) -> ArtifactFilters:
    """Filters by tag, partition and artifact; a dataset is named by the request itself."""
    filters = ArtifactFilters([], [], [], [])
    for one in expression.filters:
        _check_operator(one)
        match one.WhichOneof("property_filter"):
            case "tag_filter":
                filters.tags.append(_filled("tag name", one.tag_filter.tag_name))
            case "partition_filter":
                filters.partition_keys.append(_filled("partition key", one.partition_filter.key_val.key))
                filters.partition_values.append(_filled("partition value", one.partition_filter.key_val.value))
            case "artifact_filter":
                filters.artifact_ids.append(_filled("artifact id", one.artifact_filter.artifact_id))
            case "dataset_filter":
                raise CatalogRequestError("artifacts cannot be filtered by dataset")
            case _:
                raise missing("property filter")
    return filters


class DatasetFilters(NamedTuple):
    """What all datasets of a list have; of each property a list of values that must all be the same one."""

    project: list[str]
    domain: list[str]
    name: list[str]
    version: list[str]
    org: list[str]


def dataset_filters(expression: datacatalog_pb2.FilterExpression) -> DatasetFilters:
    """Filters by properties of datasets and nothing else."""
    filters = DatasetFilters([], [], [], [], [])
    for one in expression.filters:
        _check_operator(one)
        kind = one.WhichOneof("property_filter")
        if kind != "dataset_filter":
            raise CatalogRequestError(f"datasets cannot be filtered by {(kind or 'nothing').removesuffix('_filter')}")
        name = one.dataset_filter.WhichOneof("property")
        if name is None:
            raise missing("dataset property")
        getattr(filters, name).append(_filled(name, getattr(one.dataset_filter, name)))
    return filters


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _check_operator(one: datacatalog_pb2.SinglePropertyFilter) -> None:
    if one.operator != datacatalog_pb2.SinglePropertyFilter.EQUALS:
        raise CatalogRequestError(f"invalid value for operator: {one.operator}")


def _filled(field: str, value: str) -> str:
    if not value:
        raise missing(field)
    return value
