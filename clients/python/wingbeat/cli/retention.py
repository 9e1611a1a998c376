"""`wingbeat retention`: how long executions and cache entries are kept."""

from typing import Annotated

import typer
from google.protobuf import field_mask_pb2

from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.examples import epilog
from wingbeat.cli.limits import Domain, Output, Project
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document, say_table
from wingbeat.cli.session import DataDir, Endpoint
from wingbeatidl.retention.v1 import retention_pb2

retention = typer.Typer(
    add_completion=False, no_args_is_help=True, help="How long executions and cache entries are kept."
)

_SERVICE = "/wingbeatidl.retention.v1.RetentionService/"


@retention.command("list", epilog=epilog("wingbeat retention list"))
def list_policies(output: Output = Format.TEXT, endpoint: Endpoint = None, data_dir: DataDir = None) -> None:
    """Show the installation's setting and the policies of projects and domains."""
    with calls_to(endpoint, data_dir) as channel:
        call = channel.unary_unary(
            f"{_SERVICE}ListPolicies",
            request_serializer=retention_pb2.ListPoliciesRequest.SerializeToString,
            response_deserializer=retention_pb2.ListPoliciesResponse.FromString,
        )
        answer = call(retention_pb2.ListPoliciesRequest(), timeout=TIMEOUT_S)
    if output is not Format.TEXT:
        say_document(output, as_json(answer))
        return
    rows = [
        [
            escape(policy.project) or "[dim]all others[/]",
            escape(policy.domain) or "[dim]all[/]",
            _days(policy, "executions_days"),
            _days(policy, "cache_days"),
        ]
        for policy in (answer.installation, *answer.policies)
    ]
    say_table(["project", "domain", "executions", "cache entries"], rows)


@retention.command(
    "set",
    epilog=epilog(
        "wingbeat retention set vision --executions-days 90",
        "wingbeat retention set vision development --executions-days 7 --cache-days 30",
    ),
)
def set_policy(
    project: Project,
    domain: Domain = "",
    executions_days: Annotated[
        int | None, typer.Option(help="Days after the end of an execution; 0: for ever.")
    ] = None,
    cache_days: Annotated[
        int | None, typer.Option(help="Days after a cache entry was made or renewed; 0: for ever.")
    ] = None,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Set one or both; what is not named stays as it is. What is older goes within minutes."""
    policy = retention_pb2.Policy(
        project=project, domain=domain, executions_days=executions_days, cache_days=cache_days
    )
    changed = [name for name in ("executions_days", "cache_days") if policy.HasField(name)]
    if not changed:
        fail("say what to set: --executions-days, --cache-days or both", status=2)
    request = retention_pb2.SetPolicyRequest(policy=policy, update_mask=field_mask_pb2.FieldMask(paths=changed))
    with calls_to(endpoint, data_dir) as channel:
        call = channel.unary_unary(
            f"{_SERVICE}SetPolicy",
            request_serializer=retention_pb2.SetPolicyRequest.SerializeToString,
            response_deserializer=retention_pb2.SetPolicyResponse.FromString,
        )
        stored = call(request, timeout=TIMEOUT_S).policy
    executions, cache = _days(stored, "executions_days"), _days(stored, "cache_days")
    say(f"{_name(project, domain)}: executions {executions}, cache entries {cache}")


@retention.command("clear", epilog=epilog("wingbeat retention clear vision development"))
def clear_policy(project: Project, domain: Domain = "", endpoint: Endpoint = None, data_dir: DataDir = None) -> None:
    """Take a policy away; the project's, or the installation's, holds again."""
    with calls_to(endpoint, data_dir) as channel:
        call = channel.unary_unary(
            f"{_SERVICE}DeletePolicy",
            request_serializer=retention_pb2.DeletePolicyRequest.SerializeToString,
            response_deserializer=retention_pb2.DeletePolicyResponse.FromString,
        )
        call(retention_pb2.DeletePolicyRequest(project=project, domain=domain), timeout=TIMEOUT_S)
    say(f"{_name(project, domain)}: no policy of its own")


def _days(policy: retention_pb2.Policy, field: str) -> str:
    if not policy.HasField(field):  # pyright: ignore[reportArgumentType]
        return "as above"
    days = getattr(policy, field)
    return f"{days} days" if days else "for ever"


def _name(project: str, domain: str) -> str:
    return escape(f"{project}/{domain}" if domain else project)
