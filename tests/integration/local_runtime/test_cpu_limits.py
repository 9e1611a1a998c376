"""CPU limits of attempts, shells and tasks of flytekit alike."""

import os
from pathlib import Path

from tests.integration.local_runtime.conftest import FollowRuntime, shell_request

from wingbeat_propeller.runtimes.local import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import log_file

TELL = "grep Cpus_allowed_list /proc/self/status"


def _cpus(options: LocalRuntimeOptions, name: str) -> set[int]:
    """The CPUs that a shell said it may use."""
    ranges = log_file(options.state_dir, name, "stdout").read_text().split()[1].split(",")
    ends = [[int(end) for end in text.split("-")] for text in ranges]
    return {cpu for first, *last in ends for cpu in range(first, (last or [first])[0] + 1)}


async def test_attempts_keep_to_their_cpus(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """A limit of one CPU is one CPU for the program and what it starts; without a limit there are all."""
    async with follow() as follower:
        await follower.shell("limited", f"sh -c '{TELL}'", cpu_limit=1.0)
        await follower.shell("free", TELL)
        await follower.ended("limited")
        await follower.ended("free")
    everything = os.sched_getaffinity(0)
    assert len(_cpus(options, "limited")) == 1
    assert _cpus(options, "limited") <= everything
    assert _cpus(options, "free") == everything


async def test_attempts_at_once_spread(follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path) -> None:
    """As many attempts of one CPU as there are CPUs have one each; room is used again when they have ended."""
    count = len(os.sched_getaffinity(0))
    async with follow() as follower:
        for turn in range(2):
            names = [f"a{turn}-{number}" for number in range(count)]
            go = tmp_path / f"go{turn}"
            script = f"{TELL}; until [ -e {go} ]; do sleep 0.01; done"
            await follower.runtime.launch([shell_request(name, script, cpu_limit=0.5) for name in names])
            for name in names:
                await follower.started(name)
            go.touch()
            for name in names:
                assert (await follower.ended(name)).failure is None
            assert len(set[int]().union(*(_cpus(options, name) for name in names))) == count
