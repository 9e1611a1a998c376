"""AdminService put together: each noun's rpcs come from a class of its own, the stores they need from here.

An rpc that none of the classes has is answered UNIMPLEMENTED by the table of rpcs.
"""

from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.services.admin.projects import ProjectRpcs
from wingbeat_controlplane.services.admin.version import VersionOptions, VersionRpcs


class AdminServicer(ProjectRpcs, VersionRpcs):
    """All rpcs of AdminService that this release serves."""

    def __init__(self, *, projects: ProjectStore, version: VersionOptions) -> None:
        self.projects = projects
        self.version = version
