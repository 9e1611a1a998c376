"""Named SQL blocks: a `.sql` file beside the module that runs them, `-- name: <block>` above each statement."""

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load_queries(package: str, file: str) -> Mapping[str, str]:
    """The statements of `file` in `package` by name.

    Raises ValueError on text before the first name or a name that occurs twice.
    """
    parts = _NAME.split(files(package).joinpath(file).read_text(encoding="utf-8"))
    if any(line and not line.startswith("--") for line in parts[0].splitlines()):
        raise ValueError(f"{file}: text before the first block name")
    names = parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}: a block name occurs twice")
    return {name: text.strip().rstrip(";") for name, text in zip(names, parts[2::2], strict=True)}
