"""Every client connects with TLS, by the authority of a certificate of the test."""

import json
from pathlib import Path

import pytest
from tests.certificates import make_certificate, tls_settings
from tests.clients.players import PLAYERS, play
from tests.e2e.installation import Installation

HOST = "localhost"
SCENARIO = {
    "name": "an answer over TLS",
    "steps": [{"do": "fails", "call": "outputs", "name": "none-{run}", "code": "NOT_FOUND", "contains": "none-{run}"}],
}


def test_every_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets an answer of a server that takes nothing in the clear."""
    certificate = make_certificate(tmp_path, HOST)
    monkeypatch.setenv("CA_CERT", str(certificate.ca))
    scenario = tmp_path / "scenario.json"
    scenario.write_text(json.dumps(SCENARIO))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wingbeat.toml").write_text(tls_settings(certificate, HOST))
    installation = Installation(tmp_path / "data")
    installation.up()
    try:
        said = {
            player.language: play(player, installation.endpoint, "", scenario, restart=lambda: None)
            for player in PLAYERS
            if player.is_buildable
        }
    finally:
        installation.down()
    assert all(one["ok"] for one in said.values()), said
