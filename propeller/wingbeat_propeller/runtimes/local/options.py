"""What an installation decides about tasks that run as processes of its machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wingbeat_propeller.container_files import ContainerPaths

_BASIC_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "USER",
)


def basic_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The few variables of the server that say how the machine is set up; everything else stays with the server."""
    return {key: environment[key] for key in _BASIC_VARIABLES if key in environment}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRuntimeOptions:
    """Options of the local runtime. `state_dir` may be shared by several engines of one installation."""

    state_dir: Path
    path: str
    """PATH on which programs are found, as it was when Wingbeat was started."""
    logs_url_base: str
    """Log links are `<base>/<attempt>/stdout.log`."""
    environments: Mapping[str, str] = field(default_factory=dict[str, str])
    """Image name to the folder of a virtual environment."""
    extra_env: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the installation adds to every task, after all that task and execution ask for."""
    basic_env: Mapping[str, str] = field(default_factory=lambda: basic_variables(os.environ))
    """What tasks take over from the server, before all that task and execution ask for."""
    capacity: int = 2 * (os.cpu_count() or 1)
    """How many attempts may be under way at once, over all engines with this `state_dir`."""
    kill_grace_s: float = 5.0
    """Between the polite and the final signal."""
    idle_grace_s: float = 10.0
    """How long a task host without engine and without tasks lives on."""
    memory_poll_s: float = 0.25
    """How often the memory of attempts with a limit is looked at."""
    container_paths: ContainerPaths = "auto"
    """How raw containers find the folders of their inputs and outputs."""
    store: Mapping[str, object] = field(default_factory=dict[str, object])
    """How the copilot of a raw container opens the blob store; see copilot.transfer."""
