"""Finds the artifacts that queries mean: inputs of launch plans, and questions of clients.

A query names a version, an alias, partitions (then the newest version with them) or a URI
(`flyte://<host>/<project>/<domain>/<name>@<version>`, with `:<alias>` instead, or neither for the newest). Values of
partitions may be bound to other inputs of the launch. What a launch finds has become an artifact before it looks: it
works off the outbox of announced outputs first.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from flyteidl.core import artifact_id_pb2, interface_pb2, literals_pb2

from wingbeat_catalog.artifacts.partitions import Inputs, PartitionError, PartitionValues, asked_partitions, asked_text
from wingbeat_catalog.artifacts.registrar import BATCH_MAX, ArtifactRegistrar
from wingbeat_catalog.artifacts.store import ArtifactKey, ArtifactStore, Row

_URI = re.compile(r"flyte://[^/]+/(?P<project>[^/@:]+)/(?P<domain>[^/@:]+)/(?P<name>[^/@:]+)(?P<rest>[@:].+)?")
_CATCH_UPS = 10
"""Batches of the outbox that a launch works off before it looks."""


class InvalidQueryError(ValueError):
    """The query means nothing, or something that only triggers may ask; the text says what."""


class NoArtifactError(LookupError):
    """There is no such artifact; the text says which."""


class FoundInput(NamedTuple):
    """An artifact that becomes an input."""

    id: int
    literal: literals_pb2.Literal


class ArtifactQueries:
    """Answers queries."""

    def __init__(self, store: ArtifactStore, registrar: ArtifactRegistrar) -> None:
        self._store = store
        self._registrar = registrar

    async def inputs(
        self, parameters: Mapping[str, interface_pb2.Parameter], given: Inputs, project: str, domain: str
    ) -> Mapping[str, FoundInput]:
        """Artifacts for those parameters that ask for one, launched in a project and domain with the inputs `given`.

        Raises InvalidQueryError, NoArtifactError, OSError.
        """
        for _ in range(_CATCH_UPS):
            if await self._registrar.register(waits=True) < BATCH_MAX:
                break
        found: dict[str, FoundInput] = {}
        for name in sorted(parameters):
            parameter = parameters[name]
            query = parameter.artifact_query
            if parameter.WhichOneof("behavior") == "artifact_id":
                query = artifact_id_pb2.ArtifactQuery(artifact_id=parameter.artifact_id)
            try:
                row = await self.find(query, project, domain, given)
                value = await self._store.value(row)
            except (InvalidQueryError, NoArtifactError) as error:
                raise type(error)(f"input {name}: {error}") from error
            if value is None:
                label = f"{row['name']}@{row['version']}"
                raise NoArtifactError(f"input {name}: the value of artifact [{label}] is gone from the blob store")
            found[name] = FoundInput(row["id"], value)
        return found

    async def find(
        self, query: artifact_id_pb2.ArtifactQuery, project: str, domain: str, inputs: Inputs | None = None
    ) -> Row:
        """The artifact that a query means; a key without project or domain is of these. Raises InvalidQueryError,
        NoArtifactError, OSError."""
        try:
            return await self._find(query, project, domain, inputs or {})
        except PartitionError as error:
            raise InvalidQueryError(str(error)) from error

    async def _find(self, query: artifact_id_pb2.ArtifactQuery, project: str, domain: str, inputs: Inputs) -> Row:
        match query.WhichOneof("identifier"):
            case "artifact_id":
                asked = query.artifact_id
                key = _key(asked.artifact_key, project, domain)
                if asked.version:
                    return _there(await self._store.by_version(key, asked.version), f"{key}@{asked.version}")
                partitions = asked_partitions(asked, inputs)
                return _there(await self._store.newest(key, partitions), f"{key}{_shown(partitions)}")
            case "artifact_tag":
                key = _key(query.artifact_tag.artifact_key, project, domain)
                alias = asked_text("the tag", query.artifact_tag.value, inputs)
                if not alias:
                    raise InvalidQueryError("the tag is empty")
                return _there(await self._store.by_tag(key, alias), f"{key}:{alias}")
            case "uri":
                return await self._by_uri(query.uri)
            case "binding":
                raise InvalidQueryError("it is bound to the artifact of a trigger, and triggers are not supported")
            case _:
                raise InvalidQueryError("the query is empty: name an artifact, a tag or a uri")

    async def _by_uri(self, uri: str) -> Row:
        match = _URI.fullmatch(uri)
        if match is None:
            form = "flyte://<host>/<project>/<domain>/<name>@<version>"
            raise InvalidQueryError(f"'{uri[:200]}' is no URI of an artifact, which look like {form}")
        key = ArtifactKey(match["project"], match["domain"], match["name"])
        rest = match["rest"] or ""
        if rest.startswith("@"):
            return _there(await self._store.by_version(key, rest[1:]), f"{key}{rest}")
        if rest:
            return _there(await self._store.by_tag(key, rest[1:]), f"{key}{rest}")
        return _there(await self._store.newest(key, PartitionValues()), str(key))


def check_query(query: artifact_id_pb2.ArtifactQuery, inputs: Mapping[str, interface_pb2.Variable]) -> None:
    """What can be judged of a launch plan's query without looking: its form, and that inputs it is bound to exist.
    Raises InvalidQueryError."""
    kind = query.WhichOneof("identifier")
    labels: list[artifact_id_pb2.LabelValue] = []
    match kind:
        case "artifact_id":
            _key(query.artifact_id.artifact_key, "p", "d")
            labels = [*query.artifact_id.partitions.value.values(), query.artifact_id.time_partition.value]
        case "artifact_tag":
            _key(query.artifact_tag.artifact_key, "p", "d")
            labels = [query.artifact_tag.value]
        case "uri":
            if _URI.fullmatch(query.uri) is None:
                raise InvalidQueryError(f"'{query.uri[:200]}' is no URI of an artifact")
        case "binding":
            raise InvalidQueryError("it is bound to the artifact of a trigger, and triggers are not supported")
        case _:
            raise InvalidQueryError("the query is empty: name an artifact, a tag or a uri")
    for label in labels:
        bound = label.WhichOneof("value")
        if bound in ("triggered_binding", "runtime_binding"):
            raise InvalidQueryError(f"a partition of a query cannot be a {bound}")
        if bound == "input_binding" and label.input_binding.var not in inputs:
            raise InvalidQueryError(f"it is bound to '{label.input_binding.var}', which is no input of the workflow")


def _key(key: artifact_id_pb2.ArtifactKey, project: str, domain: str) -> ArtifactKey:
    found = ArtifactKey(key.project or project, key.domain or domain, key.name)
    for part, text in (("project", found.project), ("domain", found.domain), ("name", found.name)):
        if not text or "\0" in text or len(text) > 1_000:
            raise InvalidQueryError(f"the artifact's {part} is missing or cannot be")
    return found


def _there(row: Row | None, label: str) -> Row:
    if row is None:
        raise NoArtifactError(f"there is no artifact [{label}]")
    return row


def _shown(partitions: PartitionValues) -> str:
    parts = [f"{key}={value}" for key, value in partitions.values.items()]
    if partitions.time is not None:
        parts.append(f"time={partitions.time:%Y-%m-%dT%H:%MZ}")
    return f" with {', '.join(parts)}" if parts else ""
