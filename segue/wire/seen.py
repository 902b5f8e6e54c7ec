"""How many tokens pictures and videos took, as both protocols tell it.

Law: where nothing was seen, nothing is said of it, so that usage of text is as it always was.
"""

from __future__ import annotations

from segue.core import frozen


@frozen
class Seen:
    """Tokens of the prompt that are places of pictures and of videos."""

    image: int = 0
    video: int = 0

    def __bool__(self) -> bool:
        return bool(self.image or self.video)

    def alone(self) -> dict[str, object]:
        """Each sort that there was."""
        said = (("image_tokens", self.image), ("video_tokens", self.video))
        return {name: tokens for name, tokens in said if tokens}

    def beside(self, prompt_tokens: int) -> dict[str, object]:
        """Each sort that there was, and the text."""
        return {**self.alone(), "text_tokens": prompt_tokens - self.image - self.video}


NOTHING = Seen()
