"""Elements of a map task: one attempt each, told apart by the array index in their environment."""

import tarfile
from pathlib import Path

import pytest
from flyteidl.core import errors_pb2, literals_pb2
from tests.integration.local_runtime.conftest import Follower, FollowRuntime, shell_request

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import log_file, task_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import read_claim

CODE = """
from flytekit import task

@task
def describe(number: int, unit: str) -> str:
    if number < 0:
        raise ValueError(f"{number} {unit} cannot be")
    return f"{number} {unit}"
"""
INPUTS = [10, 20, -30]
INDEX = "FLYTE_K8S_ARRAY_INDEX"


def _index_variables(index: int) -> dict[str, str]:
    return {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": INDEX, INDEX: str(index)}


class Elements:
    """Attempts of the elements of one map over `describe`: a shared inputs.pb, an output folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "code").mkdir()
        (folder / "code/program.py").write_text(CODE)
        inputs = literals_pb2.LiteralMap()
        for number in INPUTS:
            inputs.literals["number"].collection.literals.add().scalar.primitive.integer = number
        inputs.literals["unit"].scalar.primitive.string_value = "m"  # bound for all elements
        (folder / "inputs.pb").write_bytes(inputs.SerializeToString())

    def _argv(self, index: int) -> list[str]:
        return [
            "pyflyte-map-execute",
            "--inputs", f"{self._folder}/inputs.pb",
            "--output-prefix", f"{self._folder}/{index}",
            "--raw-output-data-prefix", f"{self._folder}/raw",
            "--checkpoint-path", f"{self._folder}/raw/_flytecheckpoints",
            "--prev-checkpoint", '""',
            "--resolver", "flytekit.core.array_node_map_task.ArrayNodeMapTaskResolver",
            "--", "vars", "unit", "resolver", "flytekit.core.python_auto_container.default_task_resolver",
            "task-module", "program", "task-name", "describe",
        ]  # fmt: skip

    def plain(self, index: int) -> ContainerRequest:
        """With the code on the path."""
        env = {"PYTHONPATH": str(self._folder / "code"), **_index_variables(index)}
        return ContainerRequest(f"e{index}", "any", self._argv(index), env)

    def fast(self, index: int) -> ContainerRequest:
        """With the code in an archive."""
        archive = self._folder / "fast.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(self._folder / "code/program.py", "program.py")
        head = ["pyflyte-fast-execute", "--additional-distribution", str(archive), "--dest-dir", ".", "--"]
        return ContainerRequest(f"e{index}", "any", [*head, *self._argv(index)], _index_variables(index))

    def output(self, index: int) -> str:
        """What an element returned."""
        outputs = literals_pb2.LiteralMap.FromString((self._folder / str(index) / "outputs.pb").read_bytes())
        return outputs.literals["o0"].scalar.primitive.string_value

    def error(self, index: int) -> str:
        """Message of the error that an element left."""
        document = errors_pb2.ErrorDocument.FromString((self._folder / str(index) / "error.pb").read_bytes())
        return document.error.message


async def _run(follower: Follower, *requests: ContainerRequest) -> None:
    await follower.runtime.launch(requests)
    for request in requests:
        assert (await follower.ended(request.name)).failure is None


@pytest.mark.parametrize("way", ["plain", "fast"])
async def test_each_element_runs_its_own_input(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, way: str
) -> None:
    """`pyflyte-map-execute` in forks of a task host picks the element that the array index names, beside bound inputs;
    an element that fails leaves its own error."""
    elements = Elements(tmp_path)
    async with follow(flytekit_options) as follower:
        await _run(follower, *(getattr(elements, way)(index) for index in range(len(INPUTS))))
    assert [elements.output(index) for index in (0, 1)] == ["10 m", "20 m"]
    assert "-30 m cannot be" in elements.error(2)
    claim = read_claim(str(task_folder(flytekit_options.state_dir, "e1")))
    assert claim is not None
    assert claim.host != "plain"


async def test_any_program_can_be_an_element(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """A raw shell program finds its index in its environment by the variable that names it."""
    script = 'eval "echo element \\$$BATCH_JOB_ARRAY_INDEX_VAR_NAME"'
    async with follow() as follower:
        await _run(follower, *(shell_request(f"e{index}", script, _index_variables(index)) for index in range(2)))
    logs = [log_file(options.state_dir, f"e{index}", "stdout").read_text() for index in range(2)]
    assert logs == ["element 0\n", "element 1\n"]
