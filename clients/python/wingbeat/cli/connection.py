"""Which server a command speaks to: the options that all commands have for it.

`--endpoint` and `--data-dir` are parameters of the commands. Wherever there is an `--endpoint` there is a `--ca-cert`,
too; what makes the connection asks for it here.
"""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any, TypeAlias

import typer

Endpoint: TypeAlias = Annotated[
    str | None, typer.Option("--endpoint", "-e", help="host:port of the server; https:// before it for TLS.")
]
DataDir: TypeAlias = Annotated[str | None, typer.Option(help="Folder of the installation to ask.")]

_CaCert: TypeAlias = Annotated[
    str | None,
    typer.Option("--ca-cert", metavar="FILE", help="PEM file of who vouches for the server, which speaks TLS then."),
]
_NAME = "ca_cert"

_certificate: ContextVar[str | None] = ContextVar("certificate", default=None)


def with_ca_cert(command: Callable[..., object]) -> Callable[..., object]:
    """A command with the option to name the authorities of its server, if it speaks to one and has no such option."""
    signature = inspect.signature(command)
    if "endpoint" not in signature.parameters or _NAME in signature.parameters:
        return command

    @functools.wraps(command)
    def told(**values: Any) -> object:
        _certificate.set(values.pop(_NAME))
        return command(**values)

    option = inspect.Parameter(_NAME, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_CaCert)
    told.__dict__["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), option])
    told.__annotations__ = {**command.__annotations__, _NAME: _CaCert}
    return told


def ca_certificate() -> str | None:
    """What `--ca-cert` says of the command that runs."""
    return _certificate.get()
