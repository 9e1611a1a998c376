"""A process with flytekit loaded that forks, runs one task in the fork, and waits for it, again and again: what the
machine needs for a Python task when nothing manages it. Prints the milliseconds of each run as a JSON list.

    python -m loadtests.bare_fork CODE_FOLDER MODULE TASK INPUTS_PB OUTPUT_FOLDER RUNS

Run as a program of its own by `loadtests.hello`: a process that uses gRPC should not fork.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast


class _Command(Protocol):
    def main(self, args: Sequence[str], *, prog_name: str) -> object: ...


def run(command: _Command, args: Sequence[str], log: Path) -> float:
    """Fork and run a task; returns seconds. Raises RuntimeError when it fails."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
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
    _, status = os.waitpid(pid, 0)
    took_s = time.perf_counter() - began
    if status:
        raise RuntimeError(f"the task failed: {log.read_text()}")
    return took_s


def main() -> None:
    """Measure and print."""
    code_folder, module, task, inputs, outputs, runs = sys.argv[1:]
    sys.path.insert(0, code_folder)
    command = cast("_Command", importlib.import_module("flytekit.bin.entrypoint").execute_task_cmd)
    gc.collect()
    gc.freeze()
    times: list[float] = []
    for number in range(int(runs) + 1):
        folder = Path(outputs) / str(number)
        folder.mkdir(parents=True)
        args = [
            *("--inputs", inputs, "--output-prefix", str(folder), "--raw-output-data-prefix", str(folder / "raw")),
            *("--resolver", "flytekit.core.python_auto_container.default_task_resolver", "--"),
            *("task-module", module, "task-name", task),
        ]
        times.append(run(command, args, folder / "log") * 1000)
        if not (folder / "outputs.pb").exists():
            raise RuntimeError(f"the task left no outputs: {(folder / 'log').read_text()}")
    print(json.dumps(times[1:]))  # the first one warms the disk's cache


if __name__ == "__main__":
    main()
