"""The version clients see."""

from dataclasses import dataclass

from flyteidl.admin import version_pb2

from wingbeat_controlplane.services.rpcs import CallContext


@dataclass(frozen=True, slots=True)
class VersionOptions:
    """What GetVersion answers. `version` names the Flyte v1 release whose contract is served; clients compare it."""

    version: str = "v1.16.8"
    build: str = "wingbeat"
    build_time: str = ""


class VersionRpcs:
    """GetVersion."""

    version: VersionOptions

    async def GetVersion(
        self, request: version_pb2.GetVersionRequest, context: CallContext
    ) -> version_pb2.GetVersionResponse:
        """Contract version, build and build time."""
        shown = self.version
        return version_pb2.GetVersionResponse(
            control_plane_version=version_pb2.Version(
                Version=shown.version, Build=shown.build, BuildTime=shown.build_time
            )
        )
