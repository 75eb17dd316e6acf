"""Reasons of a ``REVIEW``: a code for machines and a sentence for people."""

from __future__ import annotations

from enum import StrEnum

LONE_VIEW = "0"  # name of the only view of a scan


class ReasonCode(StrEnum):
    """Code of a reason. New codes may be added; the meaning of a code never changes."""

    UNREADABLE = "unreadable"  # a file is damaged, empty, too large or of an unknown type
    MISSING_VIEW = "missing_view"  # fewer views than the scanner makes
    TOO_SMALL = "too_small"  # too few pixels in the file or at the model's working size
    BLANK = "blank"  # no contrast
    OUT_OF_RANGE = "out_of_range"  # values that are impossible for the channel
    SATURATED = "saturated"  # too many pixels at full scale or at zero
    INVERTED = "inverted"  # inverted polarity, or low and high energy swapped
    NO_AIR = "no_air"  # nothing is as bright as air: wrong depth or air value
    TOO_FEW_LEVELS = "too_few_levels"  # 8 bits in a 16-bit file
    NOT_A_BAG = "not_a_bag"  # a photograph, a drawing, noise or a grey picture
    WRONG_CHANNELS = "wrong_channels"  # the model cannot use these channels
    NOTHING_EXAMINED = "nothing_examined"  # the model examined no region
    MODEL_FAILED = "model_failed"  # the model or its runtime failed, or scores are not finite
    NOT_FINISHED = "not_finished"  # the screening process died or exceeded its time limit
    UNKNOWN_SCANNER = "unknown_scanner"  # the scanner is not registered in the service
    DRIFT = "drift"  # recent scores differ in distribution from those of the calibration


def in_view(view_id: str, text: str) -> str:
    """Prefix a sentence with its view, unless it is the only view of the scan."""
    return text if view_id == LONE_VIEW else f"view {view_id}: {text}"


class Reason(str):
    """Sentence with a reason code.

    Args:
        code: see :class:`ReasonCode`.
        text: the sentence.
    """

    __slots__ = ("code",)
    code: ReasonCode

    def __new__(cls, code: ReasonCode, text: str) -> Reason:
        reason = super().__new__(cls, text)
        reason.code = ReasonCode(code)
        return reason

    def __getnewargs__(self) -> tuple[ReasonCode, str]:  # type: ignore[override]
        return self.code, str(self)
