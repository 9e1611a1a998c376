"""Room of a machine that several engine processes share: a numbered place for each attempt that may run at once.

A place is taken by making the symbolic link of its number, which succeeds for one process only. Its text names the
attempt, not the engine: when an engine is killed, the places of what it ran stay taken, and whoever adopts the attempts
finds and frees them. So there are never more attempts than places, no lock that a stopped process could hold, and no
count that could be wrong.

An engine that finds no place leaves a note with what it holds. One that holds more, or as much and has not waited as
long, takes nothing while the note is fresh: so engines come to have about as many places each as they can use, and one
with a single attempt in line gets the next place that comes free. Notes only order turns; a stale one is void.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from prometheus_client import Gauge

from wingbeat_propeller.ports.tasks import AttemptOrigin

PLACES_FOLDER = "places"
NOTE_S = 0.5
"""How long a note counts that is not renewed."""

_TAKEN = Gauge("wingbeat_local_places_taken", "Attempts of all engines of this machine that take a place")
_NOTE = "waiting."


class _Note(NamedTuple):
    held: int
    since: float
    at: float
    """When it was written. Both by the clock that all processes of a machine share."""


class Places:
    """`capacity` places in a folder below `state_dir`, as one engine process sees them."""

    def __init__(self, state_dir: Path, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = str(state_dir / PLACES_FOLDER)
        self._capacity = capacity
        self._clock = clock
        self._held: dict[str, int] = {}
        """Numbers by attempt, of those that this engine drives."""
        self._without: dict[str, AttemptOrigin | None] = {}
        """Attempts that run here and have no place yet."""
        self._note = os.path.join(self._folder, f"{_NOTE}{os.getpid()}.{secrets.token_hex(4)}")
        self._since: float | None = None
        os.makedirs(self._folder, exist_ok=True)

    @property
    def of_others(self) -> int:
        """Places that other engines' attempts take."""
        return max(0, len(self._taken()) - len(self._held))

    def take(self, name: str, origin: AttemptOrigin) -> bool:
        """Whether the attempt has a place now. False: ask again in a moment, and keep asking."""
        if name in self._held:
            return True
        if self._is_my_turn() and self._settle() and self._make(name, origin):
            self._forget_note()
            return True
        self._write_note()
        return False

    def keep(self, origins: Mapping[str, AttemptOrigin]) -> None:
        """These attempts run, and this engine drives them from now on."""
        known = {attempt: number for number, (attempt, _) in self._read().items()}
        for name, origin in origins.items():
            if name in known:
                self._held[name] = known[name]
            else:
                self._without[name] = origin
        self._settle()

    def free(self, names: Iterable[str]) -> None:
        """These attempts do not run, whoever thought so."""
        numbers: Mapping[str, int] | None = None
        for name in names:
            self._without.pop(name, None)
            number = self._held.pop(name, None)
            if number is None:
                if numbers is None:
                    numbers = {attempt: taken for taken, (attempt, _) in self._read().items()}
                number = numbers.get(name)
            if number is not None and self._attempt(number) == name:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(number))

    def leave(self, names: Iterable[str]) -> None:
        """Another engine drives these attempts from now on; they keep their places."""
        for name in names:
            self._held.pop(name, None)
            self._without.pop(name, None)

    def rest(self) -> None:
        """Nothing of this engine waits for a place."""
        self._forget_note()

    def recorded(self) -> dict[str, AttemptOrigin]:
        """Attempts that take a place, and where they belong, as far as that is known."""
        return {name: origin for name, origin in self._read().values() if origin is not None}

    # ---- numbers ----

    def _settle(self) -> bool:
        """Attempts that run without a place come first; returns whether none is left."""
        for name, origin in list(self._without.items()):
            if not self._make(name, origin):
                return False
            del self._without[name]
        return True

    def _make(self, name: str, origin: AttemptOrigin | None) -> bool:
        taken = self._taken()
        if len(taken) >= self._capacity:
            return False
        text = f"{name} {'' if origin is None else json.dumps(origin)}"
        for number in range(self._capacity):
            if number not in taken:
                with contextlib.suppress(FileExistsError):  # another engine was faster
                    os.symlink(text, self._path(number))
                    self._held[name] = number
                    _TAKEN.set(len(taken) + 1)
                    return True
        return False

    def _taken(self) -> set[int]:
        return {int(entry) for entry in os.listdir(self._folder) if entry.isdigit()}

    def _read(self) -> dict[int, tuple[str, AttemptOrigin | None]]:
        found: dict[int, tuple[str, AttemptOrigin | None]] = {}
        for number in self._taken():
            with contextlib.suppress(FileNotFoundError):
                name, _, origin = os.readlink(self._path(number)).partition(" ")
                parts = cast("tuple[str, str, str, str, int] | None", json.loads(origin) if origin else None)
                found[number] = name, None if parts is None else AttemptOrigin(*parts)
        return found

    def _attempt(self, number: int) -> str | None:
        try:
            return os.readlink(self._path(number)).partition(" ")[0]
        except FileNotFoundError:
            return None

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, str(number))

    # ---- turns ----

    def _is_my_turn(self) -> bool:
        held = len(self._held) + len(self._without)
        mine = (held, float("inf") if self._since is None else self._since)
        return all((note.held, note.since) >= mine for note in self._notes())

    def _notes(self) -> list[_Note]:
        """Fresh notes of other engines. Those that nobody will renew go after a while."""
        found: list[_Note] = []
        now = self._clock()
        for entry in os.listdir(self._folder):
            path = os.path.join(self._folder, entry)
            if not entry.startswith(_NOTE) or path == self._note:
                continue
            with contextlib.suppress(OSError, ValueError):
                held, since, at = os.readlink(path).split(":")
                note = _Note(int(held), float(since), float(at))
                if abs(now - note.at) < NOTE_S:
                    found.append(note)
                elif abs(now - note.at) > 100 * NOTE_S:
                    os.unlink(path)
        return found

    def _write_note(self) -> None:
        now = self._clock()
        if self._since is None:
            self._since = now
        draft = f"{self._note}.draft"
        with contextlib.suppress(FileExistsError):
            os.symlink(f"{len(self._held) + len(self._without)}:{self._since}:{now}", draft)
        os.replace(draft, self._note)

    def _forget_note(self) -> None:
        if self._since is not None:
            self._since = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._note)


def remove_places(state_dir: Path) -> None:
    """Nothing runs on this machine any more, and no engine works."""
    folder = state_dir / PLACES_FOLDER
    if folder.is_dir():
        for entry in os.listdir(folder):
            os.unlink(folder / entry)
