"""Lines from a person: edited, remembered and completed by readline; or from a pipe, as they come.

Laws: what was typed is kept in a file that its owner alone can read, and only where wanted; Ctrl-C
discards what was typed, and is told apart from Ctrl-C at an empty prompt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from segue.cli.terminal import plain

_KEPT_LINES = 1000
_QUOTES = '"""'


class Left(Exception):
    """The person, or the pipe, has said all: end of input."""


class Discarded(Exception):
    """Ctrl-C at the prompt.  `empty`: nothing had been typed."""

    def __init__(self, empty: bool) -> None:
        super().__init__()
        self.empty = empty


class Lines:
    """Where lines come from.  `interactive`: there is a person at both ends."""

    def __init__(self, history: Path | None, words: Sequence[str]) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._history = history
        if self.interactive:
            import readline  # here, for it takes hold of the terminal

            self._readline = readline
            self._set_up(words)

    def read(self, prompt: str, text: str = "") -> str:
        """The next line, without its end; between three quotes, several.  `text` stands there to be edited.
        Raises Left, Discarded."""
        if not self.interactive:
            return _quoted(_piped(), _piped)
        line = _quoted(self._line(prompt, text), lambda: self._line("  ", ""))
        if line.strip():
            self._readline.add_history(line)
        return line

    def close(self) -> None:
        """Remember the lines."""
        if not self.interactive or self._history is None:
            return
        with suppress(OSError):  # a history is a comfort: where it cannot be kept, nothing is lost that was asked for
            self._history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._history.touch(mode=0o600)
            self._history.chmod(0o600)
            self._readline.set_history_length(_KEPT_LINES)
            self._readline.write_history_file(self._history)

    def _line(self, prompt: str, text: str) -> str:
        readline = self._readline
        bold = prompt if plain() else f"\001\x1b[1m\002{prompt}\001\x1b[0m\002"
        readline.set_startup_hook(lambda: readline.insert_text(text))
        try:
            return input(bold)
        except EOFError:
            print()
            raise Left from None
        except KeyboardInterrupt:
            typed = readline.get_line_buffer()
            print()
            raise Discarded(not typed) from None
        finally:
            readline.set_startup_hook(None)

    def _set_up(self, words: Sequence[str]) -> None:
        readline = self._readline
        readline.set_auto_history(False)
        readline.set_completer_delims(" ")
        readline.set_completer(lambda text, place: _found(text, place, words, readline.get_line_buffer()))
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        if self._history is not None:
            with suppress(OSError):
                readline.read_history_file(self._history)


def _piped() -> str:
    line = sys.stdin.readline()
    if not line:
        raise Left
    return line.removesuffix("\n")


def _quoted(line: str, more: Callable[[], str]) -> str:
    """The line; where it begins with three quotes, all up to the next three, or to the end of input."""
    if not line.startswith(_QUOTES):
        return line
    lines = [line.removeprefix(_QUOTES)]
    with suppress(Left):
        while not lines[-1].endswith(_QUOTES):
            lines.append(more())
    lines[-1] = lines[-1].removesuffix(_QUOTES)
    return "\n".join(lines).strip("\n")


def _found(text: str, place: int, words: Sequence[str], line: str) -> str | None:
    """The `place`-th way to complete `text`: a command at the beginning of a line, else a path."""
    if line == text:
        found = [f"{word} " for word in words if word.startswith(text)]
    else:
        path = Path(os.path.expanduser(text or "."))
        folder, begun = (path, "") if not text or text.endswith("/") else (path.parent, path.name)
        try:
            names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
        except OSError:
            return None
        found = [text[: len(text) - len(begun)] + name for name in names if name.startswith(begun)]
    return found[place] if place < len(found) else None
