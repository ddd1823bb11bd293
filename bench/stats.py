# SPDX-License-Identifier: GPL-2.0-only
"""Medians, and the ratios of medians, with bootstrap intervals.

The sample is a boot, not a packet: packets of one boot share what that boot
happened to get (where its memory lies, on which core its threads are).
"""
import numpy


def median_interval(values, confidence=0.95, rounds=4000):
    """(median, low, high): bootstrap interval of the median."""
    values = numpy.asarray(values, float)
    median = float(numpy.median(values))
    if len(values) < 2:
        return median, median, median
    random = numpy.random.default_rng(1)
    picks = random.integers(0, len(values), (rounds, len(values)))
    return (median, *spread(numpy.median(values[picks], axis=1), confidence))


def ratio_interval(ours, theirs, better, confidence=0.95, rounds=4000):
    """(ratio, low, high) of the medians of two {boot: value}, ours better if above 1.

    Where both have values of the same boots these are drawn together; the boot
    is the sample.
    """
    boots = sorted(set(ours) & set(theirs))
    random = numpy.random.default_rng(2)
    if boots:
        a = numpy.array([ours[boot] for boot in boots], float)
        b = numpy.array([theirs[boot] for boot in boots], float)
        at = random.integers(0, len(a), (rounds, len(a)))
        at_b = at
    else:
        a = numpy.array(list(ours.values()), float)
        b = numpy.array(list(theirs.values()), float)
        at = random.integers(0, len(a), (rounds, len(a)))
        at_b = random.integers(0, len(b), (rounds, len(b)))
    if better == "less":
        a, b, at, at_b = b, a, at_b, at
    ratio = float(numpy.median(a) / numpy.median(b))
    ratios = numpy.median(a[at], axis=1) / numpy.median(b[at_b], axis=1)
    return (ratio, *spread(ratios, confidence))


def spread(values, confidence):
    """The middle part of values that holds so much of them."""
    rest = (1 - confidence) / 2 * 100
    return tuple(float(v) for v in numpy.percentile(values, [rest, 100 - rest]))
