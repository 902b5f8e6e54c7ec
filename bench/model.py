"""Which model file a benchmark runs on, and prompts made for it.

A model is named as the catalogue names it, and its file is looked for where the settings say
(`SEGUE_MODELS_DIR` counts); or it is the path of a GGUF file, which then runs with the defaults
of an unknown model.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path

from segue.catalogue.read import read_catalogue
from segue.catalogue.shelf import Shelf
from segue.config_read import load
from segue.core.generation import Decoding, Prompt, Segment
from segue.engine.base import Engine
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.spec import LlamaSpec

DEFAULT = "qwen2.5-coder-1.5b-instruct"
SMALL = "smollm2-135m-instruct"
GREEDY = Decoding(temperature=0.0)

SUBJECTS = (
    "A lighthouse keeper", "The last train north", "Two rival bakers", "An old clockmaker", "Seven lost letters",
    "Rain over the harbour", "My grandfather's map", "Every winter evening", "Beyond the silent mill",
    "Children of the river", "Nobody in the village", "Under the stone bridge", "Captain Moreau's parrot",
    "Glass flowers", "Ten thousand lanterns", "Red boots",
)  # fmt: skip
"""What the stories are about: different first words, so that no two prompts share a beginning."""

_WORDS = (
    "river", "stone", "window", "garden", "winter", "letter", "engine", "market", "silver", "forest", "bridge",
    "captain", "morning", "paper", "music", "island", "mirror", "bread", "summer", "castle", "ocean", "doctor",
    "yellow", "ticket", "village", "thunder", "copper", "harvest", "blanket", "rocket",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file and how its model is usually sampled."""

    name: str
    path: Path
    decoding: Decoding


def model_file(wanted: str) -> ModelFile:
    """The file of a catalogue name or a path.  Ends the program when there is none."""
    settings = load()
    catalogue = read_catalogue(settings.models.catalogue)
    entry = catalogue.entries.get(wanted) or next(
        (entry for entry in catalogue.entries.values() if entry.file == Path(wanted).name), None
    )
    path = Shelf(settings.models.dir).path(entry) if entry and wanted == entry.name else Path(wanted)
    if not path.is_file():
        sys.exit(f"{wanted}: no such model file; fetch it with `segue models pull {wanted}`")
    return ModelFile(entry.name if entry else path.stem, path, entry.decoding if entry else Decoding())


def engine_for(model: ModelFile, slots: int, threads: int, context_tokens: int = 4096) -> LlamaEngine:
    """The embedded engine as the server configures it, but for the limits given here."""
    spec = LlamaSpec(model.name, model.path, context_tokens, decoding=model.decoding, slots=slots, threads=threads)
    return LlamaEngine(spec)


async def story_ids(engine: Engine, number: int) -> list[int]:
    """A turn of about 60 tokens that has just begun a long story; another one for every number."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    text = (
        f"{subject}: write a long story of that name. Begin with the place and the weather of day {number + 1}, "
        "then the people, what each of them wants, and why."
    )
    user = [Segment("<|im_start|>", True), Segment(f"user\n{text}"), Segment("<|im_end|>", True), Segment("\n")]
    # The opening keeps models from declining, and from being brief.
    opening = Segment(f"assistant\n# {subject}\n\n## Chapter 1 of 20\n\nOn the")
    return await engine.encode([*user, Segment("<|im_start|>", True), opening])


def words(count: int, seed: int) -> str:
    """About `count` tokens of text that no other seed begins with."""
    drawn = random.Random(seed)
    return " ".join(drawn.choice(_WORDS) for _ in range(count))


def prompt_of(
    ids: list[int],
    tokens: int,
    decoding: Decoding,
    workspace: str,
    logprobs: int | None = None,
    deterministic: bool = False,
) -> Prompt:
    """A prompt without a caller's prefix.  Two workspaces share no cache."""
    return Prompt(
        request_id="bench",
        model="bench",
        workspace=workspace,
        ids=ids,
        answer_at=len(ids),
        decoding=decoding,
        output_tokens_max=tokens,
        logprobs=logprobs,
        deterministic=deterministic,
    )
