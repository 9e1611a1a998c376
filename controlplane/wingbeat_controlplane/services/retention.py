"""RetentionService: how long things are kept, and what goes before."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from google.protobuf import field_mask_pb2

from wingbeat_controlplane.errors import invalid_argument, missing
from wingbeat_controlplane.retention.batch_remains import WholeBatch
from wingbeat_controlplane.retention.collector import AGE, GarbageCollector
from wingbeat_controlplane.retention.eraser import ByLabel, ByName, ByProject, Eraser, Erasure, Target
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.retention.v1 import retention_pb2

_FIELDS = ("executions_days", "cache_days")


class RetentionServicer:
    """SetPolicy, ListPolicies, DeletePolicy, Erase, CollectGarbage."""

    def __init__(
        self,
        policies: PolicyStore,
        eraser: Eraser,
        collector: GarbageCollector,
        principal: Callable[[CallContext], str],
    ) -> None:
        self._policies = policies
        self._eraser = eraser
        self._collector = collector
        self._principal = principal

    async def SetPolicy(
        self, request: retention_pb2.SetPolicyRequest, context: CallContext
    ) -> retention_pb2.SetPolicyResponse:
        """Create or change a policy."""
        said = request.policy
        if not said.project:
            raise missing("policy.project")
        changed = _changed(request.update_mask)
        stored = await self._policies.set(
            said.project,
            said.domain,
            Policy(
                said.executions_days if said.HasField("executions_days") else None,
                said.cache_days if said.HasField("cache_days") else None,
            ),
            change_executions="executions_days" in changed,
            change_cache="cache_days" in changed,
        )
        return retention_pb2.SetPolicyResponse(policy=_message(said.project, said.domain, stored))

    async def ListPolicies(
        self, request: retention_pb2.ListPoliciesRequest, context: CallContext
    ) -> retention_pb2.ListPoliciesResponse:
        """All of them."""
        return retention_pb2.ListPoliciesResponse(
            installation=_message("", "", self._policies.default),
            policies=[_message(*place, policy) for place, policy in (await self._policies.all()).items()],
        )

    async def DeletePolicy(
        self, request: retention_pb2.DeletePolicyRequest, context: CallContext
    ) -> retention_pb2.DeletePolicyResponse:
        """Take a policy away."""
        if not request.project:
            raise missing("project")
        await self._policies.delete(request.project, request.domain)
        return retention_pb2.DeletePolicyResponse()

    async def Erase(
        self, request: retention_pb2.EraseRequest, context: CallContext
    ) -> AsyncGenerator[retention_pb2.EraseResponse, None]:
        """Erase, or tell what would go."""
        erasures = self._eraser.erase(
            _target(request),
            is_dry_run=request.dry_run,
            terminates=request.terminate,
            principal=self._principal(context),
        )
        async with aclosing(erasures):
            async for erasure in erasures:
                yield _erased(erasure)

    async def CollectGarbage(
        self, request: retention_pb2.CollectGarbageRequest, context: CallContext
    ) -> AsyncGenerator[retention_pb2.CollectGarbageResponse, None]:
        """Collect, or tell what would go."""
        older_than = request.older_than.ToTimedelta() if request.HasField("older_than") else AGE
        pages = self._collector.collect(project=request.project, older_than=older_than, is_dry_run=request.dry_run)
        scanned = count = size = 0
        async with aclosing(pages):
            async for page in pages:
                scanned += page.scanned
                count += len(page.garbage)
                size += sum(blob.size for blob in page.garbage)
                yield retention_pb2.CollectGarbageResponse(
                    garbage=[retention_pb2.Garbage(uri=blob.uri, size_bytes=blob.size) for blob in page.garbage],
                    scanned_count=scanned,
                    garbage_count=count,
                    garbage_bytes=size,
                )


def _target(request: retention_pb2.EraseRequest) -> Target:
    match request.WhichOneof("target"):
        case "execution":
            named = request.execution
            if not (named.project and named.domain and named.name):
                raise missing("execution.project, domain or name")
            return ByName(named.project, named.domain, named.name)
        case "label":
            if not request.label.key:
                raise missing("label.key")
            label = request.label
            return ByLabel(label.key, label.value, label.project, label.domain)
        case "project":
            if not request.project.project:
                raise missing("project.project")
            return ByProject(request.project.project, request.project.domain)
        case _:
            raise missing("target")


def _erased(erasure: Erasure | WholeBatch) -> retention_pb2.EraseResponse:
    if isinstance(erasure, WholeBatch):
        return retention_pb2.EraseResponse(
            batch=retention_pb2.BatchTarget(project=erasure.project, domain=erasure.domain, name=erasure.name),
            rows=erasure.rows,
            blob_count=erasure.blob_count,
            blob_bytes=erasure.blob_bytes,
        )
    name, tally = erasure.execution, erasure.tally
    return retention_pb2.EraseResponse(
        execution=retention_pb2.ExecutionTarget(project=name.project, domain=name.domain, name=name.name),
        rows=erasure.rows,
        blob_count=tally.blob_count,
        blob_bytes=tally.blob_bytes,
        log_count=tally.log_count,
        log_bytes=tally.log_bytes,
        left_alone=tally.left_alone,
        is_running=erasure.is_running,
    )


def _changed(mask: field_mask_pb2.FieldMask) -> frozenset[str]:
    unknown = [path for path in mask.paths if path not in _FIELDS]
    if unknown:
        raise invalid_argument(f"update_mask names {unknown[0]}: it may name {' and '.join(_FIELDS)}")
    return frozenset(mask.paths or _FIELDS)


def _message(project: str, domain: str, policy: Policy) -> retention_pb2.Policy:
    return retention_pb2.Policy(
        project=project, domain=domain, executions_days=policy.executions_days, cache_days=policy.cache_days
    )
