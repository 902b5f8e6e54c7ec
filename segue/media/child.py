"""The process that decodes: shut the cage, decode what is asked for, say it, end.

Started by `decoder.py` with all the pieces, one behind the other, as standard input and the pipe to the server as
standard output.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterable

from PIL import Image

from segue.caged import cage
from segue.media import words
from segue.media.limits import DecodeLimits
from segue.media.moving import moving
from segue.media.sizes import Fit, framed
from segue.media.still import formats, still, stills
from segue.media.unseeable import Unseeable


def main(arguments: list[str]) -> int:
    """The process's exit status."""
    asked = words.asked_from(arguments[0])
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not to be taken for our own word
    known = formats()
    say = io.FileIO(pipe, "w")
    _say(say, words.Caged(cage.enter(asked.limits.means)))
    try:
        for number, task in enumerate(asked.tasks):
            seconds, pictures = _decoded(task, asked.limits, known)
            for picture in pictures:
                _show(say, number, seconds, picture)
        _say(say, words.Done())
    except Unseeable as unseeable:
        _say(say, words.Failed(unseeable.why, unseeable.one, unseeable.other, _where(unseeable.__cause__ or unseeable)))
    except MemoryError as error:
        _say(say, words.Failed("pixels", 0, 0, _where(error)))
    except Exception as error:  # noqa: BLE001  whatever hostile bytes bring about in a library
        _say(say, words.Failed("broken", 0, 0, _where(error)))
    return 0


def _decoded(task: words.Task, limits: DecodeLimits, known: tuple[str, ...]) -> tuple[float, Iterable[Image.Image]]:
    fit = Fit(task.patch, task.low, task.high)
    match task.sort:
        case "image":
            return 0.0, [still(_read(task.lengths[0]), fit, limits, known)]
        case "frames":
            each, _ = framed(fit, task.total, len(task.lengths))
            pieces = [_read(length) for length in task.lengths]
            return 1 / task.fps, stills(pieces, each, limits, known)
        case "video":
            file = open(0, "rb", closefd=False)  # noqa: SIM115  it is the process's own, as long as that lives
            return moving(file, fit, task.total, task.fps, task.frames_max, limits)


def _where(error: BaseException) -> str:
    """The error's class and place; its words may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _read(length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := os.read(0, length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _show(pipe: io.FileIO, number: int, seconds: float, picture: Image.Image) -> None:
    _say(pipe, words.Picture(number, picture.width, picture.height, seconds))
    pixels = memoryview(picture.tobytes())
    for at in range(0, len(pixels), words.PIECE_BYTES):
        _say(pipe, words.Pixels(bytes(pixels[at : at + words.PIECE_BYTES])))


def _say(pipe: io.FileIO, word: words.Word) -> None:
    left = memoryview(words.pack(word))
    while left:
        left = left[pipe.write(left) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
