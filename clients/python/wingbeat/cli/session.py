"""A client for one command, and how its errors end the command.

Exit codes: 1 a failed execution or a refusal, 2 what was typed makes no sense, 3 no server.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wingbeat.cli.output import Output, fail
from wingbeat.identifiers import DOMAIN, PROJECT

if TYPE_CHECKING:
    from wingbeat import Client
    from wingbeat.errors import ServerError

FAILED = 1
USAGE = 2
UNREACHABLE = 3

_UNREACHABLE_S = 3.0

Endpoint: TypeAlias = Annotated[
    str | None, typer.Option("--endpoint", "-e", help="host:port of the server; https:// before it for TLS.")
]
DataDir: TypeAlias = Annotated[str | None, typer.Option(help="Folder of the installation to ask.")]
Project: TypeAlias = Annotated[str, typer.Option("--project", "-p", help="Project of what is named without one.")]
Domain: TypeAlias = Annotated[str, typer.Option("--domain", "-d", help="Domain of what is named without one.")]
OutputOption: TypeAlias = Annotated[Output, typer.Option("-o", "--output", help="For people or for programs.")]

__all__ = ["DOMAIN", "PROJECT", "DataDir", "Domain", "Endpoint", "OutputOption", "Project", "session"]


@contextmanager
def session(endpoint: str | None, data_dir: str | None, project: str, domain: str) -> "Generator[Client]":
    """A client of the installation meant by the flags. What goes wrong ends the command with a sentence."""
    from wingbeat import Client, Patience
    from wingbeat.errors import (
        ConversionError,
        DeadlineExceededError,
        EndpointError,
        InvalidArgumentError,
        ServerError,
        UnavailableError,
        WingbeatError,
    )

    address = endpoint or "the server"
    try:
        patience = Patience(unreachable_s=_UNREACHABLE_S)
        with Client(endpoint, data_dir=data_dir, project=project, domain=domain, patience=patience) as client:
            address = client.endpoint.address
            yield client
    except (UnavailableError, DeadlineExceededError) as error:
        fail(f"the server at {address} does not answer: {error.message}", UNREACHABLE)
    except EndpointError as error:
        fail(str(error), UNREACHABLE)
    except InvalidArgumentError as error:
        fail(_with_fields(error), USAGE)
    except ServerError as error:
        fail(_with_fields(error), FAILED)
    except (ConversionError, ValueError) as error:
        fail(str(error), USAGE)
    except WingbeatError as error:
        fail(str(error), FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _with_fields(error: "ServerError") -> str:
    fields = "".join(f"\n  {one.field}: {one.description}" for one in error.violations)
    return f"{error.message or error.code}{fields}"
