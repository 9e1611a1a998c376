"""What `up` and `status` say about a running installation: where it is and how clients reach it."""

from wingbeat.cli.output import escape
from wingbeat_controlplane.supervisor.data_folder import DataFolder, State


def describe(state: State, folder: DataFolder) -> str:
    """Addresses, folders and the line a flytekit user types next, as Rich markup."""
    rows = (
        ("gRPC", state.grpc_endpoint),
        ("HTTP", state.http_url),
        ("Data", str(folder.path)),
        ("Logs", str(folder.logs)),
        ("Clients", f"export FLYTECTL_CONFIG={folder.client_config}"),
        ("", "pyflyte run --remote FILE.py WORKFLOW"),
    )
    lines = [f"[bold green]Wingbeat {state.version} is {'ready' if state.ready else 'starting'}[/]"]
    return "\n".join(lines + [f"  [dim]{name:8}[/] {escape(value)}" for name, value in rows])
