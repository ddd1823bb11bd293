# SPDX-License-Identifier: GPL-2.0-only
"""Results: a file of JSON lines (stats.py says what they mean).

The first line tells machine and plan; each further line is one event: the boot
of a place, or a sample. Lines are only appended, so that a run that ends in the
middle loses one measurement at the most.
"""
import json
import os


class Broken(Exception):
    """A file that holds no results; str() says why."""


def read(path):
    """(head, boots, samples) of a file; a torn last line is left out."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise Broken(f"{path}: {error.strerror}") from None
    events = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            if number != len(lines):	# the last one has no end of line: torn
                raise Broken(f"{path}:{number}: this is not JSON") from None
    if not events or events[0].get("kind") != "head":
        raise Broken(f"{path}: no results of bench/run")
    return (events[0], [event for event in events if event["kind"] == "boot"],
            [event for event in events if event["kind"] == "sample"])


class Writer:
    """Appends events; begins after the last whole line."""

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.file.seek(0, os.SEEK_END)
        end = self.file.tell()
        self.file.seek(0)
        whole = self.file.read().rfind(b"\n") + 1
        if whole < end:
            self.file.truncate(whole)

    def add(self, event):
        """One line, on the disk when this returns."""
        self.file.seek(0, os.SEEK_END)
        self.file.write(json.dumps(event).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
