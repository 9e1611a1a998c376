"""Which program runs for a command and an image on this machine.

There are no images here: an image names a Python environment by the settings, or by itself as `local:/path/to/venv`;
any other image means the programs on the PATH that Wingbeat was started with. flytekit's own programs run as forks of
a task host of the interpreter that their first line names, everything else is executed.
"""

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wingbeat_propeller.runtimes.local.wingbeat_task_host.flytekit_entry import EXECUTE, FAST_EXECUTE, MAP_EXECUTE

LOCAL_IMAGE_PREFIX = "local:"

_ENTRYPOINTS = (EXECUTE, FAST_EXECUTE, MAP_EXECUTE)
_READ_AT_START = re.compile(
    r"PYTHON(?!PATH$|UNBUFFERED$)\w+|LD_\w+|_F_RUNTIME_PACKAGES|_F_P_WRITE_CHUNK_SIZE|_F_TE_MAX_COROS"
)
"""Variables that an interpreter, its libraries or flytekit's import read once: a fork would come too late for them."""
_HEAD_BYTES_MAX = 4096
_RELOCATABLE = re.compile(r"\"\$\(dirname -- \"\$\(realpath -- \"\$0\"\)\"\)\"/'([^'/]+)'")


class ProgramNotFoundError(LookupError):
    """There is no such program; the message says where it was looked for and how to map an image."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `interpreter` and `entry` are set when a fork of a task host can run it."""

    path: str
    search_path: str
    """PATH for the program itself: its environment comes first."""
    environment: str | None = None
    """Folder of the virtual environment that the image names."""
    interpreter: str | None = None
    entry: str = ""


def environment_of(image: str, environments: Mapping[str, str]) -> str | None:
    """Folder of the virtual environment that an image stands for, None when it stands for none."""
    if image in environments:
        return environments[image]
    if image.startswith(LOCAL_IMAGE_PREFIX):
        return image.removeprefix(LOCAL_IMAGE_PREFIX)
    return None


def find_program(
    argv: Sequence[str], image: str, env: Mapping[str, str], *, environments: Mapping[str, str], path: str
) -> Program:
    """The program for a command line; `env` is what the task asks for.

    A path that is relative (`./run.sh`) is one in the folder that the image stands for, since the working folder of
    its container is not here; never one in the folder that Wingbeat was started in. Raises ProgramNotFoundError.
    """
    environment = environment_of(image, environments)
    search_path = path if environment is None else os.pathsep.join((str(Path(environment, "bin")), path))
    wanted = argv[0]
    if os.sep in wanted and not os.path.isabs(wanted):
        if environment is None:
            raise ProgramNotFoundError(
                f"The program {wanted!r} of image {image!r} is named by a path relative to the working folder of its "
                "container, which is not on this machine. Map the image to the folder that holds it in the settings, "
                f"name the folder itself as image {LOCAL_IMAGE_PREFIX}/path, or make the script an input of the task."
            )
        wanted = os.path.join(environment, wanted)
    found = shutil.which(wanted, path=search_path)
    if found is None:
        raise ProgramNotFoundError(
            f"The program {argv[0]!r} of image {image!r} was not found on this machine. Searched: {search_path}. "
            "Install it, start Wingbeat in the environment that holds it, or say where the programs of the image are: "
            "map the image to a virtual environment in the settings, or name the environment itself as image "
            f"{LOCAL_IMAGE_PREFIX}/path/to/venv."
        )
    found = str(Path(found).absolute())
    interpreter = _entrypoint_interpreter(found, search_path)
    if interpreter is None or not runs_in_fork(argv, env):
        return Program(found, search_path, environment)
    return Program(found, search_path, environment, interpreter, Path(found).name)


def find_interpreter(name: str, path: str) -> str | None:
    """The interpreter of the flytekit program `name` on `path`, None when there is no such program."""
    found = shutil.which(name, path=path)
    return None if found is None else _entrypoint_interpreter(str(Path(found).absolute()), path)


def runs_in_fork(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a fork of a process that imported flytekit does the same as a new process would."""
    if any(_READ_AT_START.fullmatch(name) for name in env):
        return False
    if Path(argv[0]).name != FAST_EXECUTE:
        return True
    inner = argv[argv.index("--") + 1 :] if "--" in argv else ()
    return bool(inner) and Path(inner[0]).name in (EXECUTE, MAP_EXECUTE)


def _entrypoint_interpreter(script: str, search_path: str) -> str | None:
    """Interpreter of a script that starts one of flytekit's programs, None for everything else."""
    if Path(script).name not in _ENTRYPOINTS:
        return None
    return _interpreter_by_head(script, os.stat(script).st_mtime_ns, search_path)


@lru_cache(maxsize=256)
def _interpreter_by_head(script: str, _version: int, search_path: str) -> str | None:
    """`_version` makes a script that was written anew a different one: heads are read once, not with every launch."""
    with open(script, "rb") as file:
        text = file.read(_HEAD_BYTES_MAX).decode(errors="replace")
    if "flytekit.bin.entrypoint" not in text:
        return None
    interpreter = interpreter_of(text, script)
    if interpreter is not None and os.sep not in interpreter:
        interpreter = shutil.which(interpreter, path=search_path)
    return interpreter if interpreter is not None and os.access(interpreter, os.X_OK) else None


def interpreter_of(text: str, script: str) -> str | None:
    """The Python that the head of a script names: directly, through `env`, or through the shell line that installers
    write when the path is too long for a first line. A bare name has yet to be found on the PATH."""
    first, _, rest = text.partition("\n")
    if not first.startswith("#!"):
        return None
    words = shlex.split(first[2:])
    if not words:
        return None
    program = Path(words[0]).name
    if program == "env":
        named = [word for word in words[1:] if not word.startswith("-")]
        return named[0] if named else None
    if program != "sh":
        return words[0]
    line = rest.partition("\n")[0]
    if not line.startswith("'''exec'"):
        return None
    relocatable = _RELOCATABLE.search(line)
    if relocatable:
        return str(Path(script).resolve().parent / relocatable[1])
    words = shlex.split(line)
    return words[1] if len(words) > 1 else None
