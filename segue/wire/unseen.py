"""The sentences about pictures and videos that cannot be shown to a model.

Why: the service has two layers that look at them and word the same cause differently: one that inspects, whose code and
sentences the native protocol shows, and the model's own, whose sentences the compatible one does.  Laws: the service's
own literals, spelling mistakes included; no address is ever repeated, and one that may not be fetched is worded like
one that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from segue.core.errors import MediumRefused, Unfit

ENDPOINT = "url error, please check url！"
_SIZE = "The image length and width do not meet the model restrictions."
_VIDEO = "The video modality input does not meet the requirements because:"

_INSPECTED: Mapping[Unfit, str] = {
    "lost": "Unable to download the media resource during the data inspection process.",
    "slow": "Download the media resource timed out during the data inspection process.",
    "barred": "Don't have authorization to access the media resource during the data inspection process.",
    "format": "The media format is not supported or incorrect for the data inspection.",
    "broken": "Failed to decode the image during the data inspection.",
    "pixels": "The image size is not supported for the data inspection.",
}


def inspected(fault: MediumRefused) -> str:
    """What the layer that inspects says of it, empty where it says nothing."""
    return _INSPECTED.get(fault.why, "")


def said(fault: MediumRefused) -> str:
    """What the model's layer says of it."""
    match fault.why:
        case "address":
            return "The provided URL does not appear to be valid. Ensure it is correctly formatted."
        case "lost" | "barred":
            return "Failed to download multimodal content"
        case "slow":
            return "Download multimodal file timed out"
        case "large":
            return "Multimodal file size is too large"
        case "long_uri":
            return f"Exceeded limit on max bytes per data-uri item : {_number(fault.other)}"
        case "many":  # choice: the service says it of data URIs alone
            return f"Exceeded limit on max data-uri per request: {_number(fault.other)}"
        case "format":
            return "The file format is illegal and cannot be opened."
        case "broken" | "pixels":
            return _INSPECTED[fault.why]
        case "small":
            return f"{_SIZE} [height:{_number(fault.one)} or width:{_number(fault.other)} must be larger than 10]"
        case "narrow":
            return f"{_SIZE} [absolute aspect ratio must be smaller than {_number(fault.other)}, got {fault.one}]"
        case "frames":
            low, high = _number(fault.one), _number(fault.other)
            return f"{_VIDEO} the range of sequence images shoule be ({low}, {high})."
        case "long":
            return f"{_VIDEO} The video file is too long."
        case "video":
            return "Invalid video file."
        case _:
            assert_never(fault.why)


def _number(value: float) -> str:
    return str(int(value))
