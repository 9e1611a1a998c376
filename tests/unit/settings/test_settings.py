"""Settings: who wins, who is named, and what a mistake looks like."""

from pathlib import Path

import pytest

from wingbeat_controlplane.settings import SettingsError, environment_of, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine, and a data folder of the test's own."""
    import os

    for name in [name for name in os.environ if name.startswith("WINGBEAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WINGBEAT_DATA_DIR", str(tmp_path))


def test_layers_override_each_other_from_file_to_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag beats the environment, which beats the file, which beats the default; each setting alone."""
    (tmp_path / "wingbeat.toml").write_text('[server]\nhost = "::1"\ngrpc_port = 1\nhttp_port = 1\n')
    monkeypatch.setenv("WINGBEAT_SERVER__GRPC_PORT", "2")
    monkeypatch.setenv("WINGBEAT_SERVER__HTTP_PORT", "2")

    loaded = load_settings({"server": {"http_port": 3}})

    assert (loaded.settings.server.host, loaded.settings.server.grpc_port, loaded.settings.server.http_port) == (
        "::1",
        2,
        3,
    )
    origins = {setting.name: setting.origin for setting in loaded.explain()}
    assert origins["server.host"] == "file"
    assert origins["server.grpc_port"] == "environment"
    assert origins["server.http_port"] == "flag"
    assert origins["server.grace_s"] == "default"


def test_every_setting_is_explained_and_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list names each setting once and never shows a password."""
    monkeypatch.setenv("WINGBEAT_DATABASE__URL", "postgresql://me:hunter2@db/wingbeat")

    shown = load_settings().explain()

    assert len({setting.name for setting in shown}) == len(shown) > 25
    assert not [setting for setting in shown if "hunter2" in setting.value]


def test_platform_defaults_of_executions_are_shown(tmp_path: Path) -> None:
    """What executions and their containers get by default stands in the file and is explained with its origin."""
    (tmp_path / "wingbeat.toml").write_text(
        "[task_resources.limits]\nmemory = '4Gi'\ncpu = '2'\n[launch]\nlabels = {team = 'a'}\n"
    )

    shown = {setting.name: (setting.value, setting.origin) for setting in load_settings().explain()}

    assert shown["task_resources.limits"] == ("memory=4Gi, cpu=2", "file")
    assert shown["task_resources.defaults"] == ("", "default")
    assert shown["launch.labels"] == ("team=a", "file")


def test_a_named_file_replaces_the_default_one(tmp_path: Path) -> None:
    """With --config, the file in the data folder is not read."""
    (tmp_path / "wingbeat.toml").write_text("[server]\ngrpc_port = 1\n")
    named = tmp_path / "other.toml"
    named.write_text("[server]\nhttp_port = 7\n")

    loaded = load_settings(config=named)

    assert loaded.file == named
    assert loaded.settings.server.http_port == 7
    assert loaded.settings.server.grpc_port != 1


def test_lists_and_mappings_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections are JSON; a `~` in a path is the home folder."""
    monkeypatch.setenv("WINGBEAT_REGISTRY__DOMAINS", '["only"]')
    monkeypatch.setenv("WINGBEAT_LOCAL_RUNTIME__ENVIRONMENTS", '{"image:1": "~/venv"}')

    settings = load_settings().settings

    assert settings.registry.domains == ("only",)
    assert settings.local_runtime.environments == {"image:1": Path.home() / "venv"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("WINGBEAT_SERVER__GRCP_PORT", "1", "server.grcp_port (environment): there is no such setting"),
        ("WINGBEAT_SERVRE__GRPC_PORT", "1", "WINGBEAT_SERVRE__GRPC_PORT (environment): there is no such setting"),
        ("WINGBEAT_SERVER__GRPC_PORT", "many", "server.grpc_port (environment): Input should be a valid integer"),
        ("WINGBEAT_SERVER__GRPC_PORT", "70000", "server.grpc_port (environment): Input should be less than"),
        ("WINGBEAT_REGISTRY__DOMAINS", "[", "written as JSON"),
        ("WINGBEAT_TASK_RESOURCES__LIMITS", '{"memory": "lots"}', "task_resources.limits (environment): Value error"),
        ("WINGBEAT_TASK_RESOURCES__LIMITS", '{"ram": "1Gi"}', "task_resources.limits.ram"),
        ("WINGBEAT_TASK_RESOURCES__DEFAULTS", '{"gpu": "500m"}', "of GPUs a whole number is expected"),
    ],
)
def test_a_mistake_in_the_environment_names_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    """The error says which setting is wrong and which layer said it."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert sentence in str(caught.value)


def test_a_mistake_in_the_file_names_itself(tmp_path: Path) -> None:
    """Unknown names, broken TOML and a data folder that would move itself are refused."""
    file = tmp_path / "wingbeat.toml"

    file.write_text("[propeller]\nspeed = 1\n")
    with pytest.raises(SettingsError, match=r"propeller.speed \(file\): there is no such setting"):
        load_settings()
    file.write_text("[propeller\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()
    file.write_text('data_dir = "/elsewhere"\n')
    monkey = pytest.MonkeyPatch()
    monkey.delenv("WINGBEAT_DATA_DIR")
    try:
        with pytest.raises(SettingsError, match="use --data-dir"):
            load_settings_in(tmp_path, monkey)
    finally:
        monkey.undo()


def load_settings_in(home: Path, monkey: pytest.MonkeyPatch) -> None:
    """Load with the default data folder below `home`."""
    from wingbeat_controlplane.settings import Settings

    monkey.setattr(Settings.model_fields["data_dir"], "default", home)
    load_settings()


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(config=tmp_path / "absent.toml")


def test_flags_reach_child_processes_as_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `environment_of` makes of flags is read back as the same settings."""
    for name, value in environment_of({"server": {"grpc_port": 5}, "propeller": {"count": 2}}).items():
        monkeypatch.setenv(name, value)

    settings = load_settings().settings

    assert settings.server.grpc_port == 5
    assert settings.propeller.count == 2
