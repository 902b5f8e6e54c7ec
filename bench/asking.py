"""Questions about a file, put to a served model with the openai client: what it says, and what it was shown."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import process

PARSE_WAIT_S, ANSWER_WAIT_S = 3600, 1800
ANSWER_TOKENS = 200
MODEL = "qwen-long"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer; `read` are the citations, of which each passage has its `text` and its `start` and `end` in bytes;
    `first_s` is how long it was waited for."""

    text: str
    read: list[dict[str, Any]]
    first_s: float


@contextmanager
def uploaded(file: Path | tuple[str, bytes], base: str, key: str) -> Iterator[Callable[[str], Said]]:
    """Upload it, wait until it is read, and ask about it; it is deleted at the end."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{base.rstrip('/')}/compatible-mode/v1", api_key=key, timeout=ANSWER_WAIT_S)
    made = client.files.create(file=file, purpose="file-extract")  # type: ignore[arg-type]
    try:
        deadline = time.monotonic() + PARSE_WAIT_S
        while (status := client.files.retrieve(made.id).status) != "processed":
            if status == "error" or time.monotonic() > deadline:
                raise SystemExit(f"the file was not read: {status}")
            time.sleep(1)
        yield lambda question: _asked(client, made.id, question)
    finally:
        client.files.delete(made.id)


def _asked(client: Any, file: str, question: str) -> Said:
    begun, first, text, read = time.monotonic(), 0.0, "", list[dict[str, Any]]()
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "system", "content": f"fileid://{file}"},
            {"role": "user", "content": question},
        ],
        max_tokens=ANSWER_TOKENS,
        temperature=0,
        stream=True,
        extra_body={"segue_citations": True},
    )
    for chunk in stream:
        read = (chunk.model_extra or {}).get("segue_citations") or read
        said = chunk.choices[0].delta.content if chunk.choices else ""
        if said and not first:
            first = time.monotonic() - begun
        text += said or ""
    return Said(text, read, first)


@contextmanager
def served(model: str, whole: int = 0) -> Iterator[tuple[str, str]]:
    """A server of our own, that gives the model texts of up to `whole` tokens as they are (0: all that fit): its
    address and its key."""
    port = process.free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "SEGUE_FILES_DIR": f"{folder}/files",
            "SEGUE_ENGINE_SNAPSHOTS_DIR": f"{folder}/snapshots",
            "SEGUE_ENGINE_STALL_S": "600",
            "SEGUE_DOCUMENTS_WHOLE_TOKENS_MAX": str(whole),
            "SEGUE_DOCUMENTS_STATEMENTS_S": "600",  # what is right is asked here, not how soon
        }
        with process.server(process.segue(port, model), port, "/readyz", env=env):
            yield f"http://127.0.0.1:{port}", process.KEY
