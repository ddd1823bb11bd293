#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""An ivshmem server that is not vmshmd: wrong_server.py KIND FOLDER VECTORS.

It takes the place of vmshmd's sockets FOLDER/a.sock and FOLDER/b.sock, for VM a
with CID 3 and VM b with CID 4, and gives both a segment of its own. KIND: zeroed
(nothing is in it), major (its ABI is one of the future) or minor (the ABI is
compatible and older). Ends on SIGTERM and takes its sockets away.
"""
import os
import selectors
import signal
import socket
import struct
import sys

SIZE = 16 << 20
MAGIC, MAJOR = 0x4745534d48534d56, 1
MEMBERS, CHANNELS, SIDES, HALVES = 0x1000, 0x2000, 0x3000, 0x100000
SIDE, HALF, LINE = 0x18000, 0x700000, 128
# A member's ID is the CID of its peer.
VMS = (("a", 3, 4), ("b", 4, 3))


def fill(memfd, version, vectors):
    """What vmshm/layout.h says: header, members, the one channel."""
    header = struct.pack("<QIIQQ16sIIQQ32s", MAGIC, version, 0, SIZE, 0, os.urandom(16), 2, 1,
                         MEMBERS, CHANNELS, b"a-b")
    os.pwrite(memfd, header, 0)
    for i, (name, cid, ident) in enumerate(VMS):
        member = struct.pack("<IIIIQ32s", cid, ident, vectors, 0, 1, name.encode())
        os.pwrite(memfd, member, MEMBERS + i * LINE)
    channel = struct.pack("<II5Q", 0, 1, SIDES, SIDES + SIDE, HALVES, HALVES + HALF, HALF)
    os.pwrite(memfd, channel, CHANNELS)


def main():
    """Serves until it is ended."""
    kind, folder, vectors = sys.argv[1], sys.argv[2], int(sys.argv[3])
    memfd = os.memfd_create("wrong", os.MFD_CLOEXEC)
    os.ftruncate(memfd, SIZE)
    if kind != "zeroed":
        fill(memfd, {"major": (MAJOR + 1) << 16, "minor": MAJOR << 16}[kind], vectors)
    bells = {ident: [os.eventfd(0) for _ in range(vectors)] for _, _, ident in VMS}
    os.makedirs(folder, exist_ok=True)  # vmshmd takes its own away
    os.chdir(folder)  # the whole path may be too long for a socket
    paths = {f"{name}.sock": ident for name, _, ident in VMS}
    select = selectors.DefaultSelector()
    clients = []
    for path, ident in paths.items():
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        select.register(listener, selectors.EVENT_READ, ident)

    def end(*_):
        for path in paths:
            os.unlink(path)
        os.rmdir(folder)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        for key, _ in select.select():
            client, _ = key.fileobj.accept()
            clients.append(client)
            own = key.data

            def say(number, fd=None, client=client):
                socket.send_fds(client, [struct.pack("<q", number)], [] if fd is None else [fd])

            say(0)
            say(own)
            say(-1, memfd)
            for ident in sorted(bells, key=lambda ident: ident == own):
                for bell in bells[ident]:
                    say(ident, bell)


main()
