"""`wingbeat gc`: blobs that nothing refers to go."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from wingbeat.cli.calls import calls_to
from wingbeat.cli.limits import Output
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_json
from wingbeat.cli.session import DataDir, Endpoint
from wingbeat.cli.sizes import show_bytes
from wingbeatidl.retention.v1 import retention_pb2

_METHOD = "/wingbeatidl.retention.v1.RetentionService/CollectGarbage"
_SPAN = re.compile(r"(\d+)([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


def collect(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and touch nothing.")] = False,
    project: Annotated[str, typer.Option(help="Only blobs of executions of this project.")] = "",
    older_than: Annotated[str, typer.Option(metavar="30d", help="Only blobs that are older: 12h, 30d, 4w.")] = "30d",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Remove old blobs that no kept execution, cache entry, artifact or registered entity refers to."""
    span = parse_span(older_than)
    if span is None:
        fail(f"{older_than!r} is no age: write 12h, 30d or 4w", status=2)
    request = retention_pb2.CollectGarbageRequest(project=project, dry_run=dry_run)
    request.older_than.FromTimedelta(span)
    if not dry_run and not yes:
        typer.confirm("What is removed cannot be brought back (--dry-run shows it). Remove?", abort=True, err=True)
    last = retention_pb2.CollectGarbageResponse()
    with calls_to(endpoint, data_dir) as channel:
        call = channel.unary_stream(
            _METHOD,
            request_serializer=retention_pb2.CollectGarbageRequest.SerializeToString,
            response_deserializer=retention_pb2.CollectGarbageResponse.FromString,
        )
        for last in call(request):
            for garbage in last.garbage:
                if output is Format.JSON:
                    say_json(as_json(garbage))
                elif dry_run:
                    say(f"{show_bytes(garbage.size_bytes):>10}  {escape(garbage.uri)}")
    if output is Format.TEXT:
        done = "would go" if dry_run else "are gone"
        say(
            f"{last.garbage_count} of {last.scanned_count} blobs {done}:"
            f" {show_bytes(last.garbage_bytes)}, older than {older_than}"
        )


def parse_span(text: str) -> timedelta | None:
    """Hours, days or weeks; None for what is none."""
    match = _SPAN.fullmatch(text)
    return timedelta(hours=int(match[1]) * _HOURS[match[2]]) if match else None
