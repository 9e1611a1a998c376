"""Ends what a run of the tests would leave running when it is killed: PostgreSQL, engines, tasks that outlive engines.

The run starts one guard, and each of its processes holds a named pipe of it open for as long as it lives. So the pipe
ends when all of them are gone, however they went, `kill -9` included. Everything that tests start has its folder for
temporary files below those of the run: by it the guard knows whom to end.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

_PIPE = "guard"


def start_guard(scratch: Path, *folders: Path) -> None:
    """Have whatever has its TMPDIR below `scratch` or `folders` end with this process and those that call
    `stay_guarded`; `scratch` goes then, too."""
    os.mkfifo(scratch / _PIPE)
    subprocess.Popen(
        [sys.executable, __file__, str(scratch), *map(str, folders)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # it stays when Ctrl-C or a kill of the group ends the run
    ).returncode = 0  # nobody waits for it
    os.open(scratch / _PIPE, os.O_WRONLY)  # until this process ends


def stay_guarded(scratch: Path) -> None:
    """For other processes of the run. Raises OSError when the guard is gone, and with it the run."""
    os.open(scratch / _PIPE, os.O_WRONLY | os.O_NONBLOCK)


def processes_below(folders: list[str]) -> Iterator[psutil.Process]:
    """Those whose TMPDIR is one of the folders or lies in one."""
    for process in psutil.process_iter():
        try:
            place = process.environ().get("TMPDIR", "")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(f"{place}/".startswith(f"{folder}/") for folder in folders):
            yield process


def _guard(folders: list[str]) -> None:
    with open(os.path.join(folders[0], _PIPE), "rb") as pipe:  # waits for a first holder
        pipe.read()  # and for the end of the last
    while left := list(processes_below(folders)):  # one may have started another meanwhile
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1)
    shutil.rmtree(folders[0], ignore_errors=True)


if __name__ == "__main__":
    _guard(sys.argv[1:])
