"""Encrypted connections, with an authority of one's own."""

import ipaddress
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flyteidl.admin import execution_pb2

from tests.integration.client.scripted import Script
from wingbeat import AsyncClient, Patience
from wingbeat.errors import EndpointError, UnavailableError


@pytest.fixture(scope="module")
def identity() -> tuple[bytes, bytes]:
    """Key and certificate of a server on this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
async def secure_address(script: Script, identity: tuple[bytes, bytes]) -> AsyncIterator[str]:
    """`host:port` of a server that speaks TLS only."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((script,))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([identity]))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_tls(secure_address: str, identity: tuple[bytes, bytes], script: Script, tmp_path: Path) -> None:
    """A server is believed whose certificate is signed by the given authority, by argument or configuration."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(identity[1])
    script.will("GetExecution", execution_pb2.Execution(), execution_pb2.Execution())
    async with AsyncClient(secure_address, ca_certificate=str(authority)) as client:
        assert await client.execution("e")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"admin:\n  endpoint: dns:///{secure_address}\n  insecure: false\n  caCertFilePath: {authority}\n"
    )
    async with AsyncClient(config=str(config)) as client:
        assert await client.execution("e")


async def test_no_trust(secure_address: str, script: Script) -> None:
    """An unknown authority's server is not spoken to, and a certificate that is not there is an error."""
    async with AsyncClient(f"https://{secure_address}", patience=Patience(unreachable_s=0.5)) as client:
        with pytest.raises(UnavailableError):
            await client.execution("e")
    assert not script.requests
    async with AsyncClient(secure_address, ca_certificate="absent.pem") as client:
        with pytest.raises(EndpointError, match=r"absent\.pem cannot be read"):
            await client.execution("e")
