"""A client for one command, and how its errors end the command.

Exit codes: 1 a failed execution or a refusal, 2 what was typed makes no sense, 3 no server.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wingbeat.cli.connection import DataDir, Endpoint, ca_certificate
from wingbeat.cli.output import Output, fail
from wingbeat.cli.refusals import refusal, silence
from wingbeat.identifiers import DOMAIN, PROJECT

if TYPE_CHECKING:
    from wingbeat import Client
    from wingbeat.errors import ServerError

FAILED = 1
USAGE = 2
UNREACHABLE = 3

_UNREACHABLE_S = 3.0

Project: TypeAlias = Annotated[str, typer.Option("--project", "-p", help="Project of what is named without one.")]
Domain: TypeAlias = Annotated[str, typer.Option("--domain", "-d", help="Domain of what is named without one.")]
OutputOption: TypeAlias = Annotated[Output, typer.Option("-o", "--output", help="For people or for programs.")]

__all__ = ["DOMAIN", "PROJECT", "DataDir", "Domain", "Endpoint", "OutputOption", "Project", "require_place", "session"]


@contextmanager
def session(endpoint: str | None, data_dir: str | None, project: str, domain: str) -> "Generator[Client]":
    """A client of the installation meant by the flags. What goes wrong ends the command with a sentence."""
    from wingbeat import Client, Patience
    from wingbeat.errors import (
        ConversionError,
        DeadlineExceededError,
        EndpointError,
        InvalidArgumentError,
        NotFoundError,
        ServerError,
        UnavailableError,
        WingbeatError,
    )

    address = endpoint or "the server"
    try:
        patience = Patience(unreachable_s=_UNREACHABLE_S)
        with Client(
            endpoint,
            ca_certificate=ca_certificate(),
            data_dir=data_dir,
            project=project,
            domain=domain,
            patience=patience,
        ) as client:
            address = client.endpoint.address
            try:
                yield client
            except NotFoundError:
                require_place(client)
                raise
    except (UnavailableError, DeadlineExceededError) as error:
        fail(silence(address, error.message), UNREACHABLE)
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


def require_place(client: "Client") -> None:
    """NotFoundError when the project or the domain of the client does not exist: then nothing in it does."""
    from wingbeat.errors import NotFoundError

    projects = {one.id: one for one in client.projects()}
    if client.project not in projects:
        raise NotFoundError("NOT_FOUND", f"there is no project {client.project!r}; there are: {', '.join(projects)}")
    domains = [one.id for one in projects[client.project].domains]
    if client.domain not in domains:
        raise NotFoundError("NOT_FOUND", f"there is no domain {client.domain!r}; there are: {', '.join(domains)}")


def _with_fields(error: "ServerError") -> str:
    shown = [one for one in error.violations if one.description != error.message]
    fields = "".join(f"\n  {one.field}: {one.description}" for one in shown)
    return f"{refusal(error.message) or error.code}{fields}"
