"""`wingbeat limits`: what projects and domains get, and who holds the slots of a limit."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from google.protobuf import field_mask_pb2

from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.examples import epilog
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document, say_table
from wingbeat.cli.session import DataDir, Endpoint
from wingbeatidl.tenants.v1 import tenants_pb2

if TYPE_CHECKING:
    import grpc

limits = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Weights and limits of projects and their domains."
)

Project: TypeAlias = Annotated[str, typer.Argument(metavar="PROJECT")]
Domain: TypeAlias = Annotated[
    str, typer.Argument(metavar="[DOMAIN]", help="One domain of the project; without it the whole project.")
]
Output: TypeAlias = Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")]

_SERVICE = "/wingbeatidl.tenants.v1.TenantService/"
_PAGE = 1_000


class TenantClient:
    """The rpcs of an installation's TenantService. They raise grpc.RpcError."""

    def __init__(self, channel: "grpc.Channel") -> None:
        self._set = channel.unary_unary(
            f"{_SERVICE}SetShare",
            request_serializer=tenants_pb2.SetShareRequest.SerializeToString,
            response_deserializer=tenants_pb2.SetShareResponse.FromString,
        )
        self._list = channel.unary_unary(
            f"{_SERVICE}ListShares",
            request_serializer=tenants_pb2.ListSharesRequest.SerializeToString,
            response_deserializer=tenants_pb2.ListSharesResponse.FromString,
        )
        self._delete = channel.unary_unary(
            f"{_SERVICE}DeleteShare",
            request_serializer=tenants_pb2.DeleteShareRequest.SerializeToString,
            response_deserializer=tenants_pb2.DeleteShareResponse.FromString,
        )
        self._slots = channel.unary_unary(
            f"{_SERVICE}ListSlots",
            request_serializer=tenants_pb2.ListSlotsRequest.SerializeToString,
            response_deserializer=tenants_pb2.ListSlotsResponse.FromString,
        )

    def set(self, request: tenants_pb2.SetShareRequest) -> tenants_pb2.Share:
        """Create or change a share."""
        return self._set(request, timeout=TIMEOUT_S).share

    def list(self, project: str) -> list[tenants_pb2.ShareState]:
        """All shares of a project, or of all."""
        request = tenants_pb2.ListSharesRequest(project=project, page_size=_PAGE)
        states: list[tenants_pb2.ShareState] = []
        while True:
            page = self._list(request, timeout=TIMEOUT_S)
            states += page.states
            if not page.next_page_token:
                return states
            request.page_token = page.next_page_token

    def delete(self, project: str, domain: str) -> None:
        """Take a share away."""
        self._delete(tenants_pb2.DeleteShareRequest(project=project, domain=domain), timeout=TIMEOUT_S)

    def slots(self, project: str, domain: str, count: int) -> tenants_pb2.ListSlotsResponse:
        """Who holds the slots of a limit."""
        request = tenants_pb2.ListSlotsRequest(project=project, domain=domain, page_size=count)
        return self._slots(request, timeout=TIMEOUT_S)


@contextmanager
def _client(endpoint: str | None, data_dir: str | None) -> Generator[TenantClient]:
    with calls_to(endpoint, data_dir) as channel:
        yield TenantClient(channel)


@limits.command("list", epilog=epilog("wingbeat limits list", "wingbeat limits list vision -o json"))
def list_shares(
    project: Annotated[str, typer.Argument(metavar="[PROJECT]", help="Only shares of this project.")] = "",
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show weights and limits, and how many attempts hold slots now."""
    with _client(endpoint, data_dir) as client:
        states = client.list(project)
    if output is not Format.TEXT:
        say_document(output, [as_json(state) for state in states])
    elif not states:
        say("No weight and no limit is set: all tenants have equal turns, and run what there is room for.")
    else:
        say_table(["project", "domain", "weight", "limit", "running", "engines waiting"], map(_cells, states))


def _cells(state: tenants_pb2.ShareState) -> list[str]:
    share = state.share
    limited = share.HasField("running_max")
    return [
        escape(share.project),
        escape(share.domain) or "[dim]all[/]",
        str(share.weight) if share.HasField("weight") else "[dim]-[/]",
        str(share.running_max) if limited else "[dim]none[/]",
        str(state.running) if limited else "[dim]-[/]",
        str(state.engines_waiting) if limited else "[dim]-[/]",
    ]


@limits.command(
    "set",
    epilog=epilog("wingbeat limits set vision --weight 3", "wingbeat limits set vision production --running-max 50"),
)
def set_share(
    project: Project,
    domain: Domain = "",
    weight: Annotated[
        int | None, typer.Option(help="Turns in proportion to those of other tenants, 1 to 1000.")
    ] = None,
    running_max: Annotated[
        int | None, typer.Option(help="Tasks under way at once over all engines; 0: nothing new starts.")
    ] = None,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Set weight, limit or both; what is not named stays as it is. Takes effect at once, without a restart."""
    share = tenants_pb2.Share(project=project, domain=domain, weight=weight, running_max=running_max)
    changed = [name for name in ("weight", "running_max") if share.HasField(name)]
    if not changed:
        fail("say what to set: --weight, --running-max or both", status=2)
    request = tenants_pb2.SetShareRequest(share=share, update_mask=field_mask_pb2.FieldMask(paths=changed))
    with _client(endpoint, data_dir) as client:
        stored = client.set(request)
    weight_text = str(stored.weight) if stored.HasField("weight") else "none of its own"
    limit_text = str(stored.running_max) if stored.HasField("running_max") else "none"
    say(f"{_name(project, domain)}: weight {weight_text}, limit {limit_text}")


@limits.command("clear", epilog=epilog("wingbeat limits clear vision"))
def clear_share(
    project: Project,
    domain: Domain = "",
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Take weight and limit away."""
    with _client(endpoint, data_dir) as client:
        client.delete(project, domain)
    say(f"{_name(project, domain)}: no weight of its own, no limit")


@limits.command("slots", epilog=epilog("wingbeat limits slots vision --limit 20"))
def list_slots(
    project: Project,
    domain: Domain = "",
    limit: Annotated[int, typer.Option(help="Attempts to show, up to 1000.")] = 100,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show which attempts hold the slots of a limit, oldest first."""
    with _client(endpoint, data_dir) as client:
        answer = client.slots(project, domain, limit)
    if output is not Format.TEXT:
        say_document(output, as_json(answer))
        return
    say(f"{_name(project, domain)}: {answer.total} attempts hold slots")
    for slot in answer.slots:
        since = slot.admitted_at.ToJsonString()
        say(f"  {escape(f'{slot.domain} {slot.execution} {slot.node_id}')} attempt {slot.attempt} since {since}")


def _name(project: str, domain: str) -> str:
    return escape(f"{project}/{domain}" if domain else project)
