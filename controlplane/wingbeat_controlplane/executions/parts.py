"""Everything about executions, put together for the rpcs."""

from dataclasses import dataclass

import asyncpg
from flyteidl.admin import matchable_resource_pb2

from wingbeat_controlplane.executions.artifacts import Artifacts
from wingbeat_controlplane.executions.data import DataReader
from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.execution_reads import ExecutionReads
from wingbeat_controlplane.executions.launch import Launcher
from wingbeat_controlplane.executions.launch_targets import LaunchTargets
from wingbeat_controlplane.executions.metrics.reading import ExecutionMetrics
from wingbeat_controlplane.executions.node_reads import NodeReads
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.recover import Recoverer
from wingbeat_controlplane.executions.recovery_plans import RecoveryPlanner
from wingbeat_controlplane.executions.relaunch import Relauncher
from wingbeat_controlplane.executions.source_executions import SourceExecutions
from wingbeat_controlplane.executions.task_reads import TaskReads
from wingbeat_controlplane.executions.terminate import Terminator
from wingbeat_controlplane.executions.update import Archiver
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_propeller.blobs.signing import UrlSigner
from wingbeat_propeller.ports.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Executions:
    """What the rpcs about executions call. Made by `build_executions`."""

    launcher: Launcher
    relauncher: Relauncher
    recoverer: Recoverer
    terminator: Terminator
    archiver: Archiver
    reads: ExecutionReads
    nodes: NodeReads
    tasks: TaskReads
    metrics: ExecutionMetrics
    elements: ElementReads
    artifacts: Artifacts
    defaults: matchable_resource_pb2.WorkflowExecutionConfig
    """Settings of executions that nobody said anything else for."""


def build_executions(
    pool: asyncpg.Pool,
    blobs: Blobs,
    signer: UrlSigner,
    registry: Registry,
    options: ExecutionOptions,
) -> Executions:
    """Wire the parts over one pool and one blob store. URLs of `signer` are to have no query (see `DataReader`)."""
    keys = ExecutionKeys(pool)
    data = DataReader(
        blobs,
        signer,
        inline_bytes_max=options.data_inline_bytes_max,
        single_bytes_max=options.single_bytes_max,
        link_life_s=options.link_life_s,
    )
    elements = ElementReads(pool, blobs)
    launcher = Launcher(pool, blobs, registry.projects, registry.attributes, LaunchTargets(registry), options)
    sources = SourceExecutions(pool, blobs)
    return Executions(
        launcher=launcher,
        relauncher=Relauncher(sources, launcher),
        recoverer=Recoverer(sources, launcher, RecoveryPlanner(pool, blobs, registry)),
        terminator=Terminator(pool),
        archiver=Archiver(pool),
        reads=ExecutionReads(pool, blobs, data, options),
        nodes=NodeReads(pool, keys, blobs, data, elements, options),
        tasks=TaskReads(pool, keys, blobs, data, elements, options),
        metrics=ExecutionMetrics(pool, blobs),
        elements=elements,
        artifacts=Artifacts(pool, keys, data, elements),
        defaults=options.defaults,
    )
