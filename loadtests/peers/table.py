"""Figures as a table in Markdown, and how systems compare."""

from collections.abc import Mapping
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured figure."""

    key: str
    title: str
    more_is_better: bool


FIGURES = (
    Figure("one_ms", "one no-op, ms", more_is_better=False),
    Figure("sequence_ms_per_task", "ten in sequence, ms a task", more_is_better=False),
    Figure("parallel_tasks_per_s", "side by side, tasks/s", more_is_better=True),
    Figure("many_tasks_per_s", "executions of five in sequence, tasks/s", more_is_better=True),
    Figure("fib_s", "fib(10) x 40, s", more_is_better=False),
)


def ratios_to(own: str, measured: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """How many times better `own` is than each other system, by figure."""
    if own not in measured:
        return {}
    return {
        name: {figure.key: round(_ratio(figure, measured[own][figure.key], other[figure.key]), 2) for figure in FIGURES}
        for name, other in measured.items()
        if name != own
    }


def _ratio(figure: Figure, own: float, other: float) -> float:
    return own / other if figure.more_is_better else other / own


def write_table(
    measured: Mapping[str, Mapping[str, float]], failed: Mapping[str, str], notes: Mapping[str, str]
) -> str:
    """Rows are systems; those that failed say why."""
    titles = ["system", "ready, s", *(figure.title for figure in FIGURES), "how"]
    lines = [_row(titles), _row(["---"] * len(titles))]
    for name, figures in measured.items():
        cells = [f"{figures[figure.key]:g}" for figure in FIGURES]
        lines.append(_row([name, f"{figures['ready_s']:g}", *cells, notes.get(name, "")]))
    lines += [_row([name, *[""] * (len(FIGURES) + 1), f"failed: {_one_line(why)}"]) for name, why in failed.items()]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
