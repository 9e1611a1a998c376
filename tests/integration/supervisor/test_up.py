"""`wingbeat up`, `status`, `doctor`, `down` on one data folder."""

import json
import os
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import psutil
import pytest
from tests.integration.supervisor.conftest import BIN, Installation, until

from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity


def test_up_status_second_up_down(installation: Installation) -> None:
    """A started installation says where it is, refuses a second owner, and stops without leaving anything."""
    installation.up()

    state = installation.state
    assert state["ready"]
    assert sorted(state["processes"]) == ["postgres", "propeller-0", "server", "supervisor"]
    assert state["grpc_endpoint"] in (installation.data_dir / "flyte-config.yaml").read_text()
    with urlopen(f"{state['http_url']}/readyz", timeout=10) as answer:
        assert answer.status == 200

    status = installation.wingbeat("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert state["grpc_endpoint"] in status.stdout
    assert "schema" in status.stdout

    second = installation.wingbeat("up", "--grpc-port", "0", "--http-port", "0")
    assert second.returncode == 1
    assert f"pid {installation.pid('supervisor')}" in second.stderr
    assert state["grpc_endpoint"].rpartition(":")[2] in second.stderr
    assert "Traceback" not in second.stderr

    doctor = installation.wingbeat("doctor")
    assert doctor.returncode == 0, doctor.stdout

    down = installation.wingbeat("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "Stopped" in down.stdout
    assert installation.leftovers() == []
    assert installation.wingbeat("status").returncode == 3
    assert installation.wingbeat("down").returncode == 0


def test_roles_are_copies_at_first_and_new_programs_later(installation: Installation) -> None:
    """`ps` tells the roles apart and where they belong; a role that had to be started again is a program of its own."""
    installation.up()
    first = {role: psutil.Process(installation.pid(role)) for role in ("server", "propeller-0")}
    for role, process in first.items():
        assert "".join(process.cmdline()) == f"wingbeat: {role} of {installation.data_dir}"
        assert process.name() == f"wingbeat: {role}"[:15]

    first["server"].kill()

    until(lambda: installation.pid("server") not in (0, first["server"].pid), "another server")
    until(lambda: psutil.Process(installation.pid("server")).cmdline()[-1:] == ["server"], "its program")
    until(lambda: installation.wingbeat("status").returncode == 0, "a server that answers")
    assert first["propeller-0"].is_running()
    assert installation.wingbeat("down").returncode == 0
    assert installation.leftovers() == []


def test_with_threads_about_the_roles_are_programs_from_the_start(installation: Installation) -> None:
    """A thread that some library has started would be missing in a copy: nothing is copied then, and all works."""
    code = (
        "import sys, threading; threading.Thread(target=threading.Event().wait, daemon=True).start();"
        " from wingbeat.cli import main; main(sys.argv[1:])"
    )
    flags = ("--data-dir", str(installation.data_dir), "--grpc-port", "0", "--http-port", "0")
    with subprocess.Popen([sys.executable, "-c", code, "up", *flags], stdout=subprocess.DEVNULL) as process:
        until(lambda: installation.wingbeat("status").returncode == 0, "an installation that answers")
        assert psutil.Process(installation.pid("server")).cmdline()[-1] == "server"

        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
    assert installation.leftovers() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_end_while_the_cluster_is_made_leaves_nothing(
    installation: Installation, number: signal.Signals, status: int
) -> None:
    """Asked to stop or killed in the midst of initdb: no process stays, and the next start makes the cluster anew."""

    def initdb() -> list[psutil.Process]:
        return [child for child in psutil.Process(process.pid).children() if child.name() == "initdb"]

    with subprocess.Popen(
        [BIN / "wingbeat", "up", "--data-dir", installation.data_dir, "--grpc-port", "0", "--http-port", "0"],
        stdout=subprocess.DEVNULL,
    ) as process:
        until(initdb, "initdb at work")
        initdb()[0].suspend()
        until((installation.data_dir / "state.json").exists, "a supervisor at work")

        process.send_signal(number)

        assert process.wait(60) == status
    until(lambda: installation.leftovers() == [], "the end of all processes")
    installation.up()
    assert list(installation.data_dir.glob("postgres.partial-*")) == []
    assert installation.wingbeat("status").returncode == 0
    assert installation.wingbeat("down").returncode == 0


@pytest.mark.parametrize("role", ["server", "propeller-0", "postgres"])
def test_a_killed_child_is_started_again_and_the_reason_logged(installation: Installation, role: str) -> None:
    """kill -9 of a part: the supervisor names the signal and has the part, and the whole, working again."""
    installation.up()
    before = installation.pid(role)

    os.kill(before, signal.SIGKILL)

    until(lambda: installation.pid(role) not in (0, before), f"another {role}")
    until(lambda: installation.wingbeat("status").returncode == 0, "a server that answers")
    events = [json.loads(line) for line in installation.log("supervisor").splitlines()]
    ended = [event for event in events if event["event"].startswith("process ended") and event["name"] == role]
    assert ended[0]["reason"] == "signal SIGKILL"
    assert installation.wingbeat("down").returncode == 0
    assert installation.leftovers() == []


def test_a_killed_supervisor_takes_its_children_along_and_up_recovers(installation: Installation) -> None:
    """kill -9 of the supervisor: its lock and its processes are no obstacle to the next start, the data is there."""
    installation.up()
    first = [ProcessIdentity(**process) for process in installation.state["processes"].values()]
    assert all(process.is_alive() for process in first)

    os.kill(installation.pid("supervisor"), signal.SIGKILL)
    installation.up()

    assert not any(process.is_alive() for process in first)
    assert "database migrated" not in installation.log("supervisor")
    assert installation.wingbeat("down").returncode == 0
    assert installation.leftovers() == []


def test_everything_killed_at_once_and_up_recovers(installation: Installation) -> None:
    """kill -9 of every process at once is survived as well."""
    installation.up()
    for process in installation.state["processes"].values():
        os.kill(process["pid"], signal.SIGKILL)

    installation.up()

    assert installation.wingbeat("status").returncode == 0
    assert installation.wingbeat("down").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_leaves_nothing(installation: Installation, number: signal.Signals) -> None:
    """In the foreground: addresses as JSON on the output, and after the signal exit status 0 and no process."""
    with subprocess.Popen(
        [BIN / "wingbeat", "up", "--data-dir", installation.data_dir, "--grpc-port", "0", "--http-port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = next(event for line in process.stdout if (event := json.loads(line))["event"] == "ready")
        assert ready["grpc"] == installation.state["grpc_endpoint"]

        process.send_signal(number)

        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert json.loads(rest.splitlines()[-1])["event"] == "stopped"
    assert installation.leftovers() == []
    assert not (installation.data_dir / "state.json").exists()


def test_a_database_of_the_user_is_migrated_and_used(installation: Installation, database_url: str) -> None:
    """With --database-url no private server runs."""
    installation.up("--database-url", database_url, "--propellers", "2")

    assert sorted(installation.state["processes"]) == ["propeller-0", "propeller-1", "server", "supervisor"]
    assert not (installation.data_dir / "postgres").exists()
    assert database_url not in (installation.data_dir / "state.json").read_text()
    assert installation.wingbeat("down").returncode == 0
    assert installation.leftovers() == []


def test_a_database_that_does_not_answer_is_a_sentence(installation: Installation) -> None:
    """`up` fails at once, detached or not, with the reason, and leaves nothing."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    for flags in ((), ("--detach",)):
        done = installation.wingbeat("up", "--grpc-port", "0", "--http-port", "0", "--database-url", nowhere, *flags)
        assert done.returncode == 1
        assert "the database does not answer" in done.stderr
        assert "Traceback" not in done.stderr
        assert installation.leftovers() == []


def test_a_taken_port_is_a_sentence(installation: Installation) -> None:
    """`up` names the port and the option, and leaves nothing."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        done = installation.wingbeat("up", "--grpc-port", str(number), "--http-port", "0", "--detach")

    assert done.returncode == 1
    assert f"port {number}" in done.stderr
    assert "--grpc-port" in done.stderr
    assert installation.leftovers() == []
