"""Launching in bulk and batches, put together for the server: their services and what runs beside them."""

from dataclasses import dataclass

import asyncpg
from google.protobuf.descriptor import ServiceDescriptor

from wingbeat_controlplane.batches.batches import Batches
from wingbeat_controlplane.batches.driver import Driving
from wingbeat_controlplane.batches.keeper import BatchKeeper
from wingbeat_controlplane.batches.options import BatchOptions
from wingbeat_controlplane.batches.uploads import Uploads
from wingbeat_controlplane.executions.launch import Launcher
from wingbeat_controlplane.identity.anonymous import anonymous_principal
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.launching.bulk import BulkLauncher
from wingbeat_controlplane.launching.launch_keys import KeyPruner
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_controlplane.services.batch import BatchServicer
from wingbeat_controlplane.services.launch import LaunchServicer
from wingbeat_controlplane.settings import Settings
from wingbeat_propeller.ports.blobs import Blobs
from wingbeatidl.batch.v1 import batch_pb2
from wingbeatidl.launch.v1 import launch_pb2


@dataclass(frozen=True, slots=True)
class Launching:
    """What the server serves and runs."""

    services: list[tuple[ServiceDescriptor, object]]
    keeper: BatchKeeper
    pruner: KeyPruner


def build_launching(
    settings: Settings, pool: asyncpg.Pool, blobs: Blobs, registry: Registry, launcher: Launcher
) -> Launching:
    """Wire the parts over one pool and one blob store."""
    versions = TargetVersions(pool)
    bulk = BulkLauncher(pool, blobs, launcher, versions)
    pressure = BackPressure(pool, settings.launch.not_begun_max)
    options = BatchOptions(manifest_bytes_max=settings.batches.manifest_bytes_max, lease_s=settings.batches.lease_s)
    batches = Batches(pool, blobs, registry.projects, versions, bulk)
    keeper = BatchKeeper(Driving(pool, blobs, bulk, launcher, pressure, options))
    uploads = Uploads(blobs, batches, size_max=options.manifest_bytes_max)
    return Launching(
        services=[
            (
                launch_pb2.DESCRIPTOR.services_by_name["LaunchService"],
                LaunchServicer(bulk, pressure, anonymous_principal),
            ),
            (
                batch_pb2.DESCRIPTOR.services_by_name["BatchService"],
                BatchServicer(batches, uploads, keeper.wake, anonymous_principal),
            ),
        ],
        keeper=keeper,
        pruner=KeyPruner(pool, keep_s=settings.launch.key_days * 86_400),
    )
