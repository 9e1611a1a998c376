"""The task host: takes requests from engines, forks attempts, reports how they end.

Launches wait in a queue and are forked one a turn of the loop, so that ends and requests are served in between. Several
engines may be connected; each is told about the attempts it named. The host lives as long as it has a connection or an
attempt to watch, and ends after a grace period without either.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections import deque

from . import flytekit_entry
from .attempts import Attempts
from .child import run_attempt
from .connection import Connection, ConnectionClosedError
from .cpus import CpuShares, usable_cpus
from .loop import Loop
from .messages import Event, HostConfig, Request, TaskSpec, event
from .processes import boot_id, is_alive, kill_session
from .record import (
    ABORTED,
    CLAIMS_FOLDER,
    SETUP_FAILED,
    STOPPED,
    TASK_SUBFOLDERS,
    TASKS_FOLDER,
    VANISHED,
    Exit,
    read_claim,
    read_exit,
    write_exit,
)


class Host:
    """Serves the connections that arrive at `listener`, which is bound and listening."""

    def __init__(self, config: HostConfig, listener: socket.socket) -> None:
        self._config = config
        self._tasks_dir = os.path.join(config["state_dir"], TASKS_FOLDER)
        os.makedirs(os.path.join(config["state_dir"], CLAIMS_FOLDER), exist_ok=True)
        self._listener = listener
        self._boot = boot_id()
        self._loop = Loop()
        self._attempts = Attempts(
            self._loop,
            self._on_ended,
            kill_grace_s=config["kill_grace_s"],
            memory_poll_s=config["memory_poll_s"],
        )
        self._cpus = CpuShares(usable_cpus())
        self._queue: deque[TaskSpec] = deque()
        self._watchers: dict[str, set[Connection]] = {}
        self._connections: set[Connection] = set()
        self._preloaded = False
        self._stopping = False
        self._idle_rounds = 0

    def run(self) -> None:
        """Serve until idle for the grace period, or told to stop and every attempt has ended."""
        self._loop.watch_children(self._attempts.reap)
        self._loop.watch(self._listener.fileno(), self._accept)
        if self._config["preload"]:
            self._preload()
        self._check_idle()
        while not self._stopping or len(self._attempts):
            self._loop.turn(wait=not self._queue)
            if self._queue:
                self._start(self._queue.popleft())
            for connection in list(self._connections):
                self._flush(connection)

    def _preload(self) -> None:
        """Load flytekit; without it the installed scripts are executed, and say themselves what is wrong."""
        try:
            flytekit_entry.preload()
            self._preloaded = True
        except BaseException:  # noqa: BLE001 - whatever a broken environment raises, tasks must be able to show it
            traceback.print_exc()

    # Connections

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the other side is gone already
        connection = Connection(sock)
        self._connections.add(connection)
        self._loop.watch(connection.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: Connection) -> None:
        try:
            requests = connection.read()
        except ConnectionClosedError:
            self._close(connection)
            return
        for request in requests:
            self._handle(request, connection)

    def _flush(self, connection: Connection) -> None:
        if not connection.has_unsent:
            return
        try:
            connection.flush()
        except ConnectionClosedError:
            self._close(connection)
        else:
            self._loop.watch(connection.fileno(), lambda: self._serve(connection), writable=connection.has_unsent)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for watchers in self._watchers.values():
            watchers.discard(connection)
        self._loop.unwatch(connection.fileno())
        connection.close()

    def _check_idle(self) -> None:
        busy = self._connections or self._queue or len(self._attempts)
        self._idle_rounds = 0 if busy else self._idle_rounds + 1
        if self._idle_rounds > 1:
            self._stopping = True
        else:
            self._loop.call_later(self._config["idle_grace_s"], self._check_idle)

    # Requests

    def _handle(self, request: Request, connection: Connection) -> None:
        operation = request["op"]
        if operation == "launch":
            for spec in request["tasks"]:
                if not self._report(spec["name"], connection) and not self._stopping:
                    self._queue.append(spec)
        elif operation == "adopt":
            for name in request["names"]:
                if not self._report(name, connection):
                    self._on_ended(name, _now()._replace(reason=VANISHED))
        elif operation == "abort":
            for name in request["names"]:
                self._abort(name)
                connection.send(event("aborted", name, _now()))
        elif operation == "stop":
            self._stopping = True
            self._queue.clear()
            for name in self._attempts.names():
                self._attempts.kill(name, STOPPED)

    def _report(self, name: str, connection: Connection) -> bool:
        """Tell what is known of an attempt, now and when it ends; False when nobody has started it."""
        if name in self._attempts:
            self._watchers.setdefault(name, set()).add(connection)
            connection.send(self._started(name))
            return True
        if name in self._watchers:
            self._watchers[name].add(connection)  # it waits in the queue
            return True
        self._watchers[name] = {connection}
        folder = self._folder(name)
        end = read_exit(folder)
        claim = read_claim(folder)
        if end is None and claim is None:
            return False
        if end is not None:
            self._on_ended(name, end)
        elif claim is not None and claim.boot == self._boot and is_alive(claim.pid, claim.start):
            self._attempts.add_orphan(name, folder, claim)
            connection.send(self._started(name))
        elif claim is not None:
            if claim.boot == self._boot:
                kill_session(claim.pid, claim.start)
            end = read_exit(folder) or _now()._replace(reason=VANISHED)
            write_exit(folder, end)
            self._on_ended(name, end)
        return True

    def _abort(self, name: str) -> None:
        self._watchers.pop(name, None)  # also takes it out of the queue
        if name not in self._attempts:
            folder = self._folder(name)
            claim = read_claim(folder)
            if claim is None or read_exit(folder) is not None:
                return
            if claim.boot != self._boot or not is_alive(claim.pid, claim.start):
                if claim.boot == self._boot:
                    kill_session(claim.pid, claim.start)
                write_exit(folder, _now()._replace(reason=ABORTED))
                return
            self._attempts.add_orphan(name, folder, claim)
        self._attempts.kill(name, ABORTED)

    # Attempts

    def _start(self, spec: TaskSpec) -> None:
        name = spec["name"]
        if name not in self._watchers or name in self._attempts:
            return  # aborted while it waited
        if spec["entry"] and not self._preloaded:
            spec["entry"] = ""
        folder = self._folder(name)
        host_pid = os.getpid()
        cpus = self._cpus.take(name, spec.get("cpu_limit"))
        try:
            for path in (folder, *(os.path.join(folder, part) for part in TASK_SUBFOLDERS)):
                os.makedirs(path, exist_ok=True)
            pid = os.fork()
        except OSError as error:
            self._on_ended(name, _now()._replace(reason=SETUP_FAILED, detail=str(error)))
            return
        if pid == 0:
            run_attempt(
                spec,
                folder,
                host_pid=host_pid,
                host_key=self._config["key"],
                boot=self._boot,
                cpus=cpus,
            )
        self._attempts.add_child(
            name, folder, pid, timeout_s=spec["timeout_s"], memory_limit_bytes=spec["memory_limit_bytes"]
        )
        self._tell(name, self._started(name))

    def _on_ended(self, name: str, end: Exit) -> None:
        self._cpus.give_back(name)
        self._tell(name, event("ended", name, end))
        self._watchers.pop(name, None)

    def _started(self, name: str) -> Event:
        return event("started", name, _now()._replace(at=self._attempts.started_at(name)))

    def _tell(self, name: str, what: Event) -> None:
        for connection in self._watchers.get(name, ()):
            connection.send(what)

    def _folder(self, name: str) -> str:
        return os.path.join(self._tasks_dir, name)


def _now() -> Exit:
    return Exit(None, None, "", "", time.time())
