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


def svg(figure):
    """The figure as SVG, to stand in a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg"):]


def lines(series, x_name, unit):
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
    axes.legend(fontsize=8)
    return svg(figure)


def bars(rows, unit):
    """rows: [(name, median, low, high), ...]."""
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.28 * len(rows)))
    names, median, low, high = zip(*rows[::-1])
    axes.barh(names, median, xerr=([m - l for m, l in zip(median, low)],
                                   [h - m for m, h in zip(median, high)]), capsize=2)
    if max(median) > 20 * min(median) > 0:
        axes.set_xscale("log")
    axes.set_xlabel(unit)
    return svg(figure)


def quantiles(series):
    """series: {name: {quantile: microseconds}}."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name, values in series.items():
        names = [quantile for quantile in QUANTILES if quantile in values]
        axes.plot(names, [values[quantile] for quantile in names], marker="o", markersize=3,
                  label=name)
    axes.set_yscale("log")
    axes.set_ylabel("us")
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
