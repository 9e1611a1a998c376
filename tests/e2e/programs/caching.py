"""Programs whose tasks are cacheable. Each run of one leaves a line in a file; its output is a new text each time."""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from flytekit import HashMethod, LaunchPlan, dynamic, map_task, task, workflow


def _mark(marks: str, what: str) -> str:
    with Path(marks).open("a") as file:
        file.write(what + "\n")
    return f"{what}-{uuid.uuid4().hex}"


@dataclass
class Options:
    """Inputs whose fields come in any order."""

    depth: int
    width: int


@task(cache=True, cache_version="1")
def make(marks: str, what: str) -> str:
    """A cacheable task."""
    return _mark(marks, what)


@task(cache=True, cache_version="1")
def make_of(marks: str, options: Options, names: dict[str, int]) -> str:
    """One with structured inputs."""
    return _mark(marks, f"{options.depth} {options.width} {sorted(names.items())}")


@task(cache=True, cache_version="1", cache_ignore_input_vars=("note",))
def make_ignoring(marks: str, what: str, note: str) -> str:
    """One of whose inputs some do not count."""
    return _mark(marks, what)


@task(cache=True, cache_version="1")
def touch(marks: str) -> None:
    """One without outputs."""
    _mark(marks, "touched")


@workflow
def plain(marks: str, what: str) -> str:
    """A task, and one without outputs beside it."""
    touch(marks=marks)
    return make(marks=marks, what=what)


@workflow
def around(marks: str, what: str) -> str:
    """The same in a sub-workflow."""
    return plain(marks=marks, what=what)


@workflow
def structured(marks: str, options: Options, names: dict[str, int]) -> str:
    """Structured inputs."""
    return make_of(marks=marks, options=options, names=names)


@workflow
def ignoring(marks: str, what: str, note: str) -> str:
    """An input that does not count."""
    return make_ignoring(marks=marks, what=what, note=note)


def _length(text: str) -> str:
    return str(len(text))


@task
def hashed(marks: str, text: str) -> Annotated[str, HashMethod(_length)]:
    """Its output counts by its length alone."""
    _mark(marks, "hashed")
    return text


@task(cache=True, cache_version="1")
def measure(marks: str, text: str) -> str:
    """Takes a value that says itself what it counts by."""
    return _mark(marks, "measured")


@workflow
def by_hash(marks: str, text: str) -> str:
    """A value with a hash of its own."""
    return measure(marks=marks, text=hashed(marks=marks, text=text))


@task(cache=True, cache_version="1")
def element(item: str) -> str:
    """An element."""
    return f"{item}-{uuid.uuid4().hex}"


@workflow
def mapped(items: list[str]) -> list[str]:
    """A map task whose elements are cacheable."""
    return map_task(element)(item=items)


@dynamic(cache=True, cache_version="1")
def several(marks: str, count: int) -> list[str]:
    """A cacheable dynamic workflow of cacheable tasks."""
    _mark(marks, "compiled")
    return [make(marks=marks, what=f"part {number}") for number in range(count)]


@workflow
def made_on_the_way(marks: str, count: int) -> list[str]:
    """It."""
    return several(marks=marks, count=count)


@task(cache=True, cache_version="1", cache_serialize=True)
def one_at_a_time(marks: str, what: str, seconds: float) -> str:
    """Takes a while, and should be made once."""
    _mark(marks, f"{what} begins")
    time.sleep(seconds)
    return _mark(marks, what)


@workflow
def serialized(marks: str, what: str, seconds: float) -> str:
    """It."""
    return one_at_a_time(marks=marks, what=what, seconds=seconds)


@task
def never_kept(marks: str, what: str) -> str:
    """Not cacheable by itself."""
    return _mark(marks, what)


@workflow
def overridden(marks: str, what: str) -> tuple[str, str]:
    """Nodes that say otherwise than their tasks."""
    kept = never_kept(marks=marks, what=what).with_overrides(cache=True, cache_version="1")
    run = make(marks=marks, what=what).with_overrides(cache=False)
    return kept, run


@task(cache=True, cache_version="1")
def fails(marks: str) -> str:
    """What fails is not kept."""
    if _mark(marks, "failed"):
        raise ValueError("no")
    return "yes"


@workflow
def failing(marks: str) -> str:
    """It."""
    return fails(marks=marks)


@task
def slowly(marks: str, what: str) -> str:
    """Not cacheable by itself."""
    _mark(marks, f"{what} begins")
    time.sleep(1.0)
    return _mark(marks, what)


@workflow
def two_steps(marks: str, what: str) -> str:
    """Tasks that nobody keeps."""
    return never_kept(marks=marks, what=slowly(marks=marks, what=what))


@workflow
def kept_whole(marks: str, what: str) -> tuple[str, str]:
    """A sub-workflow whose outputs are kept, of which one runs at a time; what it has made is read by a task."""
    whole = two_steps(marks=marks, what=what).with_overrides(cache=True, cache_version="1", cache_serialize=True)
    return whole, never_kept(marks=marks, what=whole)


@dynamic
def keep_inside(marks: str, what: str) -> str:
    """A sub-workflow whose outputs are kept, inside of a workflow that is made while it runs."""
    return two_steps(marks=marks, what=what).with_overrides(cache=True, cache_version="1")


@workflow
def kept_inside(marks: str, what: str) -> str:
    """The dynamic task alone."""
    return keep_inside(marks=marks, what=what)


plain_plan = LaunchPlan.get_or_create(plain, "caching.plain_plan", default_inputs={"what": "a"})


@workflow
def launching(marks: str) -> str:
    """An execution of a launch plan with a default, and a task that takes what it has made."""
    return make(marks=marks, what=plain_plan(marks=marks))
