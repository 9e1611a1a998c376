"""Which server a command speaks to, and how.

Named by a flag, by WINGBEAT_ENDPOINT, or by a client configuration as flytekit and flytectl read it: the one of the
data folder that a flag names, the one that FLYTECTL_CONFIG names, or the one of the usual data folder.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

DEFAULT = "localhost:8089"
ANSWER_BYTES_MAX = 256 << 20

_LINE = re.compile(r"^(\s*)(\w+):\s*(?:['\"]?)(.*?)(?:['\"]?)\s*(?:#.*)?$")


class EndpointError(Exception):
    """The file that shall name the server does not."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host:port`, in the clear or with TLS."""

    address: str
    insecure: bool = True

    def connect(self) -> "grpc.Channel":
        """A channel; nothing is sent before the first call."""
        import grpc

        options = [("grpc.max_receive_message_length", ANSWER_BYTES_MAX)]
        if self.insecure:
            return grpc.insecure_channel(self.address, options=options)
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(), options=options)


def find_endpoint(flag: str | None, data_dir: str | None, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """Where the server is. Raises EndpointError for a configuration that is named and names none."""
    if flag:
        return Endpoint(_address(flag))
    if data_dir:
        return _named_by(Path(data_dir).expanduser() / "flyte-config.yaml")
    if address := environment.get("WINGBEAT_ENDPOINT"):
        return Endpoint(_address(address))
    if file := environment.get("FLYTECTL_CONFIG"):
        return _named_by(Path(file).expanduser())
    usual = Path(environment.get("WINGBEAT_DATA_DIR") or "~/.wingbeat").expanduser() / "flyte-config.yaml"
    return _named_by(usual) if usual.exists() else Endpoint(DEFAULT)


def _named_by(file: Path) -> Endpoint:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EndpointError(f"{file} cannot be read, so no server is known; name one with --endpoint") from error
    admin = parse_admin(text)
    if not admin.get("endpoint"):
        raise EndpointError(f"{file} has no `endpoint` under `admin`; name a server with --endpoint")
    return Endpoint(_address(admin["endpoint"]), insecure=admin.get("insecure", "false").lower() in {"true", "yes"})


def parse_admin(text: str) -> dict[str, str]:
    """The plain values under the key `admin` of a client configuration, which is YAML of the simplest kind."""
    values: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent, key, value = match.groups()
        if not indent:
            inside = key == "admin"
        elif inside and value:
            values[key] = value
    return values


def _address(text: str) -> str:
    return text.removeprefix("dns:///").removeprefix("http://").removeprefix("grpc://").rstrip("/")
