"""Charts as SVG text: one grey that reads on light and on dark paper, words as words."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from polyak.errors import shown

GREY = "#808080"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377")  # Tol's, told apart by everyone
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "polyak", "text.parse_math": False, "font.size": 9,
    "font.family": "sans-serif", "text.color": GREY, "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlecolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "grid.color": GREY, "grid.alpha": 0.25,
    "axes.grid": True, "lines.linewidth": 1.6,
}  # fmt: skip


@contextmanager
def chart(width: float, height: float, columns: int = 1) -> Iterator[tuple]:
    """Open a figure of some inches; yields (axes, a list that the finished SVG is put into)."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, columns))
        drawn: list[str] = []
        yield axes, drawn
        page = io.StringIO()
        with warnings.catch_warnings():
            # words stay words: the reader's browser has the letters that this machine's fonts lack
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            nothing = {"Date": None, "Creator": None}
            figure.savefig(page, format="svg", transparent=True, metadata=nothing)
        text = page.getvalue()
        drawn.append(text[text.index("<svg") :])


Words = Callable[[str], str]
Bins = tuple[np.ndarray, np.ndarray, np.ndarray]


def course(
    validations: list[dict[str, Any]],
    rates: tuple[Any, Any] | None,
    ends: list[float],
    words: Words,
) -> str:
    """Draw loss, accuracy and learning rate over the epochs; ends of cycles are marked.

    Args:
        validations: records.
        rates: (epochs, learning rates) of the schedule; None marks what validations saw of it.
        ends: epochs at which a snapshot was taken.
        words: key -> text.
    """
    epochs = [record["epoch"] for record in validations]

    def line(axes, name, label, colour, style="-"):
        values = [record.get(name) for record in validations]
        if any(isinstance(value, int | float) for value in values):
            known = [np.nan if value is None else value for value in values]
            axes.plot(epochs, known, style, marker=".", color=COLOURS[colour], label=label)

    with chart(9, 2.9, 3) as (axes, drawn):
        line(axes[0], "train_loss", words("training"), 0)
        line(axes[0], "val_loss", words("validation"), 1)
        line(axes[0], "average_loss", words("averaged"), 2)
        line(axes[1], "val_accuracy", words("validation"), 1)
        line(axes[1], "average_accuracy", words("averaged"), 2)
        if rates is None:
            line(axes[2], "learning_rate", words("learning rate"), 0, "none")
        else:
            axes[2].plot(*rates, color=COLOURS[0])
            for one in axes[:2]:
                one.set_xlim(axes[2].get_xlim())
        for one, title in zip(axes, ("loss", "accuracy", "learning rate"), strict=True):
            one.set(title=words(title), xlabel=words("epoch"))
            for end in ends:
                one.axvline(end, color=GREY, linewidth=0.8, linestyle=":")
        for one in axes[:2]:
            if one.lines:
                one.legend()
    return drawn[0]


def reliability(before: Bins | None, after: Bins, words: Words) -> str:
    """Draw how often a model is right against how sure it is, before and after the temperature.

    Args:
        before: (confidence, accuracy, images) of the bins, each float64 (B,); None leaves it out.
        after: the same.
        words: key -> text.
    """
    with chart(4.2, 3.2) as (axes, drawn):
        axes[0].plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        both = (
            [(after, "after", 0)]
            if before is None
            else [(before, "before", 3), (after, "after", 0)]
        )
        for (sure, right, n), label, colour in both:
            area = 12 + 160 * n / max(1.0, n.sum())
            axes[0].plot(sure, right, color=COLOURS[colour], alpha=0.6)
            axes[0].scatter(sure, right, s=area, color=COLOURS[colour], label=words(label))
        axes[0].set(xlabel=words("how sure"), ylabel=words("how often right"))
        axes[0].set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes[0].legend(loc="upper left")
    return drawn[0]


def probes(stages: list[Any], curve: list[Any], words: Words) -> str:
    """Draw what linear classifiers reach: on each stage alone, and with more images a class.

    Args:
        stages: with `stage` and `accuracy`, in their order.
        curve: points with `each`, `accuracy`, `spread`.
        words: key -> text.
    """
    with chart(9, 2.9, 2) as (axes, drawn):
        places = range(len(stages))
        axes[0].plot(places, [one.accuracy for one in stages], marker="o", color=COLOURS[0])
        names = [shown(one.stage) for one in stages]
        axes[0].set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
        axes[0].set(title=words("a linear classifier on each stage"), ylabel=words("accuracy"))
        each, spread = [one.each for one in curve], [one.spread for one in curve]
        axes[1].errorbar(
            each, [one.accuracy for one in curve], yerr=spread, marker="o", color=COLOURS[0],
            capsize=3,
        )  # fmt: skip
        axes[1].set_xscale("log")
        axes[1].set_xticks(each, [str(n) for n in each])
        axes[1].minorticks_off()
        axes[1].set(title=words("with more images"), xlabel=words("images a class"))
    return drawn[0]


def bars(
    names: list[str], values: list[float], low: list[float], high: list[float], title: str
) -> str:
    """Draw one figure a row with its interval."""
    with chart(6, 0.5 + 0.32 * len(names)) as (axes, drawn):
        places = np.arange(len(names))[::-1]
        wide = np.abs(np.array([values, values]) - np.array([low, high]))
        axes[0].errorbar(values, places, xerr=wide, fmt="o", color=COLOURS[0], capsize=3)
        axes[0].set_yticks(places, names)
        axes[0].set(ylim=(-0.6, len(names) - 0.4), title=title)
    return drawn[0]
