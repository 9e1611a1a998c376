"""The programs that play scenarios with one client each, and which of them this machine can build."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
SCENARIOS = sorted((CLIENTS / "conformance/scenarios").glob("*.json"))
LINE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Player:
    """`tool` is what its client cannot be built without; `command` plays, `hello` is the example of its README."""

    language: str
    tool: str
    command: Sequence[str]
    hello: Sequence[str]

    @property
    def is_buildable(self) -> bool:
        """Whether the machine has the tool."""
        return shutil.which(self.tool) is not None


_PYTHON_HELLO = """
import sys
from wingbeat import Client
with Client(sys.argv[1]) as client:
    print(client.run(sys.argv[2], {"name": "Python"}))
"""
_JAVA = ("java", "-cp", ":".join(str(CLIENTS / "java/target" / part) for part in ("classes", "test-classes", "lib/*")))
_TYPESCRIPT = CLIENTS / "typescript/build"
PLAYERS = (
    Player(
        "python",
        sys.executable,
        [sys.executable, str(CLIENTS / "conformance/play.py")],
        [sys.executable, "-c", _PYTHON_HELLO],
    ),
    Player("go", "go", [str(CLIENTS / "gen/bin/conformance")], [str(CLIENTS / "gen/bin/hello")]),
    Player(
        "typescript",
        "npm",
        ["node", str(_TYPESCRIPT / "conformance/play.js")],
        ["node", str(_TYPESCRIPT / "examples/hello.js")],
    ),
    Player("java", "mvn", [*_JAVA, "dev.wingbeat.Conformance"], [*_JAVA, "dev.wingbeat.Hello"]),
)
LEFT_OUT = tuple(player for player in PLAYERS if not player.is_buildable)


def play(player: Player, endpoint: str, manifest: str, scenario: Path, restart: Callable[[], None]) -> dict:
    """What the player says of a scenario. Raises AssertionError when it dies or falls silent."""
    lines: queue.Queue[str | None] = queue.Queue()
    with subprocess.Popen(
        [*player.command, endpoint, str(scenario)],
        env={**os.environ, "MANIFEST": manifest},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said: list[str] = []
        readers = [
            threading.Thread(target=_pass_on, args=(process.stdout, lines)),
            threading.Thread(target=lambda stream=process.stderr: said.extend(stream)),
        ]
        for reader in readers:
            reader.start()
        try:
            while True:
                line = lines.get(timeout=LINE_TIMEOUT_S)
                assert line is not None, f"{player.language} died: {''.join(said)[-3000:]}"
                message = json.loads(line)
                if "scenario" in message:
                    return message
                restart()
                process.stdin.write("done\n")
                process.stdin.flush()
        except queue.Empty:
            raise AssertionError(f"{player.language} fell silent: {''.join(said)[-3000:]}") from None
        finally:
            process.kill()
            for reader in readers:
                reader.join()


def _pass_on(stream, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
