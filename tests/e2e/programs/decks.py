"""Tasks that show pages."""

import os
import time
from pathlib import Path

from flytekit import Deck, map_task, reference_task, task, workflow


@task(enable_deck=True)
def report(folder: str) -> int:
    """Publishes a page, waits to be let go, and adds to the page."""
    deck = Deck("report", "<b>half done</b>")
    Deck.publish()
    (Path(folder) / "published").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    deck.append("<b>all done</b>")
    return 1


@task(enable_deck=True)
def report_and_fail(words: str) -> int:
    """Publishes a page before it fails."""
    Deck("report", f"<b>{words}</b>")
    Deck.publish()
    return int(words)


@task(enable_deck=True)
def announce_and_leave() -> int:
    """Announces a page and is gone before it is written."""
    os._exit(3)
    return 1


@task
def silent() -> int:
    """No page."""
    return 1


@task(enable_deck=True)
def show(number: int) -> int:
    """A page with the number; negative ones fail."""
    Deck("report", f"<b>this is {number}</b>")
    Deck.publish()
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


@reference_task(project="flytesnacks", domain="development", name="decks.show", version="referenced")
def show_by_reference(number: int) -> int:
    """The same, registered before: flytekit's map tasks of other tasks leave no page."""


@workflow
def map_wf(numbers: list[int]) -> list[int | None]:
    """A page for each number."""
    return map_task(show_by_reference, min_success_ratio=0.5)(number=numbers)


@workflow
def report_wf(folder: str) -> int:
    """One task with a page, one without."""
    silent()
    return report(folder=folder)


@workflow
def failing_wf() -> int:
    """A page of a task that fails."""
    return report_and_fail(words="last words")


@workflow
def leaving_wf() -> int:
    """A page that never comes."""
    return announce_and_leave()
