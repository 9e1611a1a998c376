"""Runs attempts as processes of this machine, by way of task hosts.

One host a Python interpreter with flytekit, whose forks run flytekit's programs in milliseconds, and one plain host for
every other program. Hosts outlive the engine; an engine that comes back connects to them again. The state of an attempt
lies in its folder, so any host can tell it. Nothing here blocks but looking up programs and reading the end of a log.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import structlog

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.ports.runtime import Ended, LogLink, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest, InstantRequest, RuntimeRequest
from wingbeat_propeller.runtimes.local import host_address
from wingbeat_propeller.runtimes.local.exits import failure_of
from wingbeat_propeller.runtimes.local.host_link import HostLink
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import log_file, task_folder
from wingbeat_propeller.runtimes.local.places import Places
from wingbeat_propeller.runtimes.local.programs import ProgramNotFoundError, find_interpreter
from wingbeat_propeller.runtimes.local.task_specs import hosted_task
from wingbeat_propeller.runtimes.local.wingbeat_task_host.flytekit_entry import EXECUTE
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import Event, TaskSpec
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import (
    Exit,
    claimed_names,
    read_claim,
    read_exit,
    remove_record,
)

STDERR_TAIL_BYTES = 4096
STDERR_TAIL_LINES = 20

_log = structlog.get_logger(__name__)


class LocalRuntime:
    """Implements Runtime with processes, and Places with the room of the machine."""

    def __init__(self, options: LocalRuntimeOptions) -> None:
        self._options = options
        self._places = Places(options.state_dir, options.capacity)
        self._sink: Callable[[Sequence[RuntimeEvent]], None] | None = None
        self._events: list[RuntimeEvent] = []
        self._links: dict[str, HostLink] = {}
        self._hosts_of: dict[str, HostLink] = {}
        self._group: asyncio.TaskGroup | None = None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver of events."""
        self._sink = sink

    @property
    def capacity(self) -> int:
        """How many attempts may be under way at once, those of other engines of this machine included."""
        return self._options.capacity

    # ---- room ----

    def take(self, name: str, origin: AttemptOrigin) -> bool:
        """See ports.Places."""
        return self._places.take(name, origin)

    def keep(self, origins: Mapping[str, AttemptOrigin]) -> None:
        """See ports.Places."""
        self._places.keep(origins)

    def free(self, names: Sequence[str]) -> None:
        """See ports.Places."""
        self._places.free(names)

    def leave(self, names: Sequence[str]) -> None:
        """See ports.Places. Nothing is asked of hosts about these attempts any more."""
        self._places.leave(names)
        for name in names:
            link = self._hosts_of.pop(name, None)
            if link is not None:
                link.leave(name)

    def rest(self) -> None:
        """See ports.Places."""
        self._places.rest()

    @property
    def of_others(self) -> int:
        """See ports.Places."""
        return self._places.of_others

    # ---- attempts ----

    async def run(self) -> None:
        """Keep the hosts until cancelled; hosts and attempts live on then.

        The host that the first task will most likely need loads flytekit from the start.
        """
        self._link(host_address.PLAIN_HOST_KEY, sys.executable)
        interpreter = find_interpreter(EXECUTE, self._options.path)
        if interpreter is not None:
            self._link(host_address.host_key(interpreter), interpreter)
        else:
            _log.info("no flytekit on the PATH; Python tasks need an image that names an environment")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for link in self._links.values():
                    group.create_task(link.run(), name=f"task host {link.key}")
        finally:
            self._group = None

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Hand attempts to their hosts. One that cannot start is reported as ended."""
        batches: dict[HostLink, list[TaskSpec]] = {}
        for request in requests:
            if isinstance(request, InstantRequest):
                outputs = None if request.failure else request.outputs
                self._report(Ended(request.name, time.time(), request.failure, outputs))
                continue
            try:
                link, spec = self._prepare(request)
            except ProgramNotFoundError as error:
                failure = Failure(ErrorKind.USER, "ProgramNotFound", str(error))
                self._report(Ended(request.name, time.time(), failure))
                continue
            self._hosts_of[request.name] = link
            batches.setdefault(link, []).append(spec)
        for link, specs in batches.items():
            await link.launch(specs)

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts and every process of their sessions."""
        batches: dict[HostLink, list[str]] = {}
        for name in names:
            link = self._hosts_of.pop(name, None)
            if link is None:
                key, interpreter = _host_of_running(self._options.state_dir, name)
                link = self._link(key, interpreter) if key else None
            if link is not None:
                batches.setdefault(link, []).append(name)
        self._places.free(names)
        for link, batch in batches.items():
            await link.abort(batch)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Those of `names` that were started; how they are or how they ended is reported."""
        batches: dict[HostLink, list[str]] = {}
        known: list[str] = []
        for name, (key, interpreter) in zip(names, await asyncio.to_thread(self._recorded_hosts, names), strict=True):
            if key:
                known.append(name)
                link = self._hosts_of[name] = self._link(key, interpreter)
                batches.setdefault(link, []).append(name)
        for link, batch in batches.items():
            await link.adopt(batch)
        return known

    async def forget(self, names: Sequence[str]) -> None:
        """Remove the records and working folders of ended attempts, and of those never started. Logs stay."""
        self._places.free(names)
        folders = [task_folder(self._options.state_dir, name) for name in names]
        await asyncio.to_thread(_remove_records, folders)

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Attempts with a claim, running or ended, or with a place, that say where they belong."""
        return self._places.recorded() | await asyncio.to_thread(_recorded_origins, self._options.state_dir)

    def _prepare(self, request: ContainerRequest) -> tuple[HostLink, TaskSpec]:
        """Raises ProgramNotFoundError."""
        interpreter, spec = hosted_task(request, self._options)
        if interpreter is None:
            return self._link(host_address.PLAIN_HOST_KEY, sys.executable), spec
        return self._link(host_address.host_key(interpreter), interpreter), spec

    def _recorded_hosts(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [_recorded_host(self._options.state_dir, name) for name in names]

    def _link(self, key: str, interpreter: str) -> HostLink:
        link = self._links.get(key)
        if link is None:
            link = HostLink(
                key,
                interpreter,
                preload=key != host_address.PLAIN_HOST_KEY,
                options=self._options,
                on_event=self._on_event,
                on_given_up=self._on_given_up,
            )
            self._links[key] = link
            if self._group is not None:
                self._group.create_task(link.run(), name=f"task host {key}")
        return link

    def _on_event(self, event: Event) -> None:
        name = event["name"]
        logs = self._log_links(name)
        if event["event"] == "started":
            self._report(Started(name, event["at"], logs))
            return
        self._hosts_of.pop(name, None)
        end = Exit(event["code"], event["signal"], event["reason"], event["detail"], event["at"])
        tail = (
            "" if end.code == 0 and not end.reason else _stderr_tail(log_file(self._options.state_dir, name, "stderr"))
        )
        self._report(Ended(name, end.at, failure_of(end, tail), logs=logs))

    def _on_given_up(self, names: Sequence[str], reason: str) -> None:
        failure = Failure(ErrorKind.SYSTEM, "TaskHostFailed", f"No task host could be had: {reason}", retryable=True)
        for name in names:
            self._hosts_of.pop(name, None)
            self._report(Ended(name, time.time(), failure))

    def _log_links(self, name: str) -> tuple[LogLink, ...]:
        base = self._options.logs_url_base
        return tuple(LogLink(stream, f"{base}/{name}/{stream}.log") for stream in ("stdout", "stderr"))

    def _report(self, event: RuntimeEvent) -> None:
        """Gather what happens in one turn of the loop into one batch."""
        if not self._events:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._events.append(event)

    def _deliver(self) -> None:
        events, self._events = self._events, []
        if self._sink is None:
            raise RuntimeError("subscribe to the runtime before launching")
        self._sink(events)


def _recorded_host(state_dir: Path, name: str) -> tuple[str, str]:
    """Key and interpreter of the host that can tell about an attempt; empty key: nobody started it.

    Its own host knows best, living or started anew; the plain one can judge it as well when that cannot be had.
    """
    folder = str(task_folder(state_dir, name))
    claim = read_claim(folder)
    if claim is None and read_exit(folder) is None:
        return "", ""
    interpreter = host_address.interpreter_of_host(state_dir, claim.host) if claim else None
    if claim is None or interpreter is None:
        return host_address.PLAIN_HOST_KEY, sys.executable
    return claim.host, interpreter


def _host_of_running(state_dir: Path, name: str) -> tuple[str, str]:
    """As `_recorded_host`, empty as well when the attempt has ended."""
    if read_exit(str(task_folder(state_dir, name))) is not None:
        return "", ""
    return _recorded_host(state_dir, name)


def _recorded_origins(state_dir: Path) -> dict[str, AttemptOrigin]:
    found: dict[str, AttemptOrigin] = {}
    for name in claimed_names(str(state_dir)):
        claim = read_claim(str(task_folder(state_dir, name)))
        if claim is not None and claim.origin:
            found[name] = AttemptOrigin(*cast("tuple[str, str, str, str, int]", json.loads(claim.origin)))
    return found


def _stderr_tail(path: Path) -> str:
    """Empty when there is none, or when the task has made something else of it: a pipe is not waited for."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - STDERR_TAIL_BYTES))
            text = file.read(STDERR_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-STDERR_TAIL_LINES:])


def _remove_records(folders: Sequence[Path]) -> None:
    for folder in map(str, folders):
        if read_claim(folder) is None or read_exit(folder) is not None:
            remove_record(folder)
