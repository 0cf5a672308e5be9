"""Draw the images of docs/lecture.md with polyak's own rules, schedules and layers.

    python docs/images/draw.py

Text stays text and nothing depends on the clock: the same versions write the same files.
"""

from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from polyak.optim import rules, schedules
from polyak.race import RULES, SURFACES, trail
from polyak.regularize import Dropout

HERE = Path(__file__).parent
COLOURS = dict(
    zip(RULES, ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee"), strict=True)
)
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "polyak", "font.size": 9}


def save(figure, name):
    """Write a figure without the day it was drawn on."""
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None, "Creator": None})


def canvas(columns=1, width=4.2, height=3.2):
    """Open a figure with some axes side by side."""
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, columns))


def contours(axes, surface):
    """Draw a surface from above."""
    x, y = (np.linspace(*limits, 80) for limits in (surface.x_range, surface.y_range))
    heights = surface.value(*np.meshgrid(x, y))
    axes.contour(x, y, heights, levels=np.quantile(heights, np.linspace(0, 1, 18)), colors="0.8")
    axes.set(title=surface.title, xlim=surface.x_range, ylim=surface.y_range)


def walk(axes, surface, names, steps, rate=None):
    """Draw the paths of some rules over a surface."""
    contours(axes, surface)
    for name in names:
        path = trail(surface, RULES[name], rate or surface.learning_rate, steps=steps)
        axes.plot(path[:, 0], path[:, 1], ".-", color=COLOURS[name], label=name, markersize=3)
    axes.plot(*surface.start, "k.", markersize=9)
    axes.legend()


def saddle():
    """SGD stalls where the gradient is nearly nothing; velocity carries momentum past it."""
    figure, axes = canvas()
    walk(axes[0], SURFACES["saddle"], ("momentum", "sgd"), 120)
    save(figure, "saddle")


def ravine():
    """In a badly conditioned ravine SGD zigzags; Nesterov overshoots less than momentum."""
    figure, axes = canvas(2)
    walk(axes[0], SURFACES["ravine"], ("sgd",), 60)
    walk(axes[1], SURFACES["ravine"], ("momentum", "nesterov"), 60)
    save(figure, "ravine")


def steps():
    """AdaGrad's steps die, RMSProp's do not: length of each step on a slope that never ends."""
    figure, axes = canvas()
    rate, gradient = 0.1, np.ones(1)
    for name in ("adagrad", "rmsprop", "adam"):
        x, state, lengths = np.zeros(1), None, []
        for t in range(1, 201):
            count = {"adagrad": 1, "rmsprop": 1, "adam": 2}[name]
            state = [np.zeros(1)] * count if state is None else state
            counted = {"t": t} if name == "adam" else {}
            new, *state = RULES[name](x, gradient, *state, learning_rate=rate, **counted)
            lengths.append(abs(float((new - x)[0])))
            x = new
        axes[0].plot(range(1, 201), lengths, color=COLOURS[name], label=name)
    axes[0].set(xlabel="step", ylabel="length of the step", yscale="log", title="slope 1, rate 0.1")
    axes[0].legend()
    save(figure, "steps")


def cycles():
    """A restart every fifth of the run: a snapshot at the end of each is a member."""
    figure, axes = canvas(1, 6, 2.6)
    progress = np.linspace(0, 1, 1001)
    schedule = partial(schedules.sgdr, cycles=5)
    axes[0].plot(progress, [schedule(p) for p in progress], color=COLOURS["sgd"], label="sgdr")
    plain = [schedules.cosine(p) for p in progress]
    axes[0].plot(progress, plain, "--", color="0.6", label="cosine")
    ends = schedules.cycle_ends(5)
    axes[0].plot(ends, np.zeros(5), "o", color=COLOURS["momentum"], label="snapshot", clip_on=False)
    axes[0].set(xlabel="progress", ylabel="factor of the rate")
    axes[0].legend(loc="upper right")
    save(figure, "cycles")


def average():
    """Weights under a noisy gradient wander; their running average does not."""
    figure, axes = canvas()
    surface = SURFACES["noise"]
    contours(axes[0], surface)
    path = trail(surface, rules.sgd, 0.1, steps=200)
    x_test, averaged = path[0], []
    for x in path:
        (x_test,) = rules.polyak(x_test, x, 0.95)
        averaged.append(x_test)
    averaged = np.array(averaged)
    axes[0].plot(path[:, 0], path[:, 1], color="0.6", linewidth=0.8, label="x")
    axes[0].plot(averaged[:, 0], averaged[:, 1], color=COLOURS["momentum"], label="x_test")
    axes[0].plot(*surface.minimum, "k+", markersize=10)
    axes[0].legend()
    save(figure, "average")


def dropout():
    """Two forward passes of one layer: other units are zero, the rest doubled."""
    figure, axes = canvas(2, 3, 2)
    torch.manual_seed(0)
    layer, ones = Dropout(0.5).train(), torch.ones(8, 16)
    for number, one in enumerate(axes, 1):
        one.imshow(layer(ones).numpy(), cmap="Blues", vmin=0, vmax=2)
        one.set(title=f"pass {number}: 0 or 2", xticks=[], yticks=[], xlabel="units")
    save(figure, "dropout")


def main():
    """Draw all images."""
    with matplotlib.rc_context(STYLE):
        for draw in (saddle, ravine, steps, cycles, average, dropout):
            draw()


if __name__ == "__main__":
    main()
