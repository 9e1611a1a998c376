"""The container's names for the two folders, and the command line that names the real ones instead; pure.

A container runs with its inputs and outputs at absolute paths of its own file system. A machine has one file system for
all attempts, so there each attempt has its own two folders, and something has to give: the paths (see mounts), or the
words of the command.
"""

import re
from collections.abc import Mapping, Sequence

INPUTS_VARIABLE = "WINGBEAT_INPUT_PATH"
OUTPUTS_VARIABLE = "WINGBEAT_OUTPUT_PATH"
"""Set for every raw container to the folders as the program can open them, however that was brought about."""


class Rewriting:
    """Replaces paths, given as container path to real path, wherever they stand as a whole path in a text.

    `/var/inputs` is replaced in `/var/inputs`, `--from=/var/inputs/x` and `file:///var/inputs`, and left alone in
    `/var/inputs2` and `/mnt/var/inputs`.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        longest_first = sorted(paths, key=len, reverse=True)
        self._pattern = re.compile(
            rf"(?:(?<![\w./-])|(?<=file://))({'|'.join(map(re.escape, longest_first))})(?![\w.-])"
        )

    def text(self, text: str) -> str:
        """One argument or value of a variable."""
        return self._pattern.sub(lambda match: self._paths[match[1]], text)

    def argv(self, argv: Sequence[str]) -> list[str]:
        """A command line."""
        return [self.text(argument) for argument in argv]

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """An environment."""
        return {name: self.text(value) for name, value in env.items()}
