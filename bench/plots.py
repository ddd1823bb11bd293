# SPDX-License-Identifier: GPL-2.0-only
"""The plots of bench/report, as SVG text. What they show is worked out by the caller."""
import io

import matplotlib
from matplotlib import pyplot

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 9, "axes.grid": True,
                            "grid.alpha": 0.3, "figure.autolayout": True,
                            "svg.hashsalt": "vmshm"})

QUANTILES = ("p50", "p90", "p99", "p99.9", "max")
# What share of all a quantile leaves above it; how many "max" is one of is not known.
ABOVE = {"p50": 0.5, "p90": 0.1, "p99": 0.01, "p99.9": 0.001}
MOST_LINES, MOST_BARS = 12, 40	# that a plot can show


def svg(figure):
    """The figure as SVG, to stand in a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg"):]


def pieces(names, most, *parts):
    """[(title, names)]: names of one plot each, most at the most.

    Too many for one are split by the first of parts, functions of a name, that of
    a piece with still too many by the next one; in the end they are only counted.
    """
    if len(names) <= most:
        return [("", names)] if names else []
    if not parts:
        return [(f"part {at // most + 1}", names[at:at + most]) for at in range(0, len(names), most)]
    found = {}
    for name in names:
        found.setdefault(parts[0](name), []).append(name)
    return [(", ".join(filter(None, (str(part), title))), some)
            for part, all_of_it in found.items()
            for title, some in pieces(all_of_it, most, *parts[1:])]


def lines(series, x_name, unit, title=""):
    """series: {name: [(x, median, low, high), ...]}, both axes logarithmic."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name, points in series.items():
        x, median, low, high = zip(*sorted(points))
        axes.errorbar(x, median, yerr=([m - l for m, l in zip(median, low)],
                                       [h - m for m, h in zip(median, high)]),
                      label=name, marker="o", markersize=3, capsize=2)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({point[0] for points in series.values() for point in points})
    axes.set_xticks(ticks, [short(tick) for tick in ticks])
    axes.set_xlabel(x_name)
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    return svg(figure)


def bars(rows, unit, title=""):
    """rows: [(name, median, low, high), ...]."""
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.28 * len(rows)))
    names, median, low, high = zip(*rows[::-1])
    axes.barh(names, median, xerr=([m - l for m, l in zip(median, low)],
                                   [h - m for m, h in zip(median, high)]), capsize=2)
    if max(median) > 20 * min(median) > 0:
        axes.set_xscale("log")
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=9)
    return svg(figure)


def beyond(series, title=""):
    """series: {name: [(us, share of all that took so long or longer), ...]}, both axes logarithmic.

    What has only a few quantiles is drawn as points with a broken line between them.
    """
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name, points in series.items():
        few = len(points) <= len(ABOVE)
        axes.plot(*zip(*points), label=name, marker="o" if few else "", markersize=3,
                  linewidth=1, linestyle="--" if few else "-", drawstyle="default" if few else "steps-pre")
    axes.set_xscale("log", nonpositive="clip")
    axes.set_yscale("log", nonpositive="clip")
    axes.set_xlabel("us")
    axes.set_ylabel("share that took so long or longer")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    return svg(figure)


def stacked(rows, layers, unit):
    """rows: [(name, {layer: value}), ...], a bar each."""
    figure, axes = pyplot.subplots(figsize=(8.5, 1.6 + 0.42 * len(rows)))
    colours = matplotlib.colormaps["tab20"].colors + matplotlib.colormaps["tab20b"].colors
    names = [name for name, _ in rows][::-1]
    left = [0.0] * len(rows)
    for n, layer in enumerate(layers):
        values = [values.get(layer, 0) for _, values in rows][::-1]
        if any(values):
            axes.barh(names, values, left=left, label=layer, color=colours[n % len(colours)])
            left = [a + b for a, b in zip(left, values)]
    axes.set_xlabel(unit)
    axes.legend(fontsize=6, ncol=4, loc="upper center", bbox_to_anchor=(0.45, -0.2))
    return svg(figure)


def short(number):
    """65536 as 64K."""
    for factor, letter in ((1 << 20, "M"), (1 << 10, "K")):
        if number >= factor and number % factor == 0:
            return f"{number / factor:g}{letter}"
    return f"{number:g}"
