"""Flyte's own command line, `flytectl`, as its users type it: built from its module by `make test`."""

import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.client import DOMAIN, HERE, PROJECT, Client, succeeded
from tests.e2e.installation import BIN, Installation, until
from tests.left_out import FLYTECTL_TOOL

FLYTECTL = HERE.parents[1] / ".make/flytectl"
PLACE = ("-p", PROJECT, "-d", DOMAIN)

pytestmark = pytest.mark.skipif(
    shutil.which(FLYTECTL_TOOL) is None, reason=f"flytectl cannot be built without {FLYTECTL_TOOL}"
)

Flytectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def flytectl(installation: Installation, tmp_path: Path) -> Flytectl:
    """Runs it in a folder of the test, with the configuration file that `wingbeat up` wrote."""
    assert FLYTECTL.exists(), "`make .make/flytectl` builds it"

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [FLYTECTL, *arguments],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "FLYTECTL_CONFIG": str(installation.client_config)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"flytectl {arguments}:\n{done.stdout}\n{done.stderr}"
        return done

    return run


def read(flytectl: Flytectl, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(flytectl(*arguments, "-o", "json").stdout)


def started(flytectl: Flytectl, *arguments: str) -> str:
    """Name of the execution that `create execution` says it has created."""
    said = flytectl("create", "execution", *PLACE, *arguments).stdout
    return said.rpartition('name:"')[2].partition('"')[0]


def test_projects(flytectl: Flytectl) -> None:
    """A project is created, changed, archived (no list has it then) and activated again."""
    name = f"p{uuid.uuid4().hex[:8]}"
    flytectl("create", "project", "--id", name, "--name", "A project", "--description", "new", "--labels", "team=a")
    flytectl("update", "project", "-p", name, "--description", "changed", "--force")
    found = read(flytectl, "get", "project", name)
    assert (found["id"], found["name"], found["description"]) == (name, "A project", "changed")
    assert found["labels"] == {"values": {"team": "a"}}
    assert [domain["id"] for domain in found["domains"]] == ["development", "staging", "production"]
    flytectl("update", "project", "-p", name, "--archive", "--force")
    assert name not in flytectl("get", "projects").stdout
    flytectl("update", "project", "-p", name, "--activate", "--force")
    assert name in flytectl("get", "projects").stdout


def test_from_a_package_to_a_result(flytectl: Flytectl, client: Client, tmp_path: Path) -> None:
    """What `pyflyte package` packs is registered with its code, once; then it is listed, launched from a file that
    flytectl writes, and read with all its nodes, attempts and values."""
    version = uuid.uuid4().hex
    shutil.copy(HERE.parents[1] / "examples/subworkflow.py", tmp_path)
    packed = ("--pkgs", "subworkflow", "package", "--fast", "--force", "--image", "none:1", "--output", "packed.tgz")
    subprocess.run([BIN / "pyflyte", *packed], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    with tarfile.open(tmp_path / "packed.tgz") as archive:
        entities = [name for name in archive.getnames() if name.endswith(".pb")]
    register = ("register", "files", *PLACE, "--archive", "packed.tgz", "--version", version)
    assert flytectl(*register).stdout.count("Successfully registered") == len(entities)
    assert flytectl(*register).stdout.count("AlreadyExists") == len(entities)

    assert "subworkflow.travel" in flytectl("get", "tasks", *PLACE).stdout
    assert "subworkflow.travel_wf" in flytectl("get", "workflows", *PLACE).stdout
    task = read(flytectl, "get", "task", *PLACE, "subworkflow.travel", "--version", version)
    assert task["closure"]["compiledTask"]["template"]["id"]["version"] == version
    newest = read(flytectl, "get", "workflow", *PLACE, "subworkflow.leg_wf", "--latest")
    assert newest["id"]["version"] == version
    graph = flytectl("get", "workflow", *PLACE, "subworkflow.leg_wf", "--version", version, "-o", "dot").stdout
    assert "n0->n1" in graph

    flytectl("get", "launchplan", *PLACE, "subworkflow.travel_wf", "--version", version, "--execFile", "plan.yaml")
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    assert (plan["workflow"], plan["version"]) == ("subworkflow.travel_wf", version)
    assert (plan["inputs"]["kilometres"], plan["inputs"]["pace"], plan["inputs"]["traveller"]) == (150, "slow", None)
    plan["inputs"] |= {"start": "2026-05-01T08:00:00Z", "kilometres": 40, "pace": "fast", "traveller": "Ada"}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    name = started(flytectl, "--execFile", "plan.yaml")
    succeeded(client.wait(client.remote.fetch_execution(name=name)))
    assert read(flytectl, "get", "execution", *PLACE, name)["closure"]["phase"] == "SUCCEEDED"
    nodes = {node["node_exec"]["id"]["nodeId"]: node for node in _nodes(flytectl, name)}
    said = nodes["n2"]
    assert said["inputs"] == {"distances": {"back": 40, "there": 40}, "luggage": 2, "traveller": "Ada"}
    assert said["outputs"] == {"o0": "Ada went 80 km with 2 bags"}
    assert [attempt["closure"]["phase"] for attempt in said["task_execs"]] == ["SUCCEEDED"]
    inner = {node["node_exec"]["id"]["nodeId"]: node for node in nodes["n0"]["child_nodes"]}
    assert "n0-0-n1" in inner
    assert "Ada went 80 km with 2 bags" in flytectl("get", "execution", *PLACE, name, "--details").stdout


def _nodes(flytectl: Flytectl, name: str) -> list[Any]:
    return yaml.safe_load(flytectl("get", "execution", *PLACE, name, "--details", "-o", "yaml").stdout)


def test_single_task(flytectl: Flytectl, client: Client, tmp_path: Path) -> None:
    """A task runs on its own from a file that flytectl writes."""
    version = client.register("gates", "double").id.version
    flytectl("get", "task", *PLACE, "gates.double", "--version", version, "--execFile", "task.yaml")
    task = yaml.safe_load((tmp_path / "task.yaml").read_text())
    (tmp_path / "task.yaml").write_text(yaml.safe_dump({**task, "inputs": {"number": 3}}))
    name = started(flytectl, "--execFile", "task.yaml")
    assert succeeded(client.wait(client.remote.fetch_execution(name=name))).outputs["o0"] == 6


def test_launch_plan_states(flytectl: Flytectl, client: Client) -> None:
    """A version is activated and deactivated."""
    version = client.register("gates", "sleep_wf").id.version
    plan = (*PLACE, "gates.sleep_wf", "--version", version)
    flytectl("update", "launchplan", *plan, "--activate", "--force")
    assert read(flytectl, "get", "launchplan", *plan)["closure"]["state"] == "ACTIVE"
    assert client.remote.fetch_active_launchplan(name="gates.sleep_wf").id.version == version
    flytectl("update", "launchplan", *plan, "--deactivate", "--force")
    assert "state" not in read(flytectl, "get", "launchplan", *plan)["closure"]


def test_ends_and_new_beginnings(flytectl: Flytectl, client: Client) -> None:
    """An execution is terminated, hidden from lists and shown again, started anew, and recovered."""
    name = client.launch("gates", "approval_wf", {"number": 2}).id.name
    until(lambda: _phase(flytectl, name) == "RUNNING", what="a running execution")
    flytectl("delete", "execution", *PLACE, name)
    until(lambda: _phase(flytectl, name) == "ABORTED", what="its end")
    narrowed = ("get", "executions", *PLACE, "--filter.fieldSelector", f"execution.name={name},execution.phase=ABORTED")
    assert name in flytectl(*narrowed).stdout
    flytectl("update", "execution", *PLACE, name, "--archive", "--force")
    assert name not in flytectl(*narrowed).stdout
    flytectl("update", "execution", *PLACE, name, "--activate", "--force")
    assert name in flytectl(*narrowed).stdout
    for way in ("--relaunch", "--recover"):
        again = started(flytectl, way, name)
        until(lambda again=again: _phase(flytectl, again) == "RUNNING", what="a running execution")
        flytectl("delete", "execution", *PLACE, again)


def _phase(flytectl: Flytectl, name: str) -> str:
    return read(flytectl, "get", "execution", *PLACE, name)["closure"].get("phase", "")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("task-resource-attribute", {"defaults": {"cpu": "1", "memory": "150Mi"}, "limits": {"cpu": "2"}}),
        ("cluster-resource-attribute", {"attributes": {"foo": "bar"}}),
        ("execution-queue-attribute", {"tags": ["critical"]}),
        ("execution-cluster-label", {"value": "here"}),
        (
            "plugin-override",
            {"overrides": [{"task_type": "spark", "plugin_id": ["mine"], "missing_plugin_behavior": 1}]},
        ),
        ("workflow-execution-config", {"max_parallelism": 5}),
    ],
)
def test_attributes(flytectl: Flytectl, tmp_path: Path, kind: str, attributes: dict[str, Any]) -> None:
    """Settings of a workflow are set, read back, and taken away."""
    workflow = f"attributes.{uuid.uuid4().hex}"
    place = {"project": PROJECT, "domain": DOMAIN, "workflow": workflow}
    (tmp_path / "attributes.yaml").write_text(yaml.safe_dump({**place, **attributes}))
    flytectl("update", kind, "--attrFile", "attributes.yaml", "--force")
    assert json.loads(flytectl("get", kind, *PLACE, workflow).stdout) == {**place, **attributes}
    flytectl("delete", kind, *PLACE, workflow)
    after = flytectl("get", kind, *PLACE, workflow, check=False)
    assert after.returncode == 1 or workflow not in after.stdout, "at most what holds for all workflows"


def test_names(flytectl: Flytectl, client: Client) -> None:
    """Descriptions of names are kept, and a workflow's state; the filter is the one of flytectl's help."""
    client.register("gates", "hasty_wf")
    client.register("gates", "double")
    listed = ("get", "workflows", *PLACE, "--filter.fieldSelector", "workflow.name=gates.hasty_wf")
    flytectl("update", "workflow-meta", *PLACE, "gates.hasty_wf", "--description", "never waits long", "--force")
    flytectl("update", "task-meta", *PLACE, "gates.double", "--description", "doubles", "--force")
    flytectl("update", "launchplan-meta", *PLACE, "gates.hasty_wf", "--description", "plan", "--force")
    assert "never waits long" in flytectl(*listed).stdout
    flytectl("update", "workflow-meta", *PLACE, "gates.hasty_wf", "--archive", "--force")
    assert "NAMED_ENTITY_ARCHIVED" in flytectl(*listed).stdout
    flytectl("update", "workflow-meta", *PLACE, "gates.hasty_wf", "--activate", "--force")
    assert "NAMED_ENTITY_ARCHIVED" not in flytectl(*listed).stdout


def test_refusals(flytectl: Flytectl) -> None:
    """What is not there is said so, with an exit code."""
    refused = flytectl("get", "execution", *PLACE, "nowhere", check=False)
    assert refused.returncode == 1
    assert 'code = NotFound desc = missing entity of type execution with identifier project: "' in refused.stderr
