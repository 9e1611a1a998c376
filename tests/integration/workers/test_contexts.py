"""What a task finds around it in a worker is what it finds in a process of its own."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from flyteidl.core import literals_pb2
from tests.integration.workers.conftest import PROGRAMS, Engine, Installation, result


async def in_a_process(engine: Engine, name: str, folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """What the task says when `pyflyte-execute` runs it."""
    request = engine.request("describe", name, None, env=env)
    place = Path(request.argv[request.argv.index("--inputs") + 1])
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    for part in ("work", "tmp", "home"):
        (folder / name / part).mkdir(parents=True)
    scratch = {"TMPDIR": str(folder / name / "tmp"), "HOME": str(folder / name / "home")}
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("pyflyte-execute"), *request.argv[1:]),
        cwd=folder / name / "work",
        env={
            "PATH": "/usr/bin:/bin",
            "FLYTE_STATSD_DISABLED": "1",
            "FLYTE_SDK_RICH_TRACEBACKS": "0",
            **scratch,
            **request.env,
        },
    )
    assert await process.wait() == 0
    outputs = (place.parent / "0" / "outputs.pb").read_bytes()
    said = literals_pb2.LiteralMap.FromString(outputs).literals["o0"].scalar.primitive.string_value
    return json.loads(said)


async def test_contexts_are_the_same(installation: Installation) -> None:
    """Parameters, settings, statistics and access to files, of the first task of a child and of those after it, with
    other executions and tasks in turn."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    for number in range(3):
        env = {"FLYTE_INTERNAL_TASK_NAME": f"tasks.describe{number}", "FLYTE_INTERNAL_EXECUTION_PROJECT": "p"}
        alone = await in_a_process(engine, f"alone-{number}", installation.folder / "processes", env)
        await engine.run("describe", f"alone-{number}", env={**env, "PYTHONPATH": str(PROGRAMS)})
        said = result(await engine.ended(f"alone-{number}"))
        assert isinstance(said, str)
        assert json.loads(said) == alone
