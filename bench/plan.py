# SPDX-License-Identifier: GPL-2.0-only
"""Plans: plain text files that say what is compared. Their format:

[plan]      title, repetitions, seconds (of one measurement), quiet (cores that
            others may use during a sample; 0.25)
[place X]   where: kind = native, or vms with the lab's settings in capitals;
            count (of VMs), pin (spread, stack, none, or auto: spread where there
            is a core for each vCPU), tune (a shell command a line, run in each VM),
            servers (a command a line), server in (the VMs they run in; b),
            cores (with fewer the report marks its times), beside (a command
            of this machine's a line, from before the boot to the end), needs (a
            shell command that fails, and says why, where the machine can't do it)
[load X]    what: about, unit, better (more or less), value (a path into the
            command's JSON, or /regular expression/), vary NAME (values, each
            tried), vary NAME at PLACE (fewer of them there), keep (more paths to
            keep), places, ours (the side that the others are compared with, the
            first unless said; - where they are no competitors); then the
            commands of its sides:
            side NAME = command, side NAME at PLACE = command where it differs
            there, value NAME = where a side's figure stands differently
[words]     NAME = text that several commands have in common, there as {NAME}

A load's command may hold {seconds}, {whole seconds} and the names that it varies;
each may hold {build}, the build folder, which is not needed where a program of the
project's own is the first word; what belongs to a place may hold {run}, a folder that exists as long as it is up.
"""
import configparser
import fnmatch
import hashlib
import itertools
import re

SUFFIX = {"": 1, "K": 1 << 10, "M": 1 << 20}
PINS = ("", "spread", "stack", "none", "auto")


class Wrong(Exception):
    """A plan that can't be; str() is one line with the file, the section and what to do."""


class Place:
    """Where measurements run."""

    def __init__(self, name, section):
        self.name = name
        self.kind = section.pop("kind", "native")
        self.count = int(section.pop("count", 2))
        self.pin = section.pop("pin", "spread" if self.kind == "vms" else "")
        self.tune = section.pop("tune", "").strip().splitlines()
        self.servers = section.pop("servers", "").strip().splitlines()
        self.server_in = section.pop("server in", "b" if self.count > 1 else "a").split()
        self.cores = int(section.pop("cores", 0))
        self.beside = section.pop("beside", "").strip().splitlines()
        self.needs = section.pop("needs", "")
        self.about = section.pop("about", name)
        self.settings = {key: section.pop(key) for key in list(section) if key.isupper()}
        if self.kind not in ("native", "vms"):
            raise Wrong(f"kind = {self.kind}: expected native or vms")
        if self.kind == "native" and (self.settings or self.tune):
            raise Wrong("settings and tune are for VMs (kind = vms)")
        if self.pin not in PINS:
            raise Wrong(f"pin = {self.pin}: expected {', '.join(PINS[1:])}")
        if section:
            raise Wrong(f"'{next(iter(section))}' is unknown in a place")


class Load:
    """One kind of measurement, with its sides."""

    def __init__(self, name, section):
        self.name = name
        self.about = section.pop("about", name)
        self.unit = section.pop("unit", "")
        self.better = section.pop("better", "more")
        self.value = section.pop("value", "")
        self.keep = section.pop("keep", "").split()
        self.places = section.pop("places", "").split()
        self.ours = section.pop("ours", "")
        self.vary, self.fewer = {}, {}
        self.sides, self.at, self.values = {}, {}, {}
        for key in list(section):
            word, _, rest = key.partition(" ")
            if word == "vary" and " at " in rest:
                what, place = rest.split(" at ", 1)
                self.fewer[what.strip(), place.strip()] = section.pop(key).split()
            elif word == "vary" and rest:
                self.vary[rest] = section.pop(key).split()
            elif word == "side" and " at " in rest:
                side, place = rest.split(" at ", 1)
                self.at[side.strip(), place.strip()] = section.pop(key)
            elif word == "side" and rest:
                self.sides[rest] = section.pop(key)
            elif word == "value" and rest:
                self.values[rest] = section.pop(key)
        if section:
            raise Wrong(f"'{next(iter(section))}' is unknown in a load")
        if self.better not in ("more", "less"):
            raise Wrong(f"better = {self.better}: expected more or less")
        for (what, place), values in self.fewer.items():
            if not values or not set(values) <= set(self.vary.get(what, [])):
                raise Wrong(f"vary {what} at {place}: expected some of those of 'vary {what}'")
        names = list(dict.fromkeys(list(self.sides) + [side for side, _ in self.at]))
        for side in names:
            if not (self.values.get(side) or self.value):
                raise Wrong(f"side {side} has no value: where does its figure stand?")
        if len(names) < 1:
            raise Wrong("a load wants a side at least")
        self.names = names
        self.ours = self.ours or names[0]
        if self.ours not in names + ["-"]:
            raise Wrong(f"ours = {self.ours}: expected one of its sides, {' '.join(names)}, or -")

    def expand(self, words):
        """Puts the plan's words into the commands."""
        for commands in (self.sides, self.at):
            for key in commands:
                for name, text in words.items():
                    commands[key] = commands[key].replace("{" + name + "}", text)

    def command(self, side, place):
        """A side's command at a place, or None where it does not run."""
        if (side, place) in self.at:
            return self.at[side, place] if self.at[side, place] != "-" else None
        return self.sides.get(side)

    def points(self, place=None):
        """Each combination of what varies (at a place, if one is named), as a dictionary."""
        values = [self.fewer.get((what, place), values) for what, values in self.vary.items()]
        return [dict(zip(self.vary, point)) for point in itertools.product(*values)]


class Plan:
    """A plan file, checked."""

    def __init__(self, path, only="*"):
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",),
                                           comment_prefixes=("#",), strict=True)
        parser.optionxform = str
        try:
            with open(path, encoding="utf-8") as file:
                self.text = file.read()
            parser.read_string(self.text, path)
        except (OSError, configparser.Error) as error:
            raise Wrong(" ".join(str(error).split())) from None
        self.places, self.loads, self.words = {}, {}, {}
        self.title, self.repetitions, self.seconds, self.quiet = path, 3, 1.0, 0.25
        for name in parser.sections():
            word, _, rest = name.partition(" ")
            try:
                self.section(word, rest.strip(), dict(parser[name]))
            except (Wrong, ValueError) as error:
                raise Wrong(f"{path}: [{name}]: {error}") from None
        for load in self.loads.values():
            load.expand(self.words)
            for place in load.places + [place for _, place in [*load.at, *load.fewer]]:
                if place not in self.places:
                    raise Wrong(f"{path}: [load {load.name}]: there is no [place {place}]")
        self.loads = {name: load for name, load in self.loads.items()
                      if any(fnmatch.fnmatch(name, part) for part in only.split(","))}
        if not self.loads:
            raise Wrong(f"{path}: no load is called {only}")

    def section(self, word, name, section):
        """Takes one section of the file."""
        if word == "plan":
            self.title = section.pop("title", self.title)
            self.repetitions = int(section.pop("repetitions", self.repetitions))
            self.seconds = float(section.pop("seconds", self.seconds))
            self.quiet = float(section.pop("quiet", self.quiet))
            if section:
                raise Wrong(f"'{next(iter(section))}' is unknown in a plan")
            if self.repetitions < 1 or not self.seconds > 0:
                raise Wrong("repetitions and seconds want a number above 0")
        elif word == "words" and not name:
            self.words = section
        elif word in ("place", "load") and re.fullmatch(r"[a-zA-Z0-9_.-]+", name):
            kinds = {"place": (self.places, Place), "load": (self.loads, Load)}
            kinds[word][0][name] = kinds[word][1](name, section)
        else:
            raise Wrong("expected [plan], [place NAME] or [load NAME], or [words]")

    def digest(self):
        """Tells one plan from another."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def measurements(self, place):
        """All of a place, in the file's order: (load, point, [(side, command), ...])."""
        found = []
        for load in self.loads.values():
            if place not in load.places:
                continue
            sides = [(side, load.command(side, place)) for side in load.names]
            sides = [(side, command) for side, command in sides if command]
            found += [(load, point, sides) for point in load.points(place) if sides]
        return found


def number_of(text):
    """A plan's number: 64, 1K, 1M; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KM]?)", text)
    return float(match.group(1)) * SUFFIX[match.group(2)] if match else None


def key_of(load, point, side):
    """Names a measurement in results: a tuple."""
    return (load, tuple(sorted(point.items())), side)
