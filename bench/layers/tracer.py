# SPDX-License-Identifier: GPL-2.0-only
"""Where a message's time goes, by the guests' own function_graph tracer.

The way for hardware, where no emulator counts: it runs under any accelerator, but
its times mean something only where the processor's do. The tracer writes down when
each function of the kernel begins and ends; the load says in between where a
message's window ends (trace_marker). A function's time is its own, without the
functions that it called, without sleep. What it costs to look is in it: part of
each call's cost falls on the caller. overhead() says how much.

Not here: what is sent (load.c), functions into layers (run).
"""
import os
import re
import statistics
import time

from measure import ADDRESS_B, BUILD, CID_B, Failed, Lab

LOAD = os.path.join(BUILD, "bench", "layers", "layers_load")
PEERS = {"tcp": ADDRESS_B, "vmshm": CID_B, "vsock": CID_B}
MARKERS = {1: "send", 2: "receive", 3: "base"}
LINE = re.compile(r"\s*\d+\)\s+(?P<task>.+)-(?P<pid>\d+)\s*\|\s*(?:[!+#*@$]\s*)?"
                  r"(?:(?P<us>[0-9.]+) us)?\s*\|\s*(?P<text>.*)")
BEGIN = re.compile(r"([\w.$]+)(?: \[\w+\])?\(\)( \{|;)")
MARK = re.compile(r"/\* layers (\d+) \*/")


class Windows:
    """function_graph's text, cut where the load says: kind -> list of {function: (ns, calls)}."""

    def __init__(self):
        self.windows = {kind: [] for kind in MARKERS.values()}
        self.window, self.stacks, self.lost = {}, {}, 0

    def line(self, text):
        """One line of the trace."""
        match = LINE.match(text)
        if not match:
            self.lost += "LOST" in text
            return
        stack = self.stacks.setdefault(match["pid"], [])
        us, text = match["us"], match["text"]
        if mark := MARK.match(text):
            # What writes the mark is no message's; what is open when it comes, neither.
            del stack[:]
            kind = MARKERS.get(int(mark.group(1)))
            if kind:
                self.windows[kind].append(self.window)
            self.window = {}
        elif begin := BEGIN.match(text):
            if begin.group(2) == ";":
                if us:
                    self.ended(stack, begin.group(1), float(us), 0.0)
            else:
                stack.append([begin.group(1), 0.0, {}])
        elif text.startswith("}") and stack and us:
            name, children, found = stack.pop()
            self.ended(stack, name, float(us), children, found)

    def ended(self, stack, name, us, children, found=None):
        """A function has returned: its own time goes to the one that is open, or the window."""
        found = found if found is not None else {}
        own, calls = found.get(name, (0.0, 0))
        found[name] = (own + max(0.0, us - children) * 1000, calls + 1)
        into = stack[-1][2] if stack else self.window
        if stack:
            stack[-1][1] += us
        for function, (ns, number) in found.items():
            own, calls = into.get(function, (0.0, 0))
            into[function] = (own + ns, calls + number)


class Traced(Lab):
    """A lab whose VMs trace themselves."""

    def __init__(self, kernel, net):
        super().__init__("layers-trace", KERNEL=kernel, NET=net, CPUS="1", CMDLINE="nokaslr")

    def prepare(self):
        """The tracer's settings, in both VMs."""
        for vm in "ab":
            self.run(vm, "sh", "-ec", """cd /sys/kernel/tracing
                echo 0 >tracing_on; echo 65536 >buffer_size_kb; echo nop >current_tracer
                echo 1 >options/funcgraph-proc; echo 0 >options/sleep-time""")

    def switch(self, on):
        """Chooses the tracer, with an empty buffer, or none. The load switches it on and off."""
        for vm in "ab":
            self.run(vm, "sh", "-ec", "cd /sys/kernel/tracing; echo 0 >tracing_on; " + (
                "echo function_graph >current_tracer; echo >trace" if on
                else "echo nop >current_tracer"), timeout=180)

    def traces(self):
        """{vm: its windows}."""
        found = {}
        for vm in "ab":
            self.run(vm, "sh", "-ec", f"cat /sys/kernel/tracing/trace >/lab/{vm}.trace", timeout=180)
            windows = Windows()
            path = os.path.join(BUILD, "lab", self.env["LAB"], "share", f"{vm}.trace")
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    windows.line(line)
            os.unlink(path)
            if windows.lost:
                raise Failed(f"VM {vm}: the trace has lost events; fewer messages (--count)")
            found[vm] = windows.windows
        return found

    def messages(self, family, length, count):
        """Sends them; each VM's windows."""
        self.switch(True)
        self.serve(LOAD, "--serve", "--trace", "--family", family)
        end = time.monotonic() + 30
        while True:
            try:
                self.run("a", LOAD, "--client", PEERS[family], "--trace", "--family", family,
                         "--len", str(length), "--count", str(count), timeout=180)
                break
            except Failed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)
        self.servers.pop().wait(timeout=60)
        found = self.traces()
        self.switch(False)
        return found

    def overhead(self):
        """What tracing costs: send() and recv() of 64 B within one VM, with it and without."""
        def ticks(*words):
            runs = [dict(map(str.split, self.run(
                "a", LOAD, "--loop", "--len", "64", "--count", "300", *words).splitlines()))
                for _ in range(3)]
            return {name: statistics.median(int(run[name]) for run in runs)
                    for name in ("send_ticks", "receive_ticks")}
        without = ticks()
        self.switch(True)
        traced = ticks("--trace")
        self.switch(False)
        return {"without": without, "with": traced,
                "times": {name: traced[name] / without[name] for name in without}}
