"""Programs with outputs that are stored apart since they are large."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from flytekit import task, workflow


@dataclass
class Document:
    """Something with a small and a large part."""

    title: str
    body: str


@task(cache=True, cache_version="1")
def make(marks: str, size: int) -> dict[str, str]:
    """Something large that is kept."""
    with Path(marks).open("a") as file:
        file.write("made\n")
    return {"large": "x" * size, "small": f"small-{uuid.uuid4().hex}"}


@task
def write(size: int) -> Document:
    """Something large with fields."""
    return Document("a title", "y" * size)


@task(cache=True, cache_version="1")
def measure(values: dict[str, str], document: Document) -> int:
    """Takes both."""
    return len(values["large"]) + len(document.body)


@task
def repeat(text: str) -> str:
    """Takes a part."""
    return text


@workflow
def inner(values: dict[str, str], document: Document) -> tuple[int, str, str]:
    """Hands on a whole and parts."""
    whole = measure(values=values, document=document)
    return whole, repeat(text=values["small"]), repeat(text=document.title)


@workflow
def offloaded(marks: str, size: int) -> tuple[dict[str, str], int, int, str, str]:
    """A task, a sub-workflow and its tasks are given what others have made."""
    values = make(marks=marks, size=size)
    document = write(size=size)
    first = measure(values=values, document=document)
    second, small, title = inner(values=values, document=document)
    return values, first, second, small, title


@task
def lose(store: str) -> None:
    """Removes what has been stored apart in this execution."""
    name = os.environ["FLYTE_INTERNAL_EXECUTION_ID"]
    for path in Path(store).rglob("*_offloaded_metadata.pb"):
        if name in str(path):
            path.unlink()


@workflow
def lost(store: str, size: int) -> str:
    """Looks into something that is gone by then."""
    document = write(size=size)
    losing = lose(store=store)
    title = repeat(text=document.title)
    document >> losing
    losing >> title
    return title
