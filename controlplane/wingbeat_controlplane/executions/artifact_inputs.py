"""Inputs of a launch that are artifacts: what the queries of its launch plan find, unless the caller gives them.

From then on they are as if the caller had given them, so that a relaunch or a recovery runs with the same ones.
"""

from collections.abc import Mapping

import asyncpg
import grpc
from flyteidl.core import literals_pb2

from wingbeat_catalog.artifacts.queries import ArtifactQueries, FoundInput, InvalidQueryError, NoArtifactError
from wingbeat_catalog.artifacts.registrar import ArtifactRegistrar
from wingbeat_catalog.artifacts.store import ArtifactStore
from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.executions.launch_targets import LaunchTarget
from wingbeat_propeller.ports.blobs import Blobs


class ArtifactInputs:
    """Finds them."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        store = ArtifactStore(pool, blobs)
        self._queries = ArtifactQueries(store, ArtifactRegistrar(pool, blobs, store))

    async def find(
        self, project: str, domain: str, target: LaunchTarget, given: literals_pb2.LiteralMap
    ) -> Mapping[str, FoundInput]:
        """Artifacts for inputs that `given` has not, for a launch in a project and domain.

        Raises ApiError INVALID_ARGUMENT (a query that means nothing with these inputs), NOT_FOUND (no artifact).
        """
        wanted = {name: query for name, query in target.queries.items() if name not in given.literals}
        if not wanted:
            return {}
        known: dict[str, literals_pb2.Literal] = {
            name: parameter.default
            for name, parameter in target.expected.parameters.items()
            if parameter.WhichOneof("behavior") == "default"
        }
        known.update(target.spec.fixed_inputs.literals)
        known.update(given.literals)
        try:
            return await self._queries.inputs(wanted, known, project, domain)
        except InvalidQueryError as error:
            raise invalid_argument(str(error)) from error
        except NoArtifactError as error:
            raise ApiError(grpc.StatusCode.NOT_FOUND, str(error)) from error


def with_artifacts(given: literals_pb2.LiteralMap, found: Mapping[str, FoundInput]) -> literals_pb2.LiteralMap:
    """Inputs with the artifacts among them; `given` itself, which is left as it is, if there are none."""
    if not found:
        return given
    inputs = literals_pb2.LiteralMap()
    inputs.CopyFrom(given)
    for name, one in found.items():
        inputs.literals[name].CopyFrom(one.literal)
    return inputs
