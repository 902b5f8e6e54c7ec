"""The pictures of docs/continuation.md, from the points that were kept: `python -m bench.continuation.plots`.

Wants matplotlib (requirements/plots.txt) and nothing of Segue's engine.  The pictures bring their own light
ground, so that they can be read on a dark page too; the same points give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.continuation.results import points
from bench.continuation.texts import NEXT
from bench.process import REPOSITORY

PICTURES = REPOSITORY / "docs" / "pictures"
GROUND, INK, FAINT = "#fbfaf7", "#22272e", "#d9d5cc"
PLAIN, HEALED, SEAM = "#b3541e", "#c9a227", "#1f6f8b"
WORST = 1e-12
"""Probabilities below this are drawn at the edge."""

Row = dict[str, Any]


def recovery(plt: Any) -> Any:
    """Bars: can the text's own tokens still come, by the kind of cut?"""
    rows: list[Row] = points("reach")["cuts"][::-1]
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    series = (
        ("plain", "plain encoding", PLAIN),
        ("healed", "healing one token", HEALED),
        ("seam", "Segue's seam", SEAM),
    )
    for number, (name, label, colour) in enumerate(series):
        values = [100 * float(row[name]) for row in rows]
        places = [at + 0.27 * (1 - number) for at in range(len(rows))]
        axes.barh(places, values, height=0.25, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.text(value + 1, place, _share(value), va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [row["cut"] for row in rows])
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
    axes.set_title("Cuts behind which the text's own tokens can still come", loc="left", fontsize=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.07), ncols=3, frameon=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    return figure


def probability(plt: Any) -> Any:
    """Dots: the probability of the true next bytes, with the search and without."""
    rows: list[Row] = points("recovery")["cuts"]
    exp = import_module("math").exp
    figure, axes = plt.subplots(figsize=(6.4, 6.0), layout="constrained")
    colours = {"chinese": PLAIN, "english": SEAM, "code": "#5b8c3a", "json": "#7a4f9a"}
    names = {"chinese": "Chinese", "english": "English", "code": "code", "json": "JSON"}
    axes.plot([WORST / 3, 2], [WORST / 3, 2], color=INK, linewidth=0.8, zorder=1)
    for kind, colour in colours.items():
        chosen = [row for row in rows if row["kind"] == kind]
        across, up = ([max(WORST, exp(float(row[name]))) for row in chosen] for name in ("plain", "seam"))
        axes.scatter(across, up, s=22, color=colour, alpha=0.7, linewidths=0, label=names[kind], zorder=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(WORST / 3, 2)
    axes.set_ylim(WORST / 3, 2)
    axes.set_aspect("equal")
    axes.set_xlabel("encoded as it stands")
    axes.set_ylabel("with the search for the seam")
    axes.set_title(f"Probability of the {NEXT} bytes that really follow, {len(rows)} cuts", loc="left", fontsize=11)
    axes.text(3e-9, 1.2e-9, "no difference", rotation=45, fontsize=8.5, color=INK, va="top", rotation_mode="anchor")
    axes.legend(loc="lower right", frameon=True, facecolor=GROUND, edgecolor=FAINT)
    axes.grid(color=FAINT, linewidth=0.6)
    return figure


DRAWN: dict[str, Callable[[Any], Any]] = {"seam-reach": recovery, "seam-probability": probability}


def main() -> None:
    """Draw them all."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--into", type=Path, default=PICTURES, help="another folder")
    options.add_argument("--format", default="svg", choices=("svg", "png"))
    given = options.parse_args()
    plt = import_module("matplotlib.pyplot")
    plt.switch_backend("agg")
    plt.rcParams.update(
        {
            "svg.hashsalt": "segue",
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": FAINT,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.facecolor": GROUND,
            "figure.facecolor": GROUND,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    given.into.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        figure = draw(plt)
        path = given.into / f"{name}.{given.format}"
        figure.savefig(path, dpi=150, metadata={"Date": None} if given.format == "svg" else None)
        plt.close(figure)
        print(path.name, path.stat().st_size)


def _share(value: float) -> str:
    return f"{value:.0f}" if value in (0, 100) or round(value) not in (0, 100) else f"{value:.1f}"


if __name__ == "__main__":
    main()
