"""Where an attempt puts its deck, its raw outputs and its checkpoints; who runs it and who shows it agree."""

from typing import Final

from wingbeat_propeller.core.ids import raw_output_shard

RAW_DATA_FOLDER: Final = "data"
"""Below the base of the blob store: where raw data goes when an execution names no prefix."""
CHECKPOINTS_FOLDER: Final = "_flytecheckpoints"
DECK_FILE: Final = "deck.html"
"""In the folder of its outputs."""


def raw_output_folder(prefix: str, name: str) -> str:
    """Where the attempt with this generated name puts its raw data; `prefix` is the execution's."""
    return f"{prefix}/{raw_output_shard(name)}/{name}"


def checkpoint_folder(prefix: str, name: str) -> str:
    """Where it puts its checkpoints."""
    return checkpoints_in(raw_output_folder(prefix, name))


def checkpoints_in(raw_output: str) -> str:
    """The same, by the folder of its raw data."""
    return f"{raw_output}/{CHECKPOINTS_FOLDER}"
