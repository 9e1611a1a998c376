"""Tasks that spread what they are given wherever a value can go."""

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

from flytekit import Deck, LaunchPlan, current_context, dynamic, map_task, task, wait_for_input, workflow
from flytekit.core.artifact import Artifact, Inputs
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.file import FlyteFile

Told = Artifact(name="told", partition_keys=["who"])


@task(cache=True, cache_version="1", enable_deck=True)
def spread(who: str) -> tuple[str, FlyteFile, Annotated[str, Told]]:
    """Into outputs, a file, a page, an artifact, the cache, both streams of the log and the working folder."""
    print(who, flush=True)
    print(who, file=sys.stderr, flush=True)
    Deck("page", f"<b>{who}</b>")
    file = Path(current_context().working_directory) / "file.txt"
    file.write_text(who)
    return who * 2, FlyteFile(str(file)), Told.create_from(who, who=who)


@task
def long(who: str) -> str:
    """An output that is too large for a row."""
    return who * 20_000


@task
def refuse(who: str, text: str) -> str:
    """Into the text of an error."""
    if text:
        raise ValueError(f"{who}: {len(text)}")
    return text


@workflow
def private_wf(who: str) -> str:
    """All of it, and then it fails."""
    said, _, _ = spread(who=who)
    return refuse(who=said, text=long(who=who))


@workflow
def quiet_wf(who: str) -> str:
    """The same without a failure."""
    said, _, _ = spread(who=who)
    return said


quiet_lp = LaunchPlan.get_or_create(quiet_wf, "private.quiet_lp")


@task(cache=True, cache_version="1", cache_serialize=True)
def note(number: int, who: str) -> str:
    """Into outputs, logs and cache entries of elements of a map."""
    print(who, number, flush=True)
    return f"{who}{number}"


@task(retries=1)
def resume(who: str) -> str:
    """Into a checkpoint, and into the error of the attempt that leaves it."""
    checkpoint = current_context().checkpoint
    if not checkpoint.read():
        checkpoint.write(who.encode())
        raise FlyteRecoverableException(who)
    return who


@task
def vast(who: str) -> str:
    """An output that is stored apart by the smallest setting."""
    return who * 40_000


@dynamic
def unfold(who: str) -> str:
    """Into a workflow that is made while it runs."""
    return note(number=7, who=who)


@workflow
def winding_wf(who: str, numbers: list[int]) -> tuple[list[str], str, str, str, str, str]:
    """Through maps, dynamics, children, checkpoints, values apart and somebody's answer."""
    answer = wait_for_input("answer", timeout=timedelta(hours=1), expected_type=str)
    noted = map_task(partial(note, who=who))(number=numbers)
    return noted, resume(who=who), vast(who=who), unfold(who=who), quiet_lp(who=who), answer


@workflow
def asking_wf(who: str, told: str = Told.query(who=Inputs.who)) -> str:
    """Is given an artifact."""
    return resume(who=told)
