"""Users of all kinds on a fresh installation, headless; whether the truth holds; how far the harness is from its limit.

    python -m loadtests.load [--seconds 30] [--users 20] [--out build/load] [--only UnaryLauncher ...]
    python -m loadtests.load --register 127.0.0.1:8089

Users (users.py): launching one by one and in bulk, waiting for ends, reading as the console does, map fan-outs; all of
them are the mix. Writes locust's report to `report.html`. The last line is one JSON object: `requests_per_s`,
`launched`, `launched_per_s`, by call `p50_ms`, `p99_ms` and `failures`; `truth` (see truth.py: all of lost, doubled,
not_ended, failed and launched_twice must be 0, or the exit code is 1); `harness_per_s`, what the launching users alone
reach against a server that does nothing, and `harness_share`, how much of that the run used: far below 1, or the
harness was the limit.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.installation import DOMAIN, PROJECT, ROOT, installation

_USERS = Path(__file__).parent / "users.py"
_LOCUST = Path(sys.executable).parent / "locust"
_FLOOR_S = 5
_FLOOR_USERS = 200


def register(endpoint: str) -> None:
    """Register the programs with flytekit."""
    from flytekit.configuration import Config, ImageConfig, PlatformConfig, SerializationSettings
    from flytekit.core.workflow import WorkflowBase
    from flytekit.remote import FlyteRemote

    from loadtests.load.programs import PROGRAMS, single_plan
    from loadtests.load.scope import VERSION

    remote: Any = FlyteRemote(
        Config(platform=PlatformConfig(endpoint=endpoint, insecure=True)),
        default_project=PROJECT,
        default_domain=DOMAIN,
    )
    settings = SerializationSettings(image_config=ImageConfig.auto(), project=PROJECT, domain=DOMAIN, version=VERSION)
    for program in PROGRAMS:
        registering = remote.register_workflow if isinstance(program, WorkflowBase) else remote.register_task
        registering(program, settings, version=VERSION)
        if program is PROGRAMS[1]:
            remote.register_launch_plan(single_plan, version=VERSION, project=PROJECT, domain=DOMAIN)


def run_locust(
    host: str, out: Path, *, users: int, seconds: int, only: Sequence[str], variables: Mapping[str, str]
) -> bool:
    """One headless run; whether the truth held."""
    out.mkdir(parents=True, exist_ok=True)
    command = [
        *(str(_LOCUST), "-f", str(_USERS), "--host", host, "--headless", "--only-summary", "--loglevel", "ERROR"),
        *("--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s", "--stop-timeout", "20"),
        *("--csv", str(out / "stats"), "--html", str(out / "report.html"), *only),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr[-3000:])
    if done.returncode and "Traceback" in done.stderr:
        print(done.stderr[-3000:], file=sys.stderr)
    return done.returncode == 0


def figures_of(out: Path) -> dict[str, Mapping[str, float]]:
    """By name of the call, and `Aggregated`."""
    with (out / "stats_stats.csv").open() as file:
        return {
            row["Name"]: {
                "per_s": round(float(row["Requests/s"]), 1),
                "p50_ms": float(row["50%"]),
                "p99_ms": float(row["99%"]),
                "failures": int(row["Failure Count"]),
            }
            for row in csv.DictReader(file)
            if row["50%"] != "N/A"
        }


def harness_per_s(out: Path) -> float:
    """Calls a second that the launching users make when nothing holds them up."""
    floor = subprocess.Popen(
        [sys.executable, "-m", "loadtests.load.floor"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert floor.stdout is not None
        host = f"127.0.0.1:{floor.stdout.readline().strip()}"
        variables = {"WINGBEAT_LOAD_FLOOR": "1"}
        run_locust(host, out, users=_FLOOR_USERS, seconds=_FLOOR_S, only=["UnaryLauncher"], variables=variables)
    finally:
        floor.kill()
        floor.wait()
    return figures_of(out)["Aggregated"]["per_s"]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/load"))
    parser.add_argument("--only", nargs="*", default=[], metavar="USER")
    parser.add_argument("--register", metavar="ENDPOINT", help="only register the programs there")
    arguments = parser.parse_args()
    if arguments.register:
        register(arguments.register)
        return
    with tempfile.TemporaryDirectory(prefix="wingbeat-load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        truth = folder / "truth.json"
        with installation(folder / "data") as endpoint:
            register(endpoint)
            holds = run_locust(
                endpoint,
                arguments.out,
                users=arguments.users,
                seconds=arguments.seconds,
                only=arguments.only,
                variables={"WINGBEAT_LOAD_TRUTH": str(truth)},
            )
        calls = figures_of(arguments.out)
        found = json.loads(truth.read_text())
        harness = harness_per_s(folder / "floor")
    total = calls.pop("Aggregated")
    failures = sum(figures["failures"] for figures in calls.values())
    answer = {
        "seconds": arguments.seconds,
        "users": arguments.users,
        "requests_per_s": total["per_s"],
        "launched": found["launched"],
        "launched_per_s": round(found["launched"] / arguments.seconds, 1),
        "calls": calls,
        "truth": found,
        "harness_per_s": harness,
        "harness_share": round(total["per_s"] / harness, 3),
    }
    print(json.dumps(answer))
    if not holds or failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
