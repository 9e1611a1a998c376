"""Tasks that spread what they are given wherever a value can go."""

import sys
from pathlib import Path
from typing import Annotated

from flytekit import Deck, current_context, task, workflow
from flytekit.core.artifact import Artifact
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
