"""The talk of `segue chat`: a line is a question or a command, and an answer is written as it comes.

Laws: nothing that came is lost by Ctrl-C, by a refusal or by a lost connection: the last answer
stays as far as it came.  One Ctrl-C ends an answer or discards a line; the next at an empty prompt
leaves.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from segue.cli.conversation import Conversation, File, Turn, cut_at
from segue.cli.files import awaited, bars, uploaded
from segue.cli.filing import remote
from segue.cli.lines import Discarded, Left, Lines
from segue.cli.own import Address
from segue.cli.pictures import picture
from segue.cli.remote import Begun, Piece, Spent, models, streamed
from segue.cli.terminal import Stop, err, say, write

_PROMPT = "> "
_TWICE_S = 0.5  # a Ctrl-C that comes sooner than this after another is the same impatience
_SHOWN_CHARACTERS = 60


class Talk:
    """One talk.  `wishes` are parameters of every request, by their names in the API."""

    def __init__(self, there: Address, conversation: Conversation, lines: Lines, wishes: Mapping[str, object]) -> None:
        self.conversation = conversation
        self._there = there
        self._lines = lines
        self._wishes = wishes
        self._troubled = False
        self._stopped_at: float | None = None  # when the last Ctrl-C was, if nothing was typed since

    def run(self) -> bool:
        """Until the person leaves.  Whether everything was answered."""
        while True:
            try:
                line = self._lines.read(_PROMPT)
                self._stopped_at = None
                self._take(line)
            except Left:
                break
            except Discarded as discarded:
                if self._leaves(discarded):
                    break
            except Stop as stop:
                self._troubled = True
                say(f"error: {stop.message}")
            except KeyboardInterrupt:
                self._stopped_at = time.monotonic()
                say("(stopped)")
        return not self._troubled

    def attach(self, path: Path) -> None:
        """Upload a file, and wait until it has been read.  Raises Stop."""
        with remote(self._there.url, self._there.key) as server, bars() as shown:
            id = uploaded(server, path, "file-extract", shown)
            entry = awaited(server, id, path.name, shown)
        if entry.status == "error":
            raise Stop(f"{path.name} cannot be read: {entry.trouble}")
        self.conversation.files.append(File(id, path.name))
        self._tell(f"({path.name} can be asked about)")

    def _leaves(self, discarded: Discarded) -> bool:
        now, before = time.monotonic(), self._stopped_at
        if not discarded.empty:
            self._stopped_at = None
            return False
        if before is not None and now - before < _TWICE_S:
            return False
        if before is None:
            say("(Ctrl-C again, or Ctrl-D, leaves)")
            self._stopped_at = now
        return before is not None

    def _take(self, line: str) -> None:
        text = line.strip()
        if not text:
            return
        if not text.startswith("/"):
            self.conversation.ask(line)
            self._answer()
            return
        name, _, rest = text[1:].partition(" ")
        if name not in COMMANDS:
            raise Stop(f"there is no /{name}; /help tells what there is")
        COMMANDS[name][0](self, rest.strip())

    def _answer(self, shown: str = "") -> None:
        """The rest of the last answer.  `shown` of it is written first, for a person to see where it goes on."""
        turn = self._last()
        turn.reason = ""
        if shown and self._lines.interactive:
            write(shown, dim=True)
        said, thinking, spent, began = 0, False, 0, time.monotonic()
        about = ""
        try:
            with closing(streamed(self._there.url, self._there.key, self.conversation.body(**self._wishes))) as pieces:
                for piece in pieces:
                    match piece:
                        case Piece():
                            thinking = self._show(turn, piece, thinking)
                            said += len(piece.text)
                        case Spent():
                            spent = piece.completion_tokens
                        case Begun():
                            about = f", documents read as {piece.documents}" if piece.documents else ""
        except KeyboardInterrupt:
            self._stopped_at = time.monotonic()
            self._ended(turn, "stopped: /continue goes on, /retry begins anew")
        except Stop as stop:
            self._troubled = True
            self._ended(turn, "")
            say(f"error: {stop.message}")
            if self._lines.interactive:
                say("/retry asks again, /edit changes the question, /model another model")
        else:
            rate = spent / max(time.monotonic() - began, 0.001)
            more = "; cut at the limit: /continue goes on" if turn.reason == "length" else ""
            nothing = "" if said else "; there was nothing more to say"
            self._ended(turn, f"{spent} tokens, {rate:.0f} in a second{about}{more}{nothing}")

    def _show(self, turn: Turn, piece: Piece, thinking: bool) -> bool:
        """Keep and write a piece.  Whether it was one of the thought."""
        turn.thought += piece.thought
        turn.answer += piece.text
        turn.reason = piece.ended or turn.reason
        if piece.thought and self._lines.interactive:
            write(piece.thought, dim=True)
        if piece.text:
            if thinking and self._lines.interactive:
                write("\n\n")
            write(piece.text)
        return bool(piece.thought) or (thinking and not piece.text)

    def _ended(self, turn: Turn, told: str) -> None:
        if not turn.answer.endswith("\n"):
            write("\n")
        if told:
            self._tell(f"({told})")

    def _tell(self, sentence: str) -> None:
        if self._lines.interactive:
            err().print(sentence, style="dim", markup=False)

    def _last(self) -> Turn:
        last = self.conversation.last
        if last is None:
            raise Stop("nothing has been asked yet")
        return last

    def _continue(self, rest: str) -> None:
        turn = self._last()
        at = len(turn.answer.rpartition("\n")[0])
        tail = turn.answer[at:].lstrip("\n")
        self._answer("…" * (len(tail) > _SHOWN_CHARACTERS) + tail[-_SHOWN_CHARACTERS:])

    def _retry(self, where: str) -> None:
        turn = self._last()
        at = cut_at(turn.answer, where) if where else 0
        if at is None:
            raise Stop(f"{where!r} is not in the answer; give a number of characters, or words of it")
        turn.answer = turn.answer[:at]
        turn.thought = turn.thought if at else ""
        turn.tries += 1
        self._answer(turn.answer)

    def _edit(self, what: str) -> None:
        turn = self._last()
        if what == "answer":
            turn.answer = _edited(turn.answer)
            turn.reason = ""
            say("(changed; /continue goes on from there)")
            return
        if what:
            raise Stop("say /edit or /edit answer")
        several = "\n" in turn.question and self._lines.interactive
        try:
            text = _edited(turn.question).strip("\n") if several else self._lines.read(_PROMPT, turn.question)
        except Discarded:
            text = ""
        if not text.strip():
            say("(unchanged)")
            return
        turn.question, turn.answer, turn.thought, turn.tries = text, "", "", 0
        self._answer()

    def _system(self, text: str) -> None:
        if text:
            self.conversation.system = "" if text == "-" else text
        say(f"system: {self.conversation.system or '(none)'}")

    def _model(self, name: str) -> None:
        if name:
            self.conversation.model = name
        else:
            for known in models(self._there.url, self._there.key):
                write(f"{'*' if known == self.conversation.model else ' '} {known}\n")
        self._tell(f"(asking {self.conversation.model})")

    def _file(self, words: str) -> None:
        self.attach(_path(words))

    def _image(self, words: str) -> None:
        self.conversation.images.append(picture(_path(words)))
        self._tell("(goes with your next question)")

    def _save(self, words: str) -> None:
        path = _path(words)
        if path.suffix == ".json":
            data = msgspec.json.format(msgspec.json.encode(self.conversation.messages())) + b"\n"
        else:
            data = self.conversation.kept().encode("utf-8", "replace")
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            raise Stop(f"{path} is there already: name another file") from None
        except OSError as error:
            raise Stop(f"{path}: {error.strerror}; name another file") from error
        self._tell(f"(saved in {path})")

    def _new(self, rest: str) -> None:
        before = self.conversation
        self.conversation = Conversation(before.model, before.system, before.seed)
        self._tell("(a new conversation)")

    def _help(self, rest: str) -> None:
        for name, (_, how, what) in COMMANDS.items():
            write(f"  {f'/{name} {how}':<22} {what}\n")
        write('  """                    begins a question of several lines, and ends it\n')
        write("  Ctrl-C                 stops the answer; once more at the empty prompt leaves\n")

    def _leave(self, rest: str) -> None:
        raise Left


COMMANDS: dict[str, tuple[Callable[[Talk, str], None], str, str]] = {
    "continue": (Talk._continue, "", "go on with the last answer, exactly where it stopped"),
    "retry": (Talk._retry, "[POINT]", "answer anew: from the start, `40` characters on, `-40`, or behind these words"),
    "edit": (Talk._edit, "[answer]", "change your last question and ask it; or the answer, to go on from that"),
    "system": (Talk._system, "[TEXT]", "show or set the system message; - removes it"),
    "model": (Talk._model, "[NAME]", "list the models, or ask another one"),
    "file": (Talk._file, "PATH", "upload a document and talk about it"),
    "image": (Talk._image, "PATH", "show a picture with the next question"),
    "save": (Talk._save, "PATH", "write all of it to a file: Markdown, or messages where it ends in .json"),
    "new": (Talk._new, "", "begin a new conversation"),
    "help": (Talk._help, "", "this"),
    "exit": (Talk._leave, "", "leave; so does Ctrl-D"),
}


def _path(words: str) -> Path:
    """The file that is meant, be it quoted or not.  Raises Stop."""
    if not words:
        raise Stop("name a file")
    path = Path(words).expanduser()
    if not path.exists():
        with suppress(ValueError):
            path = Path(" ".join(shlex.split(words))).expanduser()
    return path


def _edited(text: str) -> str:
    """The text, once the person's editor is done with it.  Raises Stop."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Stop("name your editor in EDITOR, such as `export EDITOR=nano`")
    with tempfile.TemporaryDirectory(prefix="segue-") as folder:
        path = Path(folder) / "text.md"
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)
        except (OSError, ValueError) as error:
            raise Stop(f"{editor} cannot be started: {error}") from error
        if done.returncode:
            raise Stop(f"{editor} ended with status {done.returncode}; nothing was changed")
        return path.read_text(encoding="utf-8")
