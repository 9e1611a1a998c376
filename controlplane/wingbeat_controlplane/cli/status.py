"""`wingbeat status`: what runs on a data folder, and how the installation is doing."""

from datetime import UTC, datetime
from typing import Annotated

import grpc
import typer

from wingbeat.cli.output import fail, say
from wingbeat.endpoint import Endpoint, find_endpoint
from wingbeat_controlplane.cli.description import describe
from wingbeat_controlplane.cli.settings_flags import flags_of, settings_or_fail
from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeatidl.operations.v1 import operations_pb2

_NOT_RUNNING = 3


def status(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation; by default ~/.wingbeat.")] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Show what runs and where. Exit status: 0 ready, 1 running but not answering, 3 not running."""
    folder = DataFolder(settings_or_fail(flags_of(data_dir=data_dir), config).settings.data_dir)
    state = folder.read_state()
    if folder.holder() is None or state is None:
        say(f"Wingbeat does not run on {folder.path}; start it with `wingbeat up`.")
        raise typer.Exit(_NOT_RUNNING)
    say(describe(state, folder))
    for role, process in sorted(state.processes.items()):
        say(f"  [dim]{role:14}[/] pid {process.pid}{'' if process.is_alive() else ' [red](ended)[/]'}")
    if not state.ready:
        raise typer.Exit(1)
    _print_installation(find_endpoint(data_dir=str(folder.path)))


def _print_installation(endpoint: Endpoint) -> None:
    answer = _ask(endpoint)
    say(f"  [dim]{'executions':14}[/] {answer.live_executions} under way")
    say(f"  [dim]{'schema':14}[/] migration {answer.schema_version}")
    now = datetime.now(UTC)
    for engine in answer.propellers:
        left_s = (engine.lease_expires_at.ToDatetime(tzinfo=UTC) - now).total_seconds()
        say(f"  [dim]{'engine':14}[/] {engine.name}: {engine.shards} shards, lease for {left_s:.0f} s more")


def _ask(endpoint: Endpoint) -> operations_pb2.GetStatusResponse:
    with endpoint.connect() as channel:
        get_status = channel.unary_unary(
            "/wingbeatidl.operations.v1.OperationsService/GetStatus",
            request_serializer=operations_pb2.GetStatusRequest.SerializeToString,
            response_deserializer=operations_pb2.GetStatusResponse.FromString,
        )
        try:
            return get_status(operations_pb2.GetStatusRequest(), timeout=5)
        except grpc.RpcError as error:
            reason = error.details() if isinstance(error, grpc.Call) else str(error)
            fail(f"the server at {endpoint.address} does not answer: {reason}")
