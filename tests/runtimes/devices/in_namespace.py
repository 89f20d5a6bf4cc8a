"""Brings the loopback interface of this network namespace up and becomes the command given as arguments."""

import fcntl
import os
import socket
import struct
import sys

SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x1 | 0x40

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_RUNNING))
os.execvp(sys.argv[1], sys.argv[1:])
