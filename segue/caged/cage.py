"""The cage a file is read in: after `enter` the process can compute, read Python's libraries, and write to pipes.

Readers of PDF and images are C++ and have had holes; a file that takes the process over must find nothing to take.
Walls, each independent of the others: limits on memory, processor time and open files; a user and network namespace
of its own, with no interface in it; Landlock, which leaves only library folders to be read and nothing to be written;
a filter of system calls without sockets, programs and other processes.  Where a kernel or container forbids a wall,
the others stand and its name is returned.  Must be called before there is a second thread.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from segue.core import frozen

FILES_MAX = 64
_THREADS_MAX = 64


@frozen
class Means:
    """What the process may take of memory (address space, not resident) and processor time; the `wide_` ones once
    `widen` was called."""

    memory_bytes_max: int
    cpu_s: int
    wide_memory_bytes_max: int
    wide_cpu_s: int


_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 4, 38, 22
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000


def enter(means: Means) -> list[str]:
    """Shut the door.  Returns the names of the walls that could not be put up.

    Memory and time start at the narrow limits; `widen` raises them to the wide ones, and nothing further.
    """
    _limit(means)
    if sys.platform != "linux":
        return ["namespaces", "landlock", "seccomp"]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_DUMPABLE, 0)
    walls = {"namespaces": _leave_namespaces, "landlock": _landlock, "seccomp": _filter_calls}
    no_new_privileges = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return [name for name, build in walls.items() if not (no_new_privileges and build(libc))]


def widen() -> None:
    """More memory and time, and threads."""
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))


def _limit(means: Means) -> None:
    _lower(resource.RLIMIT_CORE, 0, 0)
    _lower(resource.RLIMIT_FSIZE, 0, 0)
    _lower(resource.RLIMIT_NOFILE, FILES_MAX, FILES_MAX)
    _lower(resource.RLIMIT_CPU, means.cpu_s, max(means.cpu_s, means.wide_cpu_s))
    _lower(resource.RLIMIT_AS, means.memory_bytes_max, max(means.memory_bytes_max, means.wide_memory_bytes_max))


def _lower(kind: int, soft: int, hard: int) -> None:
    """A limit may be lower already; it never rises."""
    was = resource.getrlimit(kind)[1]
    if was != resource.RLIM_INFINITY:
        soft, hard = min(soft, was), min(hard, was)
    resource.setrlimit(kind, (soft, hard))


def _leave_namespaces(libc: ctypes.CDLL) -> bool:
    """Processes are counted by user and namespace: only in a namespace of its own is a limit on them ours alone."""
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) != 0:
        return False
    _lower(resource.RLIMIT_NPROC, 1, _THREADS_MAX)
    return True


# --- Landlock: Documentation/userspace-api/landlock.rst of the kernel ---------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# The last bit of file accesses that each version of the interface knows.
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_FS_BITS_NOW = 16
_NET_BITS, _NET_SINCE = 0b11, 4
_SCOPE_BITS, _SCOPE_SINCE = 0b11, 6


def _landlock(libc: ctypes.CDLL) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rules = struct.pack(
        "QQQ",
        (1 << _FS_BITS.get(version, _FS_BITS_NOW)) - 1,
        _NET_BITS if version >= _NET_SINCE else 0,
        _SCOPE_BITS if version >= _SCOPE_SINCE else 0,
    )
    size = 8 if version < _NET_SINCE else 16 if version < _SCOPE_SINCE else 24
    ruleset = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for place in _libraries():
            _allow(libc, ruleset, place)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, place: Path) -> None:
    """Let it be read.  What is not there needs no rule."""
    try:
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = _READ_FILE | (_READ_DIR if place.is_dir() else 0)
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, handle), 0)
    finally:
        os.close(handle)


def _libraries() -> Iterable[Path]:
    """Python's own folders, the installed packages, our package, and the system's shared libraries."""
    ours = Path(__file__).resolve().parents[1]
    python = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    packages = {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages", "lib-dynload"))}
    system = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/dev/urandom"}
    processors = {"/sys/devices/system/cpu", "/proc/cpuinfo"}  # how many threads are worth while
    return [ours, *map(Path, sorted(python | packages | system | processors))]


# --- system calls ---------------------------------------------------------------------------------------------------

# By architecture: its number in the audit interface, and what is refused: sockets, programs, looking into and ending
# other processes, and doors past the other walls (io_uring, mounts, namespaces, bpf, keys).
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        (41, 42, 43, 49, 50, 53, 59, 62, 101, 165, 248, 249, 250, 272, 298, 308, 310, 311, 321, 322, 323),
    ),
    "aarch64": (
        0xC00000B7,
        (40, 97, 117, 129, 198, 199, 200, 201, 202, 203, 217, 218, 219, 221, 241, 268, 270, 271, 280, 281, 282),
    ),
}
_NEWER_CALLS = (425, 434, 438)  # the same on every architecture
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refused calls answer EPERM
_OTHER_ABI = 0x40000000  # x32's numbers on x86_64


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def _filter_calls(libc: ctypes.CDLL) -> bool:
    known = _CALLS.get(platform.machine())
    if known is None:
        return False
    architecture, refused = known
    code = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    numbers = [(_JUMP_AT_LEAST, _OTHER_ABI), *((_JUMP_EQUAL, number) for number in refused + _NEWER_CALLS)]
    for place, (jump, number) in enumerate(numbers):
        code.append((jump, len(numbers) - place, 0, number))
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    packed = b"".join(struct.pack("HBBI", *line) for line in code)
    return bool(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(_Program(len(code), packed)), 0, 0) == 0)
