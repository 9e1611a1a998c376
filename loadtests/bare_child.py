"""Children of a worker alone: a process with flytekit loaded forks AT_ONCE children, which run one trivial task again
and again as fast as they are asked: what Python tasks need of the machine in warm processes that nothing manages.

    python -m loadtests.bare_child CODE_FOLDER MODULE TASK INPUTS_PB FOLDER RUNS AT_ONCE

Prints a JSON list: with AT_ONCE 1 the milliseconds of each run, else those from the first task to the end of the last.
Run as a program of its own: a process that uses gRPC should not fork.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import cast

from wingbeat.worker.wingbeat_task_child import child, zygote
from wingbeat.worker.wingbeat_task_child.messages import Report, Task, receive, send, socket_pair


class Children:
    """So many children, all of them idle at first."""

    def __init__(self, code_folder: str, folder: Path, count: int) -> None:
        self._folder = folder
        zygote.preload()
        self.sockets = [self._fork(code_folder, folder / str(number)) for number in range(count)]

    def _fork(self, code_folder: str, folder: Path) -> socket.socket:
        ours, theirs = socket_pair()
        env = self.environment(code_folder, folder)
        folder.mkdir(parents=True)
        pid = os.fork()
        if pid == 0:
            ours.close()
            child.run_child(theirs, str(folder))
        theirs.close()
        send(ours, env)
        return ours

    @staticmethod
    def environment(code_folder: str, folder: Path) -> dict[str, str]:
        """Of tasks in a child."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": code_folder,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "FLYTE_STATSD_DISABLED": "1",
            "FLYTE_SDK_RICH_TRACEBACKS": "0",
        }


def _task(code_folder: str, folder: Path, child_number: int, module: str, task: str, inputs: bytes) -> Task:
    place = folder / "out"
    return {
        "argv": [
            *("pyflyte-execute", "--inputs", str(place / "inputs.pb"), "--output-prefix", str(place / "result")),
            *("--raw-output-data-prefix", str(place / "raw"), "--checkpoint-path", str(place / "raw/checkpoints")),
            *("--prev-checkpoint", '""', "--resolver", "flytekit.core.python_auto_container.default_task_resolver"),
            *("--", "task-module", module, "task-name", task),
        ],
        "env": Children.environment(code_folder, folder / str(child_number)),
        "inputs": inputs,
        "cpus": (),
    }


def _check(report: object) -> None:
    said = cast("Report | None", report)
    if said is None or said["outputs"] is None:
        raise RuntimeError(f"the task failed: {said}")


def main() -> None:
    """Run and print."""
    code_folder, module, task, inputs_pb, output = sys.argv[1:6]
    runs, at_once = int(sys.argv[6]), int(sys.argv[7])
    folder, inputs = Path(output), Path(inputs_pb).read_bytes()
    children = Children(code_folder, folder, at_once).sockets
    tasks = [_task(code_folder, folder, number, module, task, inputs) for number in range(at_once)]
    for sock, message in zip(children, tasks, strict=True):  # loads the code
        send(sock, message)
        _check(receive(sock))
    times: list[float] = []
    began = time.perf_counter()
    if at_once == 1:
        for _ in range(runs):
            start = time.perf_counter()
            send(children[0], tasks[0])
            _check(receive(children[0]))
            times.append((time.perf_counter() - start) * 1000)
    else:
        left = runs
        under_way = 0
        for sock, message in zip(children[:left], tasks, strict=False):
            send(sock, message)
            under_way += 1
        left -= under_way
        by_descriptor = {sock.fileno(): number for number, sock in enumerate(children)}
        while under_way:
            for descriptor in select.select(list(by_descriptor), (), ())[0]:
                number = by_descriptor[descriptor]
                _check(receive(children[number]))
                under_way -= 1
                if left:
                    send(children[number], tasks[number])
                    left -= 1
                    under_way += 1
        times.append((time.perf_counter() - began) * 1000)
    for sock in children:
        sock.close()
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    print(json.dumps(times))


if __name__ == "__main__":
    main()
