"""What reading one file may cost.  Every number is a border that hostile files have been measured against."""

from __future__ import annotations

import dataclasses

import msgspec

from segue.caged.cage import Means

MIB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class ParseLimits:
    """`pages_max` is the last number that is still accepted.  The `ocr_` limits bear on pages that are images."""

    pages_max: int = 15_000
    text_bytes_max: int = 256 * MIB  # of the text found, in UTF-8
    parts_max: int = 200_000
    label_chars_max: int = 200
    unpacked_bytes_max: int = 1024 * MIB  # of all members of a zip file that were read, together
    members_max: int = 20_000
    memory_bytes_max: int = 1536 * MIB  # address space, not resident
    memory_ocr_bytes_max: int = 2560 * MIB
    cpu_s: int = 600
    wall_s: float = 900.0
    image_bytes_max: int = 20_000_000
    image_pixels_max: int = 100_000_000
    ocr_pages_max: int = 1_000  # 0: characters are not recognised
    ocr_cpu_s: int = 4_000
    ocr_wall_s: float = 4_500.0
    ocr_page_pixels: int = 2_200_000  # what a page is drawn at: about 150 dots an inch of A4

    @property
    def means(self) -> Means:
        """What the reading process may take; the wide ones for the recognition of characters."""
        return Means(self.memory_bytes_max, self.cpu_s, self.memory_ocr_bytes_max, self.ocr_cpu_s)


def limits_to(limits: ParseLimits) -> str:
    """As one argument of a command line."""
    return msgspec.json.encode(limits).decode()


def limits_from(argument: str) -> ParseLimits:
    """The reverse of `limits_to`."""
    return msgspec.json.decode(argument, type=ParseLimits)
