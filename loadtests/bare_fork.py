"""A process with flytekit loaded that forks, runs one task in the fork, and waits for it, again and again: what the
machine needs for a Python task when nothing manages it. Prints a JSON list: the milliseconds of each run, or with
AT_ONCE above 1, where so many forks are under way at once, those from the first fork to the end of the last.

    python -m loadtests.bare_fork CODE_FOLDER MODULE TASK INPUTS_PB OUTPUT_FOLDER RUNS [AT_ONCE]

Run as a program of its own by `loadtests.hello` and `loadtests.tasks`: a process that uses gRPC should not fork.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast


class _Command(Protocol):
    def main(self, args: Sequence[str], *, prog_name: str) -> object: ...


def one_by_one(spawn: Callable[[int], int], runs: int) -> list[float]:
    """Fork and wait, `runs` times; milliseconds of each."""
    times: list[float] = []
    for number in range(runs):
        began = time.perf_counter()
        pid = spawn(number)
        _check(pid, os.waitpid(pid, 0)[1])
        times.append((time.perf_counter() - began) * 1000)
    return times


def side_by_side(spawn: Callable[[int], int], runs: int, at_once: int) -> float:
    """Fork `runs` times with `at_once` forks alive; milliseconds of all."""
    began = time.perf_counter()
    alive = 0
    for number in range(runs):
        if alive == at_once:
            _check(*os.waitpid(-1, 0))
            alive -= 1
        spawn(number)
        alive += 1
    for _ in range(alive):
        _check(*os.waitpid(-1, 0))
    return (time.perf_counter() - began) * 1000


def _check(pid: int, status: int) -> None:
    if status:
        raise RuntimeError(f"the task in process {pid} failed; see the log in its folder")


def _run(command: _Command, args: Sequence[str], log: Path) -> NoReturn:
    """Run a task in this fork."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 1
    try:
        command.main(args, prog_name="pyflyte-execute")
    except SystemExit as error:
        code = 0 if error.code in (None, 0) else 1
    finally:
        os._exit(code)


def main() -> None:
    """Measure and print."""
    code_folder, module, task, inputs, outputs, runs, at_once = [*sys.argv[1:], "1"][:7]
    sys.path.insert(0, code_folder)
    command = cast("_Command", importlib.import_module("flytekit.bin.entrypoint").execute_task_cmd)
    gc.collect()
    gc.freeze()

    def folder_of(number: int) -> Path:
        return Path(outputs) / str(number)

    def spawn(number: int) -> int:
        folder = folder_of(number)
        folder.mkdir(parents=True)
        pid = os.fork()
        if pid == 0:
            args = [
                *("--inputs", inputs, "--output-prefix", str(folder), "--raw-output-data-prefix", str(folder / "raw")),
                *("--resolver", "flytekit.core.python_auto_container.default_task_resolver", "--"),
                *("task-module", module, "task-name", task),
            ]
            _run(command, args, folder / "log")
        return pid

    one_by_one(lambda _: spawn(-1), 1)  # warms the disk's cache
    times = one_by_one(spawn, int(runs)) if int(at_once) == 1 else [side_by_side(spawn, int(runs), int(at_once))]
    for number in range(int(runs)):
        if not (folder_of(number) / "outputs.pb").exists():
            raise RuntimeError(f"the task left no outputs: {(folder_of(number) / 'log').read_text()}")
    print(json.dumps(times))


if __name__ == "__main__":
    main()
