"""Ground truth annotations. Predictions have a type of their own, ``Finding``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bagscan.core.checks import require
from bagscan.core.run_lengths import RunLengths


def check_box(box: tuple[float, float, float, float]) -> None:
    """Require a finite half-open xyxy box with positive area.

    Raises:
        ValueError: the box is not finite, or is empty.
    """
    require(
        len(box) == 4 and bool(np.isfinite(box).all()),
        f"box_xyxy must be 4 finite numbers, got {box}",
    )
    require(
        box[2] > box[0] and box[3] > box[1], f"box_xyxy must have x1 < x2 and y1 < y2, got {box}"
    )


@dataclass(frozen=True)
class Annotation:
    """Annotated object in one view.

    Attributes:
        label: class name, for example ``"knife"``.
        box_xyxy: half-open box in pixels, float; pixel (0, 0) covers [0, 1) x [0, 1).
        mask: mask of the size of the view, as run lengths; None if only the box is known.
        view_id: name of the view.
        id: unique id, or None.
        parent_id: id of the annotation that this annotation is a part of, or None.
    """

    label: str
    box_xyxy: tuple[float, float, float, float]
    mask: RunLengths | None = None
    view_id: str = "0"
    id: str | None = None
    parent_id: str | None = None

    @classmethod
    def of_mask(cls, label: str, mask: np.ndarray) -> Annotation:
        """Create an annotation from a non-empty (H, W) bool mask and its bounding box."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
        return cls(label, box, RunLengths.of(mask))

    def __post_init__(self) -> None:
        require(bool(self.label), "an annotation needs a label")
        check_box(self.box_xyxy)

    def region(self, height: int, width: int) -> np.ndarray:
        """Return the mask, or the pixels whose centre lies in the box, as (H, W) bool.

        Raises:
            ValueError: the mask has another size than (height, width).
        """
        if self.mask is not None:
            require(
                self.mask.shape == (height, width),
                f"mask has shape {self.mask.shape}, expected {(height, width)} as its view",
            )
            return self.mask.pixels()
        x1, y1, x2, y2 = self.box_xyxy
        rows, cols = np.arange(height) + 0.5, np.arange(width) + 0.5
        return np.asarray(((rows >= y1) & (rows < y2))[:, None] & ((cols >= x1) & (cols < x2)))
