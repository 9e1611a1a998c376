"""gRPC with TLS: server, engine, worker, commands, the Python client and flytekit, all by a certificate of the test."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from flytekit.configuration import Config
from flytekit.remote import FlyteRemote
from tests.certificates import Certificate, make_certificate, tls_settings
from tests.e2e.client import FOLDERS, entity
from tests.e2e.installation import Installation, running_installation

from wingbeat import Client, Patience
from wingbeat.errors import EndpointError, UnavailableError

HOST = "localhost"
"""The only name in the certificate; processes of the installation reach each other by address."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For HOST."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), HOST)


@pytest.fixture(scope="module")
def secure(certificate: Certificate) -> Iterator[Installation]:
    """An installation with TLS, whose tasks run in a worker or not at all."""
    settings = (
        tls_settings(certificate, HOST)
        + '[workers]\ncount = 1\nwithout_worker = "wait"\n'
        + "[server]\nengine_timeout_s = 60\n"
    )
    with running_installation(settings=settings) as running:
        yield running


def test_task_in_a_worker(secure: Installation) -> None:
    """flytekit registers through TLS by the data folder's configuration; the worker's streams to server and engine are
    encrypted, and the client finds the same configuration."""
    assert secure.endpoint.startswith(f"{HOST}:")
    config = Config.auto(config_file=str(secure.client_config))
    remote = FlyteRemote(config, default_project="flytesnacks", default_domain="development")
    folder = next(folder for folder in FOLDERS if (folder / "hello_world.py").exists())
    remote.register_script(entity("hello_world", "hello_world_wf"), source_path=str(folder), module_name="hello_world")
    with Client(data_dir=str(secure.data_dir)) as client:
        assert not client.endpoint.insecure
        assert client.run("hello_world.hello_world_wf", {"name": "TLS"}, timeout_s=60) == {"o0": "Hello, TLS!"}


def test_engine_answers_the_server(secure: Installation) -> None:
    """The question goes over TLS to the engine at its address, whose certificate is checked by the name of the setting:
    nobody says in the log that the engine does not answer."""
    with Client(data_dir=str(secure.data_dir)) as client:
        execution = client.launch("hello_world.hello_world_wf", {"name": "why"})
        client.why(execution)
        client.wait(execution, timeout_s=60)
    log = (secure.data_dir / "logs/server.log").read_text()
    assert [line for line in log.splitlines() if "engine does not answer" in line] == []


def test_clients_check_and_are_checked(
    secure: Installation, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who speaks no TLS, or does not know the authority, gets nothing; an authority comes by argument or variable."""
    monkeypatch.delenv("WINGBEAT_CA_CERT", raising=False)
    port = secure.endpoint.rpartition(":")[2]
    impatient = Patience(unreachable_s=0.5)
    for address in (secure.endpoint, f"https://{HOST}:{port}"):
        with Client(address, patience=impatient) as client, pytest.raises(UnavailableError):
            client.exists("x")
    other_name = Client(f"127.0.0.1:{port}", ca_certificate=str(certificate.ca), patience=impatient)
    with other_name as client, pytest.raises(UnavailableError):
        client.exists("x")
    with Client(secure.endpoint, ca_certificate=str(certificate.ca)) as client:
        assert not client.exists("x")
    monkeypatch.setenv("WINGBEAT_CA_CERT", str(certificate.ca))
    with Client(f"https://{secure.endpoint}") as client:
        assert not client.exists("x")
    monkeypatch.setenv("WINGBEAT_CA_CERT", str(certificate.ca.parent / "absent"))
    with Client(f"https://{secure.endpoint}") as client, pytest.raises(EndpointError, match="absent"):
        client.exists("x")


def test_commands(secure: Installation, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands by the data folder, and by address and variable."""
    data_dir = ("--data-dir", str(secure.data_dir))
    assert "engine" in secure.wingbeat("status", *data_dir).stdout
    assert secure.wingbeat("list", "projects", "-o", "name", *data_dir).stdout
    monkeypatch.setitem(os.environ, "WINGBEAT_CA_CERT", str(certificate.ca))
    assert secure.wingbeat("list", "projects", "-o", "name", "--endpoint", f"https://{secure.endpoint}").stdout
    refused = secure.wingbeat("list", "projects", "--endpoint", secure.endpoint, check=False)
    assert refused.returncode == 3
    assert "does not answer" in refused.stderr


@pytest.mark.parametrize("command", [("list", "projects"), ("limits", "list"), ("gc", "--dry-run")])
def test_commands_are_told_an_authority(
    secure: Installation, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, command: Sequence[str]
) -> None:
    """Whichever way a command goes to the server, `--ca-cert` names who vouches for it."""
    monkeypatch.delenv("WINGBEAT_CA_CERT", raising=False)
    where = ("--endpoint", secure.endpoint)
    secure.wingbeat(*command, *where, "--ca-cert", str(certificate.ca))
    absent = secure.wingbeat(*command, *where, "--ca-cert", "absent.pem", check=False)
    assert absent.returncode == 3
    assert "the certificate absent.pem cannot be read" in absent.stderr


def test_half_a_certificate(certificate: Certificate, tmp_path: Path) -> None:
    """A certificate without its key is a sentence, and nothing starts."""
    (tmp_path / "wingbeat.toml").write_text(f'[tls]\ncertificate = "{certificate.certificate}"\n')
    running = Installation(tmp_path)
    ports = ("--grpc-port", "0", "--http-port", "0")
    said = running.wingbeat("up", "--data-dir", str(tmp_path), *ports, "--detach", check=False)
    assert said.returncode == 1
    assert "tls.certificate and tls.key go together" in said.stderr
