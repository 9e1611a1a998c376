"""The data folder of one installation: who holds it, what runs in it, where things lie.

`lock` is held by flock for as long as the supervisor lives, so it falls free with the process however that ends; its
text says who holds it. `state.json` tells other programs what runs and where. It is removed by a clean stop: a
supervisor that finds one knows that its predecessor was killed, and which processes that one left behind.
"""

import array
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity

_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_TOPDIR_FL = 0x00020000


class DataFolderError(RuntimeError):
    """The folder cannot be used; the text says why."""


class AlreadyRunningError(DataFolderError):
    """Another supervisor holds the folder."""


@dataclass(frozen=True, slots=True)
class State:
    """What runs in a data folder. Processes by role; the supervisor is one of them."""

    version: str
    started_at: str
    ready: bool
    grpc_endpoint: str
    http_url: str
    database: str
    """`embedded` or `external`."""
    processes: Mapping[str, ProcessIdentity]


@dataclass(frozen=True, slots=True)
class ClientTls:
    """That gRPC is encrypted, and by what clients on this machine check it."""

    ca: str = ""
    """PEM file of the authorities; empty: those of the machine."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, as it said itself."""

    pid: int
    grpc_port: int
    http_port: int

    def __str__(self) -> str:
        return f"pid {self.pid}, gRPC port {self.grpc_port}, HTTP port {self.http_port}"


class DataFolder:
    """Paths and files of one folder; nothing is touched before `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.postgres = path / "postgres"
        self.local = path / "local"
        self.client_config = path / "flyte-config.yaml"
        self._lock_file = path / "lock"
        self._state_file = path / "state.json"
        self._lock: int | None = None

    def create(self) -> None:
        """Make the folder and its log folder, laid out so that what is made in it is made fast.

        Raises DataFolderError when that is not allowed.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataFolderError(f"cannot use the data folder {self.path}: {error.strerror}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise DataFolderError(f"the data folder {self.path} is not writable")
        if not self.postgres.exists():
            _spread_subfolders(self.path)

    def lock(self) -> None:
        """Take the lock until `unlock` or the end of the process. Raises AlreadyRunningError."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            holder = self._read_holder()
            raise AlreadyRunningError(
                f"Wingbeat already runs on {self.path} ({holder or 'it is just starting'});"
                " stop it with `wingbeat down`, or choose another folder with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        self._lock = descriptor

    def describe_holder(self, holder: Holder) -> None:
        """Write into the held lock who we are."""
        assert self._lock is not None, "the lock is not held"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps(asdict(holder)).encode(), 0)

    def unlock(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def holder(self) -> Holder | None:
        """Who holds the lock now, None when nobody does."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read_holder() or Holder(0, 0, 0)
        finally:
            os.close(descriptor)
        return None

    def write_state(self, state: State) -> None:
        """Replace state.json; readers see the old or the new one whole."""
        partial = self._state_file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(state), indent=2) + "\n")
        partial.replace(self._state_file)

    def read_state(self) -> State | None:
        """The last state written, None after a clean stop."""
        try:
            content = json.loads(self._state_file.read_text())
            processes = {role: ProcessIdentity(**process) for role, process in content.pop("processes").items()}
            return State(**content, processes=processes)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def remove_state(self) -> None:
        """Nothing runs any more."""
        self._state_file.unlink(missing_ok=True)

    def write_client_config(self, *, grpc_endpoint: str, http_url: str, tls: ClientTls | None) -> None:
        """A configuration file that flytekit (`--config`, FLYTECTL_CONFIG) and flytectl understand.

        The console is named because clients otherwise print links to the gRPC port.
        """
        authorities = f"  caCertFilePath: {tls.ca}\n" if tls is not None and tls.ca else ""
        self.client_config.write_text(
            f"admin:\n  endpoint: dns:///{grpc_endpoint}\n  insecure: {'true' if tls is None else 'false'}\n"
            f"{authorities}  authType: Pkce\n"
            f"console:\n  endpoint: {http_url}\n"
            "logger:\n  show-source: true\n  level: 0\n"
        )

    def _read_holder(self) -> Holder | None:
        try:
            content = cast("dict[str, int]", json.loads(self._lock_file.read_text()))
            return Holder(content["pid"], content["grpc_port"], content["http_port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _spread_subfolders(folder: Path) -> None:
    """Have the file system lay out each subfolder as a hierarchy of its own (`chattr +T`), where it knows how to.

    A database cluster is a thousand files, and without this ext4 makes them beside those of the folder's neighbours. If
    many were deleted there in the last minutes (other installations, tests) and ext4 runs without a journal, it steps
    over all of them for each new file: initdb took 0.6 to 1.5 s, and takes 0.35 to 0.4 with this.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        flags = array.array("l", [0])
        fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, flags)
        flags[0] |= _FS_TOPDIR_FL
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, flags)
    except OSError:
        return  # another file system, or a folder of another user: it works as well, if more slowly
    finally:
        os.close(descriptor)
