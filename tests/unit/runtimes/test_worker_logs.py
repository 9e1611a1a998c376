"""Output of tasks in workers, as it is kept."""

import asyncio
from pathlib import Path

from wingbeat_propeller.runtimes.worker.log_files import LogFiles


async def test_output_lies_where_that_of_local_tasks_does(tmp_path: Path) -> None:
    """In order and bounded, and written although the engine ends right after it came."""
    logs = LogFiles(tmp_path, "http://h/logs", 6)
    running = asyncio.create_task(logs.run())
    await asyncio.sleep(0)
    for content in (b"one", b"two", b"three"):
        logs.add("a", "stdout", content)
    logs.add("a", "stderr", b"no")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    folder = tmp_path / "tasks" / "a"
    assert (folder / "stdout.log").read_bytes().startswith(b"onetwo\n[wingbeat: ")
    assert (folder / "stderr.log").read_bytes() == b"no"


async def test_an_attempt_that_writes_nothing(tmp_path: Path) -> None:
    """It has links like any other, and no file."""
    logs = LogFiles(tmp_path, "http://h/logs", 6)
    running = asyncio.create_task(logs.run())
    await asyncio.sleep(0)
    links = logs.links("a")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [link.name for link in links] == ["stdout", "stderr"]
    assert links[0].uri == "http://h/logs/a/stdout.log?from=worker"
    assert not list(tmp_path.iterdir())
