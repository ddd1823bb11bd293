#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# vmshm-proxy without a VM: two of them, one as the host and one as the VM "a",
# lead connections to each other, from TCP and UNIX sockets to a server here.
# VMSHMD and PROXY name the programs. Speaks TAP.

import atexit, hashlib, os, resource, signal, socket, struct, subprocess, sys, tempfile, threading, time

LIMIT = 20
tests = failed = 0
VMSHMD, PROXY = os.environ["VMSHMD"], os.environ["PROXY"]


def ok(passed, name):
    global tests, failed
    tests += 1
    failed += not passed
    print(f"{'' if passed else 'not '}ok {tests} - {name}", flush=True)


def soon(condition, limit=LIMIT):
    until = time.monotonic() + limit
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def recv_all(s):
    data = bytearray()
    while piece := s.recv(1 << 16):
        data += piece
    return bytes(data)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def is_reset(s):
    try:
        s.settimeout(LIMIT)
        while s.recv(1 << 16):
            pass
        return False
    except ConnectionResetError:
        return True


class Server:
    """What each connection does is said in its first line."""

    def __init__(self):
        self.seen = []
        self.go, self.free = threading.Event(), threading.Event()
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        word = b""
        try:
            while not word.endswith(b"\n"):
                c = s.recv(1)
                if not c:
                    break
                word += c
            getattr(self, "do_" + word.decode().strip())(s)
        except OSError as e:
            self.seen.append((word, type(e).__name__))
        s.close()

    def do_echo(self, s):
        while data := s.recv(1 << 16):
            s.sendall(data)

    def do_sum(self, s):
        s.sendall(hashlib.sha256(recv_all(s)).hexdigest().encode())

    def do_first(self, s):
        s.sendall(b"before")
        s.shutdown(socket.SHUT_WR)
        self.seen.append((b"first", recv_all(s)))

    def do_hold(self, s):
        self.go.wait(LIMIT)
        self.do_sum(s)

    def do_stuck(self, s):
        self.free.wait()

    def do_reset(self, s):
        reset(s)

    def do_wait(self, s):
        self.seen.append((b"wait", recv_all(s)))


server = Server()
work = tempfile.mkdtemp(prefix="vmshm-proxy.", dir="/tmp")
run = work + "/run"
down, up, refused, narrow, nobody, few, noisy = (free_port() for _ in range(7))
unix = work + "/unix.sock"
with open(work + "/conf", "w") as f:
    f.write(
        f'runtime_dir = "{run}";\n'
        'members = ( { name = "a"; cid = 3; }, { name = "b"; cid = 4; },\n'
        '            { name = "host"; cid = 2; host = true; } );\n'
        'segments = ( { name = "s"; members = [ "a", "host" ]; size = "256M"; },\n'
        '             { name = "t"; members = [ "b", "host" ]; size = "64M"; } );\n'
    )
logs = {}


def start(name, *args):
    logs[name] = f"{work}/{name}.log"
    with open(logs[name], "a") as log:
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    # With SIGTERM: a vmshmd that is killed leaves its worker behind.
    atexit.register(p.terminate)
    return p


def said(name, text):
    with open(logs[name]) as f:
        return f.read().count(text)


def start_vm():
    before = said("vm", "ready, CID 3") if "vm" in logs else 0
    p = start("vm", PROXY, "-v", "--any-member", "-m", run + "/s/a.sock",
              "-l", "vmshm:80", "-c", f"tcp:127.0.0.1:{server.port}",
              "-l", "vmshm:81", "-c", f"tcp:127.0.0.1:{nobody}",
              "-l", f"tcp:127.0.0.1:{up}", "-c", "vmshm:2:90")
    soon(lambda: said("vm", "ready, CID 3") > before)
    return p


def start_host():
    p = start("host", PROXY, "-v", "-m", run + "/s/host.sock", "-n", "400",
              "-l", f"tcp:127.0.0.1:{down}", "-c", "vmshm:3:80",
              "-l", "unix:" + unix, "-c", "vmshm:3:80",
              "-l", f"tcp:127.0.0.1:{refused}", "-c", "vmshm:3:82",
              "-l", f"tcp:127.0.0.1:{narrow}", "-c", "vmshm:3:81",
              "-l", "vmshm:90", "-c", f"tcp:127.0.0.1:{server.port}")
    soon(lambda: said("host", "ready, CID 2"))
    return p


def connect(port, word):
    if isinstance(port, str):
        s = socket.socket(socket.AF_UNIX)
        s.connect(port)
    else:
        s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(LIMIT)
    s.sendall(word + b"\n")
    return s


def echo_of(port, data):
    s = connect(port, b"echo")

    def send():
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=send)
    t.start()
    back = recv_all(s)
    t.join()
    s.close()
    return back


def both_ways():
    data = os.urandom(24 << 20)
    for port, name in (down, "TCP to the VM"), (unix, "UNIX to the VM"), (up, "the VM to TCP"):
        ok(echo_of(port, data) == data, f"{name}: 24 MiB there and back, unchanged")


def half_closes():
    for port, name in (down, "to the VM"), (up, "from the VM"):
        s = connect(port, b"sum")
        s.sendall(b"x" * 100000)
        s.shutdown(socket.SHUT_WR)
        ok(recv_all(s).decode() == hashlib.sha256(b"x" * 100000).hexdigest(),
           f"{name}: the answer comes after the end of the request")
        s.close()
        server.seen.clear()
        s = connect(port, b"first")
        got = recv_all(s)
        s.sendall(b"after")
        s.close()
        ok(got == b"before" and soon(lambda: (b"first", b"after") in server.seen),
           f"{name}: the request goes on after the end of the answer")


def resets():
    for port, name in (down, "to the VM"), (up, "from the VM"):
        ok(is_reset(connect(port, b"reset")), f"{name}: the server's reset arrives")
        server.seen.clear()
        s = connect(port, b"wait")
        time.sleep(0.2)
        reset(s)
        ok(soon(lambda: (b"wait\n", "ConnectionResetError") in server.seen),
           f"{name}: the client's reset arrives")
    for port, name in (refused, "nobody listens in the VM"), (narrow, "nobody listens behind the VM"):
        try:
            r = is_reset(connect(port, b"echo"))
        except (ConnectionResetError, BrokenPipeError):
            r = True
        ok(r, f"{name}: a reset")


def rss(p):
    with open(f"/proc/{p.pid}/status") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def slow_reader(host, vm):
    server.go.clear()
    before = rss(host) + rss(vm)
    s = connect(down, b"hold")
    s.settimeout(1)
    data = os.urandom(1 << 16)
    total, want = 0, hashlib.sha256()
    try:
        while total < 1 << 28:
            n = s.send(data)
            want.update(data[:n])
            total += n
    except TimeoutError:
        pass
    grown = rss(host) + rss(vm) - before
    ok(total < 1 << 26 and grown < 4096,
       "a reader that is slow holds up its writer, and no bytes pile up in between")
    print(f"# {total >> 20} MiB were taken, {grown} KiB of memory")
    # Others are not held up.
    ok(echo_of(down, data) == data, "and nobody else")
    server.go.set()
    s.settimeout(LIMIT)
    s.shutdown(socket.SHUT_WR)
    ok(recv_all(s).decode() == want.hexdigest(), "in the end it gets every byte")
    s.close()


def many():
    socks = [connect((down, unix, up)[i % 3], b"echo") for i in range(300)]
    good = True
    for i, s in enumerate(socks):
        s.sendall(b"%d" % i)
    for i, s in enumerate(socks):
        s.shutdown(socket.SHUT_WR)
        good &= recv_all(s) == b"%d" % i
        s.close()
    ok(good, "300 connections at the same time")
    good = all(echo_of(down, b"again") == b"again" for _ in range(500))
    ok(good, "500 one after the other")


def limit():
    socks = [connect(down, b"echo") for _ in range(400)]
    for s in socks:
        s.sendall(b"x")
    good = all(s.recv(1) == b"x" for s in socks)
    late = connect(down, b"echo")
    late.sendall(b"y")
    late.settimeout(0.5)
    try:
        late.recv(1)
        good = False
    except TimeoutError:
        pass
    for s in socks:
        s.close()
    late.settimeout(LIMIT)
    ok(good and late.recv(1) == b"y", "one more than --max-connections waits for its turn")
    late.close()


def deaths(host, vm):
    s = connect(down, b"echo")
    s.sendall(b"x")
    s.recv(1)
    vm.kill()
    vm.wait()
    began = time.monotonic()
    ok(is_reset(s) and time.monotonic() - began < 2, "the VM dies: a reset, at once")
    try:
        r = is_reset(connect(down, b"echo"))
    except (ConnectionResetError, BrokenPipeError):
        r = True
    ok(r, "nobody is there: a reset")
    vm = start_vm()
    ok(soon(lambda: said("host", "cid 3: up") >= 2) and echo_of(down, b"x") == b"x",
       "it comes back: so do connections")
    return vm


def start_few():
    """Two more, for three connections at a time."""
    vm = start("vm-few", PROXY, "-v", "--any-member", "-m", run + "/t/b.sock",
               "-l", "vmshm:80", "-c", f"tcp:127.0.0.1:{server.port}")
    host = start("host-few", PROXY, "-m", run + "/t/host.sock", "-n", "3",
                 "-l", f"tcp:127.0.0.1:{few}", "-c", "vmshm:4:80",
                 "-l", f"tcp:127.0.0.1:{noisy}", "-c", "vmshm:4:81")
    soon(lambda: said("host-few", "cid 4: up") and said("vm-few", "cid 2: up"))
    return host, vm


def noise(n):
    """Connections that come to nothing."""
    for _ in range(n):
        try:
            is_reset(connect(noisy, b"echo"))
        except (ConnectionResetError, BrokenPipeError):
            pass


def noise_is_bounded():
    noise(100)
    line = f"tcp:127.0.0.1:{noisy} to vmshm:4:81: Connection reset by peer"
    ok(soon(lambda: said("host-few", line) == 20),
       "100 connections that come to nothing are 20 lines")
    return time.monotonic()


def noise_is_counted(began):
    time.sleep(max(0, began + 10.5 - time.monotonic()))
    noise(1)
    ok(soon(lambda: said("host-few", ": 80 more lines were held back") == 1),
       "and one that counts the others, later")


def fill(port, patience):
    """A connection to a server that does not read, and all that goes into it."""
    s = connect(port, b"stuck")
    s.settimeout(patience)
    try:
        while s.send(bytes(1 << 16)):
            pass
    except TimeoutError:
        pass
    return s


def resets_while_nothing_moves():
    for half_closed, name in (False, "that fills the path to a server that does not read"), (
            True, "that has ended its stream and waits"):
        before = said("vm-few", " bytes to the VM, ")
        socks = [connect(few, b"stuck") if half_closed else fill(few, 0.5) for _ in range(3)]
        if half_closed:
            for s in socks:
                s.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
        for s in socks:
            reset(s)
        try:
            good = echo_of(few, b"x") == b"x"
        except OSError:
            good = False
        ok(good, f"the reset of a client {name} makes room for others")
        ok(soon(lambda: said("vm-few", " bytes to the VM, ") == before + 4),
           "and what it had in the VM ends")
    server.free.set()


def mistakes():
    m = ["-m", run + "/s/host.sock"]
    tcp, to = "tcp:127.0.0.1:1", "vmshm:3:80"
    for args, text in (
        ([], "--member is missing"),
        (m, "nothing to do"),
        (m + ["-l", tcp], f"--listen {tcp} has no --connect"),
        (m + ["-c", to], f"--connect {to} has no --listen"),
        (m + ["-l", "tcp:127.0.0.1", "-c", to], "expected tcp:HOST:PORT"),
        (m + ["-l", "tcp:127.0.0.1:65536", "-c", to], "expected tcp:HOST:PORT"),
        (m + ["-l", "tcp:no.such.host.invalid:1", "-c", to], "no.such.host.invalid"),
        (m + ["-l", "unix:x", "-c", to], "an absolute path"),
        (m + ["-l", "unix:/" + "x" * 108, "-c", to], "too long"),
        (m + ["-l", "vmshm:1:2", "-c", tcp], "expected vmshm:PORT"),
        (m + ["-l", tcp, "-c", "vmshm:3"], "expected vmshm:CID:PORT"),
        (m + ["-l", tcp, "-c", "vmshm:70000:1"], "expected vmshm:CID:PORT"),
        (m + ["-l", tcp, "-c", "unix:/x"], "expected vmshm: on one side"),
        (m + ["-l", "vmshm:1", "-c", to], "expected vmshm: on one side"),
        (m + ["-l", "http:x", "-c", to], "expected tcp:HOST:PORT, unix:/PATH or vmshm:PORT"),
        (m + ["-n", "0", "-l", tcp, "-c", to], "expected a number from 1 to"),
        (m + ["-t", "1x", "-l", tcp, "-c", to], "expected a number from 1 to"),
        (m + ["x"], "'x' is no option"),
    ):
        p = subprocess.run([PROXY] + args, capture_output=True, text=True, timeout=LIMIT)
        ok(p.returncode == 2 and text in p.stderr.splitlines()[0], f"a mistake: {text}")
    for args, text in (
        (["-m", work + "/none", "-l", tcp, "-c", to], "is vmshmd running"),
        (m + ["-l", tcp, "-c", to], "another process is this member"),
        (["-m", run + "/s/a.sock", "-l", tcp, "-c", to], "another process is this member"),
    ):
        p = subprocess.run([PROXY] + args, capture_output=True, text=True, timeout=LIMIT)
        ok(p.returncode == 1 and text in p.stderr and len(p.stderr.splitlines()) == 1,
           f"the host refuses: {text}")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    print("TAP version 13")
    daemon = start("vmshmd", VMSHMD, "--config", work + "/conf")
    soon(lambda: said("vmshmd", "vmshmd: ready"))
    host, vm = start_host(), start_vm()
    if not soon(lambda: said("host", "cid 3: up") and said("vm", "cid 2: up")):
        print("Bail out! the proxies do not find each other; see " + work)
        return 1
    few_ones = start_few()
    began = noise_is_bounded()
    both_ways()
    half_closes()
    resets()
    slow_reader(host, vm)
    many()
    limit()
    mistakes()
    resets_while_nothing_moves()
    noise_is_counted(began)
    for p in few_ones:
        p.terminate()
    ok(all(p.wait(LIMIT) == 0 for p in few_ones), "those two end with 0")
    vm = deaths(host, vm)

    vm.send_signal(signal.SIGTERM)
    ok(vm.wait(LIMIT) == 0, "SIGTERM: it ends with 0")
    p = subprocess.run([PROXY, "-m", run + "/s/a.sock", "-l", "tcp:127.0.0.1:1", "-c", "vmshm:3:80"],
                       capture_output=True, text=True, timeout=LIMIT)
    ok(p.returncode == 1 and "this is the socket of a VM, CID 3" in p.stderr, "a VM's socket is refused")
    vm = start_vm()
    s = connect(down, b"echo")
    s.sendall(b"x")
    s.recv(1)
    daemon.terminate()
    daemon.wait(LIMIT)
    ok(soon(lambda: said("host", "has let go of this member: no new connections, 1 go on")),
       "the daemon ends: that is told")
    s.sendall(b"y")
    ok(s.recv(1) == b"y" and host.poll() is None, "what is connected goes on")
    s.close()
    ok(host.wait(LIMIT) == 1 and not os.path.exists(unix), "with the last one it ends, with 1")
    vm.terminate()
    ok(vm.wait(LIMIT) in (0, 1), "the other one, too")
    ok(not any(said(name, "Sanitizer") or said(name, "runtime error") for name in logs),
       "no check found anything")
    print(f"1..{tests}")
    if failed:
        print(f"# logs: {work}")
    else:
        subprocess.run(["rm", "-rf", work], check=False)
    return failed > 0


sys.exit(main())
