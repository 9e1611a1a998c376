"""Bars on a logarithmic axis, by matplotlib, which the group `load` of pyproject.toml installs."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas

from loadtests.peers.table import Figure


def write_chart(ratios: Mapping[str, Mapping[str, float]], figures: Sequence[Figure]) -> str:
    """How many times better Wingbeat is, a group of bars for each figure: an SVG image."""
    canvas: Any = Canvas(figsize=(9, 4.5), layout="constrained")  # its types are full of holes
    axes = canvas.subplots()
    width = 0.8 / max(len(ratios), 1)
    for number, (name, by_figure) in enumerate(ratios.items()):
        places = [place + number * width for place in range(len(figures))]
        bars = axes.bar(places, [by_figure[figure.key] for figure in figures], width, label=name)
        axes.bar_label(bars, fmt="{:.1f}", fontsize=7)
    axes.set_yscale("log")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel("times better than")
    middles = [place + 0.4 - width / 2 for place in range(len(figures))]
    axes.set_xticks(middles, [figure.title for figure in figures], fontsize=8)
    axes.legend(fontsize=8)
    image = io.StringIO()
    canvas.savefig(image, format="svg")
    return image.getvalue()
