"""What a process in the cage can still do, tried from inside: nothing but compute and speak."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import segue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

ROOT = str(Path(segue.__file__).parent.parent)
IMPORT = """
import sys, os
sys.path.append(sys.argv[1])
from segue.caged.cage import enter, widen
from segue.files.parsing.limits import ParseLimits
import socket, subprocess, tempfile, resource, ctypes, mmap, signal, threading
"""
ENTER = "\nopen_walls = enter(ParseLimits().means)\n"


def caged(code: str, *arguments: str, before: str = "") -> str:
    """What the code prints when it runs in the cage."""
    command = [sys.executable, "-I", "-B", "-c", IMPORT + before + ENTER + code, ROOT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or f"status {done.returncode}: {done.stderr[-300:]}"


def tried(action: str, *arguments: str, before: str = "") -> str:
    """The class of the error that an action ends in."""
    code = f"try:\n    {action}\n    print('done')\nexcept Exception as e:\n    print(type(e).__name__)"
    return caged(code, *arguments, before=before)


def walls() -> list[str]:
    return caged("print('walls', *open_walls)").split()[1:]


def test_every_wall_stands_or_is_named() -> None:
    assert set(walls()) <= {"namespaces", "landlock", "seccomp"}
    if platform.machine() in ("x86_64", "aarch64"):
        assert "seccomp" not in walls()


@pytest.mark.parametrize(
    "action",
    [
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socketpair()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.kill(1, signal.SIGKILL)",
    ],
)
def test_no_sockets_programs_or_signals(action: str) -> None:
    assert tried(action) == "PermissionError"


@pytest.mark.parametrize(
    "action",
    [
        "open(sys.argv[2] + '/new', 'w')",
        "open(sys.argv[2] + '/old', 'a')",
        "open(sys.argv[2] + '/old')",
        "os.listdir(sys.argv[2])",
        "os.unlink(sys.argv[2] + '/old')",
        "os.mkdir(sys.argv[2] + '/folder')",
        "os.truncate(sys.argv[2] + '/old', 0)",
        "os.symlink('/etc', sys.argv[2] + '/link')",
        "os.rename(sys.argv[2] + '/old', sys.argv[2] + '/older')",
        "open('/etc/passwd')",
        "open('/proc/1/environ')",
        "open('/dev/null', 'w')",
        "tempfile.TemporaryFile()",
    ],
)
def test_no_files_but_libraries(action: str, tmp_path: Path) -> None:
    if "landlock" in walls():
        pytest.skip("this kernel has no Landlock")
    (tmp_path / "old").write_text("kept")
    assert tried(action, str(tmp_path)) in ("PermissionError", "FileNotFoundError")
    assert (tmp_path / "old").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_nothing_is_written_even_through_an_open_file(tmp_path: Path) -> None:
    """Without Landlock too: the limit on file sizes is no byte."""
    target = tmp_path / "file"
    code = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    with target.open("wb") as opened:
        command = [sys.executable, "-I", "-c", f"{IMPORT}{ENTER}{code}os.write(1, b'text')", ROOT]
        assert (
            subprocess.run(command, stdout=opened, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 1
        )
    assert target.read_bytes() == b""


def test_libraries_can_still_be_imported() -> None:
    assert tried("import decimal, sqlite3; assert 'é'.encode('cp1250')") == "done"


def test_no_more_memory_than_allowed() -> None:
    assert tried("mmap.mmap(-1, 1 << 31)") == "OSError"
    assert tried("widen(); mmap.mmap(-1, 1 << 31)") == "done"
    assert tried("widen(); mmap.mmap(-1, 3 << 30)") == "OSError"


def test_no_limit_can_be_raised() -> None:
    for limit in ("AS", "CPU", "FSIZE", "NOFILE", "CORE"):
        action = f"resource.setrlimit(resource.RLIMIT_{limit}, (1 << 40, 1 << 40))"
        assert tried(action) in ("ValueError", "PermissionError"), limit


def test_no_threads_before_images() -> None:
    """The kernel counts nothing for the superuser, so the process is made an ordinary user's first."""
    if "namespaces" in walls():
        pytest.skip("no namespace of its own, in which processes could be counted")
    ordinary = "import sysconfig; sysconfig.get_paths(); os.getuid() or os.setuid(65534)"
    start = "threading.Thread(target=int).start()"
    assert tried(start, before=ordinary) == "RuntimeError"
    assert tried(f"widen(); {start}", before=ordinary) == "done"


def test_the_test_itself_can_do_all_this(tmp_path: Path) -> None:
    """Lest a cage around the tests make them pass."""
    (tmp_path / "new").write_text("x")
    assert os.listdir(tmp_path) == ["new"]
    assert subprocess.run(["/bin/true"], check=False).returncode == 0
    threading.Thread(target=int).start()
