# SPDX-License-Identifier: GPL-2.0-only
"""What bench/targets and tools/demo share: a lab, and one measurement in it.

A measurement is one run of vmshm_perf or iperf3 from VM a to VM b and gives a
dictionary. What is measured how often, and what is said of it, is the caller's.
"""
import json
import os
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
LAB = os.path.join(TOP, "tools", "vmshm-lab")
PERF = os.path.join(BUILD, "bench", "vmshm_perf")
CID_B, ADDRESS_B = "4", "198.18.0.2"


class Failed(Exception):
    """A command that did not do what it should; str() is one clear line."""


def spread_cores(count, cores=None, folder="/sys/devices/system/cpu"):
    """The cores for so many vCPUs: one of each processor core, where there are enough of those.

    Two threads of one core (SMT) would share what is measured. Where there are too few
    of them, all that we may use.
    """
    cores = sorted(os.sched_getaffinity(0) if cores is None else cores)
    firsts, seen = [], set()
    for core in cores:
        try:
            with open(f"{folder}/cpu{core}/topology/thread_siblings_list", encoding="utf-8") as file:
                siblings = file.read().strip()
        except OSError:
            siblings = str(core)
        if siblings not in seen:
            firsts.append(core)
        seen.add(siblings)
    return firsts if len(firsts) >= count else cores


class Lab:
    """Two VMs, a and b. Use it with `with`, so that it always comes down."""

    def __init__(self, name, **settings):
        self.env = dict(os.environ, LAB=name, BUILD=BUILD, QUIET="1", **settings)
        self.servers = []
        self.up = False

    def pin(self, how, vcpus):
        """Pins the vCPUs. The lab spreads them over the cores that it may use itself."""
        cores = spread_cores(vcpus) if how == "spread" else os.sched_getaffinity(0)
        self.lab("pin", how, before=["taskset", "-c", ",".join(map(str, cores))])

    def lab(self, *words, timeout=60, say=True, before=()):
        """One vmshm-lab command; its output. before: words that run it."""
        try:
            done = subprocess.run([*before, LAB, *words], env=self.env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"vmshm-lab {' '.join(words)}: not done after {timeout} s") from None
        if done.returncode and say:
            raise Failed(f"vmshm-lab {' '.join(words)}: "
                         f"{(done.stderr or done.stdout).strip() or done.returncode}")
        return done.stdout

    def __enter__(self):
        self.lab("down", timeout=60)
        self.up = True
        try:
            self.lab("up", "2", timeout=600)
            # Unpinned, the scheduler often puts both on one core.
            self.pin("spread", 2 * int(self.env.get("CPUS") or 1))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.kill()
            server.wait()
        if self.up:
            self.lab("down", timeout=60, say=False)
        self.up = False

    def run(self, vm, *command, timeout=60):
        """A command in a VM; its output."""
        return self.lab("exec", "-n", vm, "--", *command, timeout=timeout)

    def start(self, vm, *command):
        """A command in a VM that runs in the background; its process."""
        return subprocess.Popen(
            [LAB, "exec", "-n", vm, "--", *command], env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def serve(self, *command):
        """A command in VM b that runs until the lab comes down."""
        self.servers.append(self.start("b", *command))

    @staticmethod
    def until_it_answers(probe):
        """Tries a short measurement until its server is there."""
        end = time.monotonic() + 15
        while True:
            try:
                probe()
                break
            except Failed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def serve_vmshm(self):
        """vmshm_perf's server."""
        self.serve(PERF, "-s")
        self.until_it_answers(lambda: self.vmshm("--rr", "-k", "1"))

    def serve_all(self):
        """The servers of all measurements."""
        self.serve(PERF, "-s", "--family", "tcp", "-p", "5202")
        self.serve("iperf3", "-s", "-p", "5203")
        self.serve_vmshm()
        self.until_it_answers(lambda: self.tcp("--rr", "-k", "1"))
        self.until_it_answers(lambda: self.iperf(64, 1))

    def perf(self, *arguments, timeout=90):
        """vmshm_perf in VM a; its JSON object."""
        return json.loads(self.run("a", PERF, "--json", *map(str, arguments), timeout=timeout))

    def vmshm(self, *arguments, timeout=90):
        """vmshm_perf over AF_VMSHM."""
        return self.perf("-c", CID_B, *arguments, timeout=timeout)

    def tcp(self, *arguments, timeout=90):
        """vmshm_perf over TCP on virtio-net."""
        return self.perf("-c", ADDRESS_B, "--family", "tcp", "-p", "5202", *arguments,
                         timeout=timeout)

    def iperf(self, length, seconds):
        """iperf3 over TCP on virtio-net, with its offloads; its JSON object."""
        report = json.loads(self.run("a", "iperf3", "-c", ADDRESS_B, "-p", "5203", "-J",
                                     "-l", str(length), "-t", str(seconds)))
        if "error" in report:
            raise Failed(f"iperf3: {report['error']}")
        return report

    def kicks(self):
        """How often virtio-net rang the host, both VMs together."""
        total = 0
        for vm in "ab":
            for line in self.run(vm, "ethtool", "-S", "eth0").splitlines():
                name, _, value = line.partition(":")
                if name.strip().endswith("kicks"):
                    total += int(value)
        return total


def vmshm_rate(report):
    """Bits a second of a throughput report of vmshm_perf."""
    return report["end"]["bits_per_second"]


def iperf_rate(report):
    """Bits a second that iperf3's receiver saw."""
    return report["end"]["sum_received"]["bits_per_second"]


def rate(bits):
    """Bits a second for people."""
    return f"{bits / 1e9:.2f} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.1f} Mbit/s"


def size(count):
    """A message size for people."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count // factor} {unit}"
    return f"{count} B"


def table(rows, right=()):
    """Rows of text as aligned lines; the first is the heading. right: columns to align there."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [cell.rjust(width) if i in right else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)
