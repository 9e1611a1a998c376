"""Which server a client or a command speaks to, and how.

Named by the caller, by WINGBEAT_ENDPOINT, or by a client configuration as flytekit and flytectl read it: the one of
the data folder that a flag names, the one that FLYTECTL_CONFIG (or FLYTE_CONFIG) names, the one of the usual data
folder, or `~/.flyte/config.yaml`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.errors import EndpointError

if TYPE_CHECKING:
    import grpc

DEFAULT = "localhost:8089"
CA_VARIABLE = "WINGBEAT_CA_CERT"
"""Names the PEM file of the authorities of a server that is named by its address."""
ANSWER_BYTES_MAX = 256 << 20
"""Largest answer that a client takes."""

_LINE = re.compile(r"^(\s*)(\w+):\s*(?:['\"]?)(.*?)(?:['\"]?)\s*(?:#.*)?$")
_TRUE = {"true", "yes", "on"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host:port`, in the clear or with TLS. `ca_certificate` is a PEM file; without it the usual authorities count."""

    address: str
    insecure: bool = True
    ca_certificate: str | None = None

    def trusting(self, ca_certificate: str | None) -> "Endpoint":
        """With TLS and these authorities, if any are named."""
        return self if ca_certificate is None else replace(self, insecure=False, ca_certificate=ca_certificate)

    def connect(self) -> "grpc.Channel":
        """A channel; nothing is sent before the first call. Raises EndpointError for an absent certificate."""
        import grpc

        if self.insecure:
            return grpc.insecure_channel(self.address, options=channel_options())
        return grpc.secure_channel(self.address, self.credentials(), options=channel_options())

    def connect_async(self, options: Sequence[tuple[str, str | int]]) -> "grpc.aio.Channel":
        """The same for asyncio, with these options."""
        import grpc.aio

        if self.insecure:
            return grpc.aio.insecure_channel(self.address, options=options)
        return grpc.aio.secure_channel(self.address, self.credentials(), options=options)

    @property
    def host(self) -> str:
        """Host name in the address."""
        return self.address.rpartition(":")[0].strip("[]") or self.address

    def credentials(self) -> "grpc.ChannelCredentials":
        """Of a TLS connection. Raises EndpointError for a certificate that cannot be read."""
        import grpc

        if self.ca_certificate is None:
            return grpc.ssl_channel_credentials()
        try:
            return grpc.ssl_channel_credentials(Path(self.ca_certificate).expanduser().read_bytes())
        except OSError as error:
            raise EndpointError(f"the certificate {self.ca_certificate} cannot be read: {error}") from error


def channel_options() -> list[tuple[str, int]]:
    """Limits of messages, and probes by which a dead connection is noticed."""
    return [
        ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
        ("grpc.max_send_message_length", ANSWER_BYTES_MAX),
        ("grpc.max_metadata_size", 64 << 10),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]


def find_endpoint(
    address: str | None = None,
    data_dir: str | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    config: str | None = None,
) -> Endpoint:
    """Where the server is. Raises EndpointError for a configuration that is named and names none.

    `address` is host:port, with `https://` before it for TLS, whose authorities WINGBEAT_CA_CERT names; `config` a
    client configuration's file.
    """
    ca_certificate = environment.get(CA_VARIABLE)
    if address:
        return _parse(address, ca_certificate)
    if config:
        return _named_by(Path(config).expanduser())
    if data_dir:
        return _named_by(Path(data_dir).expanduser() / "flyte-config.yaml")
    if variable := environment.get("WINGBEAT_ENDPOINT"):
        return _parse(variable, ca_certificate)
    if file := environment.get("FLYTECTL_CONFIG") or environment.get("FLYTE_CONFIG"):
        return _named_by(Path(file).expanduser())
    usual = Path(environment.get("WINGBEAT_DATA_DIR") or "~/.wingbeat").expanduser() / "flyte-config.yaml"
    flyte = Path(environment.get("HOME") or "~").expanduser() / ".flyte/config.yaml"
    for file_path in (usual, flyte):
        if file_path.exists():
            return _named_by(file_path)
    return Endpoint(DEFAULT)


def _named_by(file: Path) -> Endpoint:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EndpointError(f"{file} cannot be read, so no server is known; name one with --endpoint") from error
    admin = parse_admin(text)
    if not admin.get("endpoint"):
        raise EndpointError(f"{file} has no `endpoint` under `admin`; name a server with --endpoint")
    return Endpoint(
        _address(admin["endpoint"]),
        insecure=admin.get("insecure", "false").lower() in _TRUE,
        ca_certificate=admin.get("caCertFilePath"),
    )


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


def _parse(text: str, ca_certificate: str | None) -> Endpoint:
    secure = text.startswith(("https://", "grpcs://"))
    return Endpoint(_address(text), insecure=not secure, ca_certificate=ca_certificate if secure else None)


def _address(text: str) -> str:
    for prefix in ("dns:///", "http://", "https://", "grpc://", "grpcs://"):
        text = text.removeprefix(prefix)
    return text.rstrip("/")
