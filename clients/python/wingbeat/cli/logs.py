"""`wingbeat logs`: what tasks print, of every attempt and every element of maps.

The links are those of the task executions; a log is read by HTTP, further on from where it was read to, until its
attempt has ended. With several logs each line says whose it is.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.output import fail_softly
from wingbeat.cli.session import DOMAIN, PROJECT, DataDir, Domain, Endpoint, Project, session

if TYPE_CHECKING:
    from wingbeat import Client
    from wingbeat.executions import Attempt, Execution, LogLink

EXAMPLES = (
    "wingbeat logs a1b2c3",
    "wingbeat logs a1b2c3 n0 --attempt 1 --stderr",
    "wingbeat logs a1b2c3 n2 --element 17",
    "wingbeat logs a1b2c3 -f",
)

_TIMEOUT_S = 30.0
_POLL_S = 1.0
_CHUNK_BYTES = 1 << 20
_PARTIAL = 206
_NOTHING_NEW = 416


@dataclass
class _Log:
    """One log: how far it was read, and the beginning of a line whose end is not there yet."""

    label: str
    uri: str
    position: int = 0
    rest: bytes = field(default=b"")
    is_over: bool = False


def logs(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Name, or project/domain/name.")],
    node: Annotated[str, typer.Argument(metavar="[NODE]", help="One node, by its unique id; without it all.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(help="Only this attempt, from 0.")] = None,
    element: Annotated[int | None, typer.Option(help="Only this element of a map, from 0.")] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only the standard output.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only the error output.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Lines as they are, without whose they are.")] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Print the logs of an execution's tasks: every attempt, every element."""
    streams = {name for name, wanted in (("stdout", stdout), ("stderr", stderr)) if wanted}

    def is_wanted(link: "LogLink") -> bool:
        return (
            (attempt is None or link.attempt == attempt)
            and (element is None or link.element == element)
            and (not streams or _stream(link) in streams)
        )

    with session(endpoint, data_dir, project, domain) as client:
        known: dict[str, _Log] = {}
        while True:
            found = client.execution(execution)
            for one in _attempts(client, found, node):
                for link in filter(is_wanted, one.logs):
                    log = known.setdefault(link.uri, _Log(_label(one, link), link.uri))
                    if not log.is_over:
                        _print_new(log, bare=bare)
                        log.is_over = one.phase.ended
            if not follow or found.ended:
                break
            time.sleep(_POLL_S)
        for log in known.values():
            if log.rest:
                _print(log, [log.rest], bare=bare)
        if not known:
            if node:
                client.node(execution, node)  # one that does not exist is said
            fail_softly("There are no logs.")


def _attempts(client: "Client", execution: "Execution", node: str) -> "Iterator[Attempt]":
    names = [node] if node else [one.id for _, one in client.all_nodes(execution)]
    for name in names:
        for found in client.attempts(execution, name):
            one = found
            if one.message.closure.metadata.external_resources:
                one = client.attempt(one)  # lists hold fewer elements
            yield one


def _label(attempt: "Attempt", link: "LogLink") -> str:
    element = f"[{link.element}]" if link.element is not None else ""
    return f"{attempt.node}{element} {link.attempt} {_stream(link)}"


def _stream(link: "LogLink") -> str:
    """`stdout` or `stderr`; links of elements have their number in their name, too."""
    return link.name.partition("-")[0] if link.element is not None else link.name


def _print_new(log: _Log, *, bare: bool) -> None:
    """All whole lines that came since the last look."""
    lines = (log.rest + _read(log)).split(b"\n")
    log.rest = lines.pop()
    _print(log, lines, bare=bare)


def _print(log: _Log, lines: list[bytes], *, bare: bool) -> None:
    for line in lines:
        text = line.decode(errors="replace").rstrip("\r")
        typer.echo(text if bare else f"{log.label}: {text}")


def _read(log: _Log) -> bytes:
    """What the log has beyond what was read; nothing when it is not there (yet, or any more)."""
    if not log.uri.startswith(("http://", "https://")):
        log.is_over = True
        return f"(is at {log.uri})\n".encode()
    request = urllib.request.Request(log.uri, headers={"Range": f"bytes={log.position}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  (http, checked above)
            if answer.status != _PARTIAL:
                _skip(answer, log.position)
            data: bytes = answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return b""
    except (OSError, EOFError):
        return b""
    log.position += len(data)
    return data


def _skip(answer: "typer.FileBinaryRead | object", size: int) -> None:
    left = size
    while left > 0:
        chunk = answer.read(min(left, _CHUNK_BYTES))  # pyright: ignore
        if not chunk:
            return
        left -= len(chunk)  # pyright: ignore
