# SPDX-License-Identifier: GPL-2.0-only
"""Where measurements run: this machine itself, or VMs of a lab; and what is recorded of it.

Not here: what is measured (plan.py) and in which order (run).
"""
import contextlib
import glob
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time

from measure import BUILD, TOP, Failed, Lab, spread_cores

HZ = os.sysconf("SC_CLK_TCK")
CPUS = "/sys/devices/system/cpu"
# What figures depend on; not what only plans or reports.
CODE = {"module": ("Kbuild", "af_vmshm/*.[ch]", "include/*/*.h", "include/*/*/*.h"),
        "bench": ("bench/*.[ch]", "bench/run", "bench/measure.py", "bench/places.py", "bench/mechanisms/*.[ch]",
                  "tools/vmshm-lab", "tools/lab/*.sh", "tools/lab/*.[ch]", "tools/vmshmd/*.[ch]",
                  "tools/build.mk")}


def output_of(*command):
    """What a command prints, or nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def text_of(path):
    """A file's text, or nothing."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def digest_of(patterns):
    """Tells one state of these files from another, committed or not."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in glob.glob(os.path.join(TOP, pattern))):
        with open(path, "rb") as file:
            digest.update(os.path.relpath(path, TOP).encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()[:16]


def huge_pages():
    """What there is of them."""
    found = {"transparent": text_of("/sys/kernel/mm/transparent_hugepage/enabled")}
    for folder in sorted(glob.glob("/sys/kernel/mm/hugepages/*")):
        found[os.path.basename(folder)] = {name: text_of(os.path.join(folder, name))
                                           for name in ("nr_hugepages", "free_hugepages")}
    return found


def machine():
    """What a result depends on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "virtual": output_of("systemd-detect-virt"),
        "kernel": platform.release(),
        "qemu": output_of("qemu-system-x86_64", "--version").splitlines()[:1],
        "dpdk": output_of("pkg-config", "--modversion", "libdpdk"),
        "compiler": output_of("gcc", "--version").splitlines()[:1],
        "kvm": os.path.exists("/dev/kvm") and bool(re.search(
            r"\b(vmx|svm)\b", open("/proc/cpuinfo", encoding="utf-8").read())),
        "vhost": sorted(glob.glob("/dev/vhost*")),
        "caches": output_of("lscpu", "-C=NAME,ALL-SIZE").splitlines(),
        "mitigations": {os.path.basename(path): text_of(path)
                        for path in sorted(glob.glob(f"{CPUS}/vulnerabilities/*"))},
        "governor": sorted(set(map(text_of, glob.glob(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor")))),
        "smt": {name: text_of(f"{CPUS}/smt/{name}") for name in ("active", "control")},
        "huge_pages": huge_pages(),
        "commit": output_of("git", "-C", TOP, "describe", "--always", "--dirty"),
        "code": {part: digest_of(patterns) for part, patterns in CODE.items()},
    }


def busy_ticks():
    """Clock ticks that this machine's processes have used, and those that were stolen.

    Interrupts are left out: those of the measured packets are nobody's process time.
    """
    with open("/proc/stat", encoding="utf-8") as file:
        fields = list(map(int, file.readline().split()[1:]))
    # user nice system idle iowait irq softirq steal
    return sum(fields[:3]), fields[7]


def process_ticks(pids):
    """Clock ticks that these processes have used: all threads, and what they forked.

    Of the forked those that run are looked at, and those that ended are in their
    parent's account. A kernel thread is a process, too.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        # utime stime cutime cstime
        total += sum(map(int, fields[11:15])) + process_ticks(children(pid))
    return total


def children(pid, proc="/proc"):
    """The processes that a process has forked."""
    found = []
    for path in glob.glob(f"{proc}/{pid}/task/*/children"):
        try:
            with open(path, encoding="utf-8") as file:
                found += map(int, file.read().split())
        except OSError:		# it has ended
            continue
    return found


def vhost_workers(pid, proc="/proc"):
    """The kernel's threads that move a QEMU's packets: ([its own threads], [others]).

    Named vhost-OWNER. From Linux 6.4 on they are threads of QEMU and so in its time;
    before they are kernel threads, beside all processes.
    """
    def name(path):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    own = {int(path.split("/")[-2]): name(path) for path in glob.glob(f"{proc}/{pid}/task/*/comm")}
    names = {f"vhost-{thread}" for thread in own}
    # A thread that is no process of its own does not stand there.
    beside = [int(path.split("/")[-2]) for path in glob.glob(f"{proc}/[0-9]*/comm")
              if name(path) in names]
    return ([thread for thread, text in own.items() if re.fullmatch(r"vhost-\d+", text)],
            [thread for thread in beside if thread not in own])


def children_ticks():
    """Clock ticks of our own process and of all children that were waited for."""
    times = os.times()
    return (times.user + times.system + times.children_user + times.children_system) * HZ


class Load:
    """What ran meanwhile: cores busy with what is measured, with other things, stolen."""

    def __init__(self, pids=()):
        self.pids = list(pids)
        self.time = time.monotonic()
        self.busy, self.steal = busy_ticks()
        self.ours = process_ticks(self.pids) + children_ticks()
        self.own = process_ticks(self.pids)

    def end(self):
        """The result, in cores; measured_seconds is processor time of the processes."""
        seconds = max(time.monotonic() - self.time, 1e-3)
        busy, steal = busy_ticks()
        ours = process_ticks(self.pids) + children_ticks() - self.ours
        return {"seconds": round(seconds, 3),
                "measured_seconds": round((process_ticks(self.pids) - self.own) / HZ, 3),
                "others_cores": round(max(0, busy - self.busy - ours) / HZ / seconds, 3),
                "stolen_cores": round((steal - self.steal) / HZ / seconds, 3),
                "load_average": os.getloadavg()[0]}


@contextlib.contextmanager
def background():
    """A dictionary that holds the load once the block has ended."""
    result = {"load_average_before": os.getloadavg()[0]}
    load = Load()
    yield result
    result.update(load.end())


def program_path(words):
    """The command with the path of the project's own program, where it is one."""
    words = [word.replace("{build}", BUILD) for word in words]
    for folder in ("bench", "bench/mechanisms", "bench/layers"):
        path = os.path.join(BUILD, folder, words[0])
        if "/" not in words[0] and os.path.exists(path):
            return [path] + words[1:]
    return words


class Native:
    """This machine itself."""

    def __init__(self, place):
        self.place = place
        self.servers = []

    def __enter__(self):
        for words in map(shlex.split, self.place.servers):
            self.servers.append(subprocess.Popen(
                program_path(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.kill()
            server.wait()

    def pids(self):
        """Processes whose time is that of what is measured, but for the command itself."""
        return [server.pid for server in self.servers]

    def about(self):
        """What is recorded of it."""
        return {"servers": self.place.servers}

    def run(self, words, timeout):
        """A command; its output."""
        words = program_path(words)
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"{words[0]}: not done after {timeout:.0f} s") from None
        except OSError as error:
            raise Failed(f"{words[0]}: {error.strerror}") from None
        if done.returncode:
            raise Failed(f"{os.path.basename(words[0])}: "
                         f"{(done.stderr or done.stdout).strip() or done.returncode}")
        return done.stdout


class Machines(Lab):
    """VMs of a lab, freshly booted."""

    def __init__(self, place):
        self.place = place
        self.beside = []
        self.folder = tempfile.mkdtemp(prefix="vmshm-bench-")
        super().__init__(f"bench-{place.name}", **{
            key: value.replace("{run}", self.folder) for key, value in place.settings.items()})

    def start_beside(self):
        """What has to run before the VMs, a switch for instance."""
        for command in self.place.beside:
            with open(os.path.join(self.folder, "beside.log"), "ab") as log:
                self.beside.append(subprocess.Popen(
                    shlex.split(command.replace("{run}", self.folder)), stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL))
        if self.beside:
            time.sleep(2)
        for process in self.beside:
            if process.poll() is not None:
                with open(os.path.join(self.folder, "beside.log"), encoding="utf-8") as log:
                    raise Failed(f"{self.place.name}: {process.args[0]} has ended: "
                                 f"{log.read().strip()[-300:]}")

    def __exit__(self, *_):
        super().__exit__()
        for process in self.beside:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.beside = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        self.lab("down", timeout=60)
        self.up = True
        try:
            self.start_beside()
            self.lab("up", str(self.place.count), timeout=600)
            if self.pinned():
                self.pin(self.pinned(), self.vcpus())
            for vm in "abcdefgh"[:self.place.count]:
                for command in self.place.tune:
                    super().run(vm, "sh", "-c", command)
            for command in self.place.servers:
                for vm in self.place.server_in:
                    self.serve_in(vm, *program_path(shlex.split(command)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def vcpus(self):
        """Of all VMs together."""
        return self.place.count * int(self.place.settings.get("CPUS", 1))

    def pinned(self):
        """How the vCPUs are pinned: pin = auto spreads them where each has a core."""
        if self.place.pin != "auto":
            return self.place.pin
        return "spread" if self.vcpus() <= len(os.sched_getaffinity(0)) else "none"

    def serve_in(self, vm, *command):
        """A command in a VM that runs until the lab comes down."""
        self.servers.append(subprocess.Popen(
            [os.path.join(TOP, "tools", "vmshm-lab"), "exec", "-n", vm, "--", *command],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL))

    def pids(self):
        """The QEMUs with their vhost workers, and the switch or relay between them if it is a process."""
        found = [process.pid for process in self.beside]
        for path in glob.glob(os.path.join(BUILD, "lab", self.env["LAB"], "*", "pid")):
            with open(path, encoding="utf-8") as file:
                qemu = int(file.read())
            found += [qemu] + vhost_workers(qemu)[1]
        for path in glob.glob(os.path.join(BUILD, "lab", self.env["LAB"], "net.pid")):
            with open(path, encoding="utf-8") as file:
                found.append(int(file.read()))
        return found

    def about(self):
        """What is recorded of it: command lines, accelerator, tuning."""
        commands = {}
        for path in sorted(glob.glob(os.path.join(BUILD, "lab", self.env["LAB"], "*", "command"))):
            with open(path, encoding="utf-8") as file:
                commands[os.path.basename(os.path.dirname(path))] = file.read().strip()
        return {"status": self.lab("status").splitlines(), "commands": commands,
                "settings": self.place.settings, "tune": self.place.tune,
                "servers": self.place.servers, "pin": self.pinned(),
                "cores": spread_cores(self.vcpus()) if self.pinned() == "spread" else [],
                "beside": self.place.beside}

    def run(self, words, timeout):  # pylint: disable=arguments-differ
        """A command in VM a; its output."""
        return super().run("a", *program_path(words), timeout=timeout)


def place_of(place):
    """The thing that a plan's place describes; use it with `with`."""
    return Native(place) if place.kind == "native" else Machines(place)
