"""What a model is made of, and how a view is brought to it: the same for every runtime. No torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from bagscan.core import View
from bagscan.core.errors import ModelError
from bagscan.formats.quantities import RGB

MIN_TRANSMISSION = 2e-3  # less is noise


@dataclass(frozen=True)
class InputConfig:
    """What a view must be, and how it is brought to the network.

    Attributes:
        quantity, channels: as in :class:`bagscan.core.View`.
        working_side_px: views are scaled so that sqrt(H * W) is this; 0 keeps them as they are.
        square: whether views are brought to a square of that side, whatever their own shape, as classifiers of whole
            images are trained.
        superpixel_side_px: side of a superpixel at working size, so that windows of any size are
            cut alike; 0 for the regioner's own number of superpixels a view.
        log_transmission: whether the network sees -ln of transmissions in place of them; colours and
            effective Z stay as they are.
        mean, std: per channel; pixels become (x - mean) / std.
    """

    quantity: str = "pseudo_colour"
    channels: tuple[str, ...] = ("red", "green", "blue")
    working_side_px: int = 400
    superpixel_side_px: float = 0.0
    log_transmission: bool = False
    mean: tuple[float, ...] = (0.8, 0.8, 0.8)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    square: bool = False

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == len(self.channels):
            raise ValueError(
                f"mean and std need one value for each of {len(self.channels)} channels"
            )
        if min(self.std, default=0) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        if min(self.working_side_px, self.superpixel_side_px) < 0:
            raise ValueError("working_side_px and superpixel_side_px must be 0 or more")
        if self.square and not self.working_side_px:
            raise ValueError("square needs working_side_px")

    @property
    def is_transmission(self) -> tuple[bool, ...]:
        """Of each channel."""
        return tuple(name not in ("zeff", *RGB) for name in self.channels)

    def superpixels(self, height: int, width: int) -> int | None:
        """How many superpixels a window at working size is cut into; None for the regioner's own number."""
        side = self.superpixel_side_px
        return max(4, round(height * width / side**2)) if side else None

    def select(self, view: View) -> View:
        """The channels that the model takes, of a view that may hold more: a model of high energy alone reads any raw scan.

        Raises:
            ModelError: as :meth:`check`.
        """
        if (
            view.quantity == "dual_energy"
            and view.channels != self.channels
            and set(self.channels) <= set(view.channels)
        ):
            index = [view.channels.index(name) for name in self.channels]
            quantity = "pseudo_colour" if self.channels == RGB else "dual_energy"
            view = dataclasses.replace(
                view,
                pixels=np.ascontiguousarray(view.pixels[index]),
                channels=self.channels,
                quantity=quantity,
            )
        self.check(view)
        return view

    def check(self, view: View) -> None:
        """Refuse a view of another kind than the model was trained on.

        Raises:
            ModelError: other channels or another quantity.
        """
        if (view.quantity, view.channels) != (self.quantity, self.channels):
            hint = (
                "; bagscan convert makes effective Z and pseudo-colour of low and high"
                if {"low", "high"} <= set(view.channels)
                else ""
            )
            raise ModelError(
                f"the model takes {self.quantity} of {', '.join(self.channels)}; the view is {view.quantity} of {', '.join(view.channels)}{hint}"
            )

    def working_size(self, shape: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int]:
        """(H, W) that a window of ``shape`` of a view of size ``whole`` has at working size."""
        side = self.working_side_px
        if not side:
            return shape
        even = side / (whole[0] * whole[1]) ** 0.5
        down, across = (side / whole[0], side / whole[1]) if self.square else (even, even)
        return max(8, round(shape[0] * down)), max(8, round(shape[1] * across))

    def working_view(self, view: View, whole: tuple[int, int] | None = None) -> View:
        """The view scaled to the working size.

        Args:
            whole: (H, W) of the view that this is a window of; scale follows from it.
        """
        size = self.working_size(view.shape, whole or view.shape)
        if size == view.shape:
            return view
        return dataclasses.replace(view, pixels=resize(view.pixels, *size), pixel_pitch_mm=None)


@dataclass(frozen=True)
class ModelConfig:
    """The three parts of a model, and its input.

    Attributes:
        input: what a view must be, see :class:`InputConfig`. regioner: cuts a view into regions, ``{name: ..., its own settings}``.
        encoder: describes a region, as above. scorer: gives it a score, as above.
    """

    input: InputConfig = field(default_factory=InputConfig)
    regioner: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    encoder: dict[str, Any] = field(default_factory=lambda: {"name": "pooled"})
    scorer: dict[str, Any] = field(default_factory=lambda: {"name": "softmax"})


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(C, H, W) float32 to another size, antialiased bilinear."""
    return np.stack(
        [
            np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            for plane in pixels
        ]
    )
