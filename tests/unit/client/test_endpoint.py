"""Which server the client's commands speak to."""

from pathlib import Path

import pytest

from wingbeat.endpoint import DEFAULT, Endpoint, EndpointError, find_endpoint, parse_admin

CONFIG = """# written by hand
admin:
  # Where the server is.
  endpoint: dns:///flyte.example:443  # the public one
  authType: Pkce
  insecure: {insecure}
logger:
  endpoint: nowhere
"""


def _config(folder: Path, insecure: str = "true") -> Path:
    file = folder / "flyte-config.yaml"
    file.write_text(CONFIG.format(insecure=insecure))
    return file


def test_the_order_of_sources(tmp_path: Path) -> None:
    """A flag beats the named data folder, which beats WINGBEAT_ENDPOINT, FLYTECTL_CONFIG and the usual data folder."""
    _config(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text("admin:\n  endpoint: dns:///other:1\n  insecure: true\n")
    environment = {
        "WINGBEAT_ENDPOINT": "variable:2",
        "FLYTECTL_CONFIG": str(other),
        "WINGBEAT_DATA_DIR": str(tmp_path),
    }
    folder = str(tmp_path)
    assert find_endpoint("dns:///flag:3", folder, environment) == Endpoint("flag:3")
    assert find_endpoint(None, folder, environment) == Endpoint("flyte.example:443")
    assert find_endpoint(None, None, environment) == Endpoint("variable:2")
    del environment["WINGBEAT_ENDPOINT"]
    assert find_endpoint(None, None, environment) == Endpoint("other:1")
    del environment["FLYTECTL_CONFIG"]
    assert find_endpoint(None, None, environment) == Endpoint("flyte.example:443")
    assert find_endpoint(None, None, {"WINGBEAT_DATA_DIR": str(tmp_path / "absent")}) == Endpoint(DEFAULT)


def test_tls_is_the_default_of_a_configuration(tmp_path: Path) -> None:
    """As for flytectl: without `insecure: true` the connection is encrypted."""
    _config(tmp_path, "false")
    assert not find_endpoint(None, str(tmp_path), {}).insecure
    assert parse_admin('admin:\n  endpoint: "a:1"\n') == {"endpoint": "a:1"}


@pytest.mark.parametrize("content", [None, "admin:\n  insecure: true\n", "endpoint: a:1\n", "\x00"])
def test_a_configuration_without_a_server(tmp_path: Path, content: str | None) -> None:
    """It is an error that says what to do, never a guess."""
    if content is not None:
        (tmp_path / "flyte-config.yaml").write_text(content)
    with pytest.raises(EndpointError, match="--endpoint"):
        find_endpoint(None, str(tmp_path), {})
