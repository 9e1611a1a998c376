"""TenantService: weights and limits of projects and domains."""

import json

from google.protobuf import field_mask_pb2

from wingbeat_controlplane.errors import invalid_argument, missing
from wingbeat_controlplane.registry.tenant_shares import Share, ShareState, TenantShareStore
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.tenants.v1 import tenants_pb2

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1_000
_FIELDS = ("weight", "running_max")


class TenantServicer:
    """SetShare, GetShare, ListShares, DeleteShare, ListSlots."""

    def __init__(self, shares: TenantShareStore) -> None:
        self._shares = shares

    async def SetShare(
        self, request: tenants_pb2.SetShareRequest, context: CallContext
    ) -> tenants_pb2.SetShareResponse:
        """Create or change a share."""
        share = request.share
        if not share.project:
            raise missing("share.project")
        changed = _changed(request.update_mask)
        stored = await self._shares.set(
            share.project,
            share.domain,
            weight=share.weight if share.HasField("weight") else None,
            running_max=share.running_max if share.HasField("running_max") else None,
            change_weight="weight" in changed,
            change_running_max="running_max" in changed,
        )
        return tenants_pb2.SetShareResponse(share=_share(stored))

    async def GetShare(
        self, request: tenants_pb2.GetShareRequest, context: CallContext
    ) -> tenants_pb2.GetShareResponse:
        """One share and how it stands."""
        if not request.project:
            raise missing("project")
        return tenants_pb2.GetShareResponse(state=_state(await self._shares.get(request.project, request.domain)))

    async def ListShares(
        self, request: tenants_pb2.ListSharesRequest, context: CallContext
    ) -> tenants_pb2.ListSharesResponse:
        """One page of shares."""
        size = _page_size(request.page_size)
        states = await self._shares.list(project=request.project, after=_after(request.page_token), limit=size + 1)
        token = ""
        if len(states) > size:
            last = states[size - 1].share
            token = json.dumps((last.project, last.domain))
        return tenants_pb2.ListSharesResponse(states=[_state(state) for state in states[:size]], next_page_token=token)

    async def DeleteShare(
        self, request: tenants_pb2.DeleteShareRequest, context: CallContext
    ) -> tenants_pb2.DeleteShareResponse:
        """Take a share away."""
        if not request.project:
            raise missing("project")
        await self._shares.delete(request.project, request.domain)
        return tenants_pb2.DeleteShareResponse()

    async def ListSlots(
        self, request: tenants_pb2.ListSlotsRequest, context: CallContext
    ) -> tenants_pb2.ListSlotsResponse:
        """Who holds the slots of a limit."""
        if not request.project:
            raise missing("project")
        size = _page_size(request.page_size)
        holders, total = await self._shares.holders(request.project, request.domain, limit=size)
        slots = [
            tenants_pb2.Slot(
                project=holder.project,
                domain=holder.domain,
                execution=holder.execution,
                node_id=holder.node_id,
                attempt=holder.attempt,
                admitted_at=timestamp(holder.admitted_at),
            )
            for holder in holders
        ]
        return tenants_pb2.ListSlotsResponse(slots=slots, total=total)


def _changed(mask: field_mask_pb2.FieldMask) -> frozenset[str]:
    """Fields that a mask names. Raises ApiError INVALID_ARGUMENT."""
    unknown = [path for path in mask.paths if path not in _FIELDS]
    if unknown:
        raise invalid_argument(f"update_mask names {unknown[0]}: it may name {' and '.join(_FIELDS)}")
    return frozenset(mask.paths or _FIELDS)


def _page_size(asked: int) -> int:
    if asked < 0:
        raise invalid_argument(f"page_size is {asked}: it is at least 0")
    return min(asked or PAGE_SIZE, PAGE_SIZE_MAX)


def _after(token: str) -> tuple[str, str]:
    if not token:
        return "", ""
    try:
        project, domain = json.loads(token)
    except (ValueError, TypeError) as error:
        raise invalid_argument(f"invalid page token {token[:100]} for ListShares") from error
    if not isinstance(project, str) or not isinstance(domain, str) or "\0" in project + domain:
        raise invalid_argument(f"invalid page token {token[:100]} for ListShares")
    return project, domain


def _share(share: Share) -> tenants_pb2.Share:
    return tenants_pb2.Share(
        project=share.project,
        domain=share.domain,
        weight=share.weight,
        running_max=share.running_max,
        updated_at=timestamp(share.updated_at),
    )


def _state(state: ShareState) -> tenants_pb2.ShareState:
    return tenants_pb2.ShareState(
        share=_share(state.share), running=state.running, engines_waiting=state.engines_waiting
    )
