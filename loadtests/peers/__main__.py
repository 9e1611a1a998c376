"""The same work on Wingbeat and on other engines, one after the other in one run.

    python -m loadtests.peers [--only NAME ...] [--parallel 1000] [--executions 200] [--out FOLDER]

Each system is installed from its own packages into an environment of its own (`--environments`), started as its
documentation says, and given the work of `systems/workloads.py`:

    one_ms                a task that does nothing, from submission to the end, median
    sequence_ms_per_task  ten of them in sequence
    parallel_tasks_per_s  a thousand of them side by side
    many_tasks_per_s      200 executions of five in sequence, submitted at once
    fib_s                 forty that compute fib(10), in sequence

Wingbeat runs Python tasks of flytekit by warm workers, out of the process that measures; the peers' tasks run inside of
it. Nothing is estimated: a system that cannot be installed or fails is named with the reason. Writes `peers.md` (a
table) and `peers.svg` (ratios to Wingbeat) to the folder, and one JSON object as its last line: `systems` by name,
`ratios` by name and figure (above 1: Wingbeat is ahead), `failed` by name.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from loadtests.database import temporary_database
from loadtests.peers.chart import write_chart
from loadtests.peers.environments import PEERS, SYSTEMS_FOLDER, NotInstallableError, Peer, install
from loadtests.peers.table import FIGURES, ratios_to, write_table

_TIMEOUT_S = 1800
_OWN = Peer("Wingbeat", "wingbeat_workers.py", note="warm workers, PostgreSQL with fsync")

Figures = Mapping[str, float]


class FailedError(Exception):
    """A system did not do the work; the message is the end of what it said."""


async def _measure(peer: Peer, environments: Path, sizes: str) -> Figures:
    if peer is _OWN:
        return _run([sys.executable, "-m", "loadtests.peers.systems.wingbeat_workers", sizes], dict(os.environ))
    environment = install(peer, environments)
    variables = {**os.environ, "PATH": environment.path}
    command = [str(environment.python), str(SYSTEMS_FOLDER / peer.program), sizes]
    if not peer.needs_postgres:
        return _run(command, variables)
    async with temporary_database() as database:
        return _run(command, {**variables, "COMPARISON_DATABASE_URL": database.dsn})


def _run(command: list[str], variables: Mapping[str, str]) -> Figures:
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"not done after {_TIMEOUT_S} s") from error
    if done.returncode:
        raise FailedError(done.stderr.strip()[-500:])
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


async def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="names of peers")
    parser.add_argument("--parallel", type=int, default=1000)
    parser.add_argument("--executions", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("build/peers"))
    parser.add_argument("--environments", type=Path, default=Path(".make/peers"))
    arguments = parser.parse_args()
    sizes = json.dumps({"parallel": arguments.parallel, "executions": arguments.executions})
    measured: dict[str, Figures] = {}
    failed: dict[str, str] = {}
    for peer in (_OWN, *(peer for peer in PEERS if peer.name in arguments.only)):
        try:
            measured[peer.name] = await _measure(peer, arguments.environments.resolve(), sizes)
            print(f"{peer.name}: {json.dumps(measured[peer.name])}", file=sys.stderr)
        except (NotInstallableError, FailedError) as error:
            failed[peer.name] = str(error)
            print(f"{peer.name} FAILED: {error}", file=sys.stderr)
    ratios = ratios_to(_OWN.name, measured)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = write_table(measured, failed, {peer.name: peer.note for peer in (_OWN, *PEERS)})
    (arguments.out / "peers.md").write_text(table)
    (arguments.out / "peers.svg").write_text(write_chart(ratios, FIGURES))
    print(table)
    print(json.dumps({"systems": measured, "ratios": ratios, "failed": failed}))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
