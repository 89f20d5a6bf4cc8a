"""Matrix tiles (AMX), which servers have and edge devices lack: kept from every library of a process, or not.

A process must ask the kernel for them once, by `arch_prctl(ARCH_REQ_XCOMP_PERM)`. ONNX Runtime, oneDNN and XNNPACK do
so, and fall back to VNNI when the answer is no.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

CALL, ASK, TILES = 158, 0x1023, 18  # arch_prctl of x86-64, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # prctl
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: a word of the call, jump if equal, give a verdict
NUMBER, ARGUMENT = 0, 16  # where a call's number and its first argument lie
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("then", ctypes.c_uint8),
        ("otherwise", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def present() -> bool:
    """Whether this CPU has tiles for bytes."""
    try:
        return "amx_int8" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False


def deny() -> None:
    """Keep tiles from this process and its children for good; nothing where there are none.

    To be called before a library asks. Raises `OSError` where the kernel takes no filter.
    """
    if not present():
        return
    steps = (
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 3, CALL),
        (LOAD, 0, 0, ARGUMENT),
        (EQUAL, 0, 1, ASK),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
    program = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    rules = _Filter(len(program), program)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, ctypes.byref(rules)):
        number = ctypes.get_errno()
        raise OSError(number, f"AMX cannot be denied: {os.strerror(number)}")


def state() -> str:
    """`not present`, `denied` or `allowed`, as a library of this process finds it when it asks."""
    if not present():
        return "not present"
    return "denied" if ctypes.CDLL(None).syscall(CALL, ASK, TILES) else "allowed"
