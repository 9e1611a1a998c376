"""Flags as settings, and settings that are wrong."""

from wingbeat.cli.output import fail
from wingbeat_controlplane.settings import LoadedSettings, SettingsError, Tree, load_settings


def settings_or_fail(flags: Tree, config: str | None) -> LoadedSettings:
    """Load the settings; a mistake in them ends the command."""
    from pathlib import Path

    try:
        return load_settings(flags, Path(config).expanduser() if config else None)
    except SettingsError as error:
        fail(str(error))


def flags_of(**values: object) -> dict[str, object]:
    """Flags that were typed, as a tree of settings: `server__grpc_port=1` becomes {"server": {"grpc_port": 1}}."""
    tree: dict[str, object] = {}
    for name, value in values.items():
        if value is None:
            continue
        section, delimiter, key = name.partition("__")
        if delimiter:
            below = tree.setdefault(section, {})
            assert isinstance(below, dict)
            below[key] = value
        else:
            tree[section] = value
    return tree
