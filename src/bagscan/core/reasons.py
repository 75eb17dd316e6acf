"""Why a bag is ``REVIEW``: a code for machines and a sentence for people."""

from __future__ import annotations

from enum import StrEnum

LONE_VIEW = "0"  # the only one of its scan, without a name of its own


class ReasonCode(StrEnum):
    """Kinds of reasons; new ones may be added, none changes its meaning."""

    UNREADABLE = "unreadable"  # a file is damaged, empty, too large or of no known type
    MISSING_VIEW = "missing_view"  # the scanner makes more views than came
    TOO_SMALL = "too_small"  # too few pixels in the file, or at the size that the model works at
    BLANK = "blank"  # no contrast at all
    OUT_OF_RANGE = "out_of_range"  # values that what the channel holds cannot have
    SATURATED = "saturated"  # too much at full scale, or at none
    INVERTED = "inverted"  # bright where it should be dark, or low and high energy swapped
    NO_AIR = "no_air"  # nothing is as bright as air: wrong depth or air value
    TOO_FEW_LEVELS = "too_few_levels"  # 8 bits in a 16-bit file
    NOT_A_BAG = "not_a_bag"  # a photograph, a drawing, noise, a picture without colours
    WRONG_CHANNELS = "wrong_channels"  # no model here takes these channels
    NOTHING_EXAMINED = "nothing_examined"  # the model looked at no region
    MODEL_FAILED = (
        "model_failed"  # the model or its runtime gave no scores, or none that are numbers
    )
    NOT_FINISHED = "not_finished"  # the process that judged it died or took too long
    UNKNOWN_SCANNER = "unknown_scanner"  # not one of the service's known scanners
    DRIFT = "drift"  # scores of late are not distributed as they were when the model was calibrated


def in_view(view_id: str, text: str) -> str:
    """A sentence about one view, which is named where a bag has several."""
    return text if view_id == LONE_VIEW else f"view {view_id}: {text}"


class Reason(str):
    """A sentence with its code.

    Args:
        code: see :class:`ReasonCode`. text: what a person reads.
    """

    __slots__ = ("code",)
    code: ReasonCode

    def __new__(cls, code: ReasonCode, text: str) -> Reason:
        made = super().__new__(cls, text)
        made.code = ReasonCode(code)
        return made

    def __getnewargs__(self) -> tuple[ReasonCode, str]:  # type: ignore[override]
        return self.code, str(self)
