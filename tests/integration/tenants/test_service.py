"""TenantService over gRPC."""

from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from google.protobuf import field_mask_pb2
from tests.integration.engine.harness import chain, launch, register
from tests.integration.tenants.conftest import Member, asks, seen_now

from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_controlplane.services.tenants import TenantServicer
from wingbeatidl.tenants.v1 import tenants_pb2, tenants_pb2_grpc


@pytest.fixture
async def tenants(shares: TenantShareStore) -> AsyncIterator[tenants_pb2_grpc.TenantServiceStub]:
    """A client."""
    service = tenants_pb2.DESCRIPTOR.services_by_name["TenantService"]
    server = GrpcServer(rpcs_of(service, TenantServicer(shares)), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield tenants_pb2_grpc.TenantServiceStub(channel)
    finally:
        await server.stop(0)


def _set(*mask: str, domain: str = "development", **fields: int) -> tenants_pb2.SetShareRequest:
    share = tenants_pb2.Share(project="flytesnacks", domain=domain, **fields)
    return tenants_pb2.SetShareRequest(share=share, update_mask=field_mask_pb2.FieldMask(paths=mask))


async def test_a_share_is_set_changed_in_part_and_deleted(tenants: tenants_pb2_grpc.TenantServiceStub) -> None:
    """Fields that the mask names change, also to nothing; the others stay; a deleted share is not found."""
    stored = (await tenants.SetShare(_set(weight=3, running_max=10))).share
    assert (stored.weight, stored.running_max) == (3, 10)
    stored = (await tenants.SetShare(_set("running_max", weight=9, running_max=0))).share
    assert (stored.weight, stored.running_max) == (3, 0)
    stored = (await tenants.SetShare(_set("running_max"))).share
    assert (stored.weight, stored.HasField("running_max")) == (3, False)
    whose = {"project": "flytesnacks", "domain": "development"}
    got = (await tenants.GetShare(tenants_pb2.GetShareRequest(**whose))).state.share
    assert got == stored
    await tenants.DeleteShare(tenants_pb2.DeleteShareRequest(**whose))
    for call in (
        tenants.GetShare(tenants_pb2.GetShareRequest(**whose)),
        tenants.DeleteShare(tenants_pb2.DeleteShareRequest(**whose)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "flytesnacks" in (caught.value.details() or "")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (_set(weight=0), "between 1 and 1000"),
        (_set(weight=1001), "between 1 and 1000"),
        (_set(running_max=-1), "between 0 and"),
        (_set(), "says nothing"),
        (_set("project", weight=1), "update_mask"),
        (_set(domain="nowhere", weight=1), "nowhere"),
        (tenants_pb2.SetShareRequest(share=tenants_pb2.Share(project="nobody", weight=1)), "nobody"),
        (tenants_pb2.SetShareRequest(share=tenants_pb2.Share(weight=1)), "project"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    tenants: tenants_pb2_grpc.TenantServiceStub,
    pool: asyncpg.Pool,
    request_: tenants_pb2.SetShareRequest,
    says: str,
) -> None:
    """A mistake is INVALID_ARGUMENT with a sentence, and nothing has changed."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tenants.SetShare(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert says in (caught.value.details() or "")
    assert await pool.fetchval("SELECT count(*) FROM tenant_shares") == 0


async def test_shares_are_listed_page_by_page(tenants: tenants_pb2_grpc.TenantServiceStub) -> None:
    """All shares come in order, each once, however small the pages; a token that is none is refused."""
    for domain in ("staging", "", "production", "development"):
        await tenants.SetShare(_set(domain=domain, weight=2))
    found: list[str] = []
    request = tenants_pb2.ListSharesRequest(page_size=3)
    while True:
        page = await tenants.ListShares(request)
        assert len(page.states) <= 3
        found += [state.share.domain for state in page.states]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == ["", "development", "production", "staging"]
    assert not (await tenants.ListShares(tenants_pb2.ListSharesRequest(project="another"))).states
    for bad in (
        tenants_pb2.ListSharesRequest(page_token="nonsense"),
        tenants_pb2.ListSharesRequest(page_token='["a\\u0000", "b"]'),
        tenants_pb2.ListSharesRequest(page_size=-1),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await tenants.ListShares(bad)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_who_holds_slots_is_told(
    tenants: tenants_pb2_grpc.TenantServiceStub, shares: TenantShareStore, pool: asyncpg.Pool, member: Member
) -> None:
    """Holders are named by execution, node and attempt; counts say how many run and how many engines wait."""
    workflow = await register(pool, chain("chain", 1))
    await launch(pool, workflow, ["first", "second"])
    keys = {row["name"]: row["id"] for row in await pool.fetch("SELECT id, name FROM executions")}
    await tenants.SetShare(_set(running_max=1))
    slots = await member()
    seen = await seen_now(slots)
    await slots.admit(asks("n0", execution=keys["first"]), seen=seen)
    await slots.admit(asks("n0", execution=keys["second"]), seen=seen)
    (state,) = (await tenants.ListShares(tenants_pb2.ListSharesRequest())).states
    assert (state.running, state.engines_waiting) == (1, 1)
    answer = await tenants.ListSlots(tenants_pb2.ListSlotsRequest(project="flytesnacks"))
    assert answer.total == 1
    assert [(slot.execution, slot.node_id, slot.attempt) for slot in answer.slots] == [("first", "n0", 0)]
    elsewhere = tenants_pb2.ListSlotsRequest(project="flytesnacks", domain="staging")
    assert not (await tenants.ListSlots(elsewhere)).slots
