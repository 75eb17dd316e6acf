"""Configuration of models and of their input, for every runtime. Does not import torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from bagscan.core import View
from bagscan.core.errors import ModelError
from bagscan.formats.quantities import RGB

MIN_TRANSMISSION = 2e-3  # smaller values are noise


@dataclass(frozen=True)
class InputConfig:
    """Required input of a model and its preprocessing.

    Attributes:
        quantity, channels: as in :class:`bagscan.core.View`.
        working_side_px: views are scaled so that sqrt(H * W) has this value; 0 keeps their size.
        square: True to resize views to a square of ``working_side_px``, as for classifiers of
            whole images.
        superpixel_side_px: side of a superpixel at working size, the same for windows of any size;
            0 for the regioner's default number of superpixels per view.
        log_transmission: True if the network receives -ln of transmission; colours and effective Z
            do not change.
        mean, std: values per channel; pixels become (x - mean) / std.
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
            raise ValueError(f"mean and std must have {len(self.channels)} values, as channels")
        if min(self.std, default=0) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        if min(self.working_side_px, self.superpixel_side_px) < 0:
            raise ValueError("working_side_px and superpixel_side_px must be 0 or more")
        if self.square and not self.working_side_px:
            raise ValueError("square requires working_side_px above 0")

    @property
    def is_transmission(self) -> tuple[bool, ...]:
        """True for each channel of transmission."""
        return tuple(name not in ("zeff", *RGB) for name in self.channels)

    def superpixels(self, height: int, width: int) -> int | None:
        """Return the number of superpixels for a window at working size.

        Returns:
            The number, at least 4, or None for the regioner's default.
        """
        side = self.superpixel_side_px
        return max(4, round(height * width / side**2)) if side else None

    def select(self, view: View) -> View:
        """Return the view with only the channels of the model.

        A model of a few channels can thus read any raw scan that contains them.

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
        """Require the channels and the quantity of the model.

        Raises:
            ModelError: the view has other channels or another quantity.
        """
        if (view.quantity, view.channels) != (self.quantity, self.channels):
            hint = ""
            if {"low", "high"} <= set(view.channels):
                hint = "; bagscan convert computes effective Z and pseudo-colour from low and high"
            raise ModelError(
                f"the view has {view.quantity} of {', '.join(view.channels)}; "
                f"the model needs {self.quantity} of {', '.join(self.channels)}{hint}"
            )

    def working_size(self, shape: tuple[int, int], whole: tuple[int, int]) -> tuple[int, int]:
        """Return the working size of a window of a view.

        Args:
            shape: (H, W) of the window in pixels.
            whole: (H, W) of the view in pixels.

        Returns:
            (H, W) in pixels, at least 8 each.
        """
        side = self.working_side_px
        if not side:
            return shape
        scale = side / (whole[0] * whole[1]) ** 0.5
        scale_y, scale_x = (side / whole[0], side / whole[1]) if self.square else (scale, scale)
        return max(8, round(shape[0] * scale_y)), max(8, round(shape[1] * scale_x))

    def working_view(self, view: View, whole: tuple[int, int] | None = None) -> View:
        """Scale a view to working size.

        Args:
            view: a view, or a window of it.
            whole: (H, W) of the view that ``view`` is a window of, which defines the scale.
        """
        size = self.working_size(view.shape, whole or view.shape)
        if size == view.shape:
            return view
        return dataclasses.replace(view, pixels=resize(view.pixels, *size), pixel_pitch_mm=None)


@dataclass(frozen=True)
class ModelConfig:
    """Configuration of a model: input, regioner, encoder and scorer.

    Attributes:
        input: required input, see :class:`InputConfig`.
        regioner: splits a view into regions; ``name`` and the settings of the regioner.
        encoder: describes a region; ``name`` and the settings of the encoder.
        scorer: scores a region; ``name`` and the settings of the scorer.
    """

    input: InputConfig = field(default_factory=InputConfig)
    regioner: dict[str, Any] = field(default_factory=lambda: {"name": "ssn"})
    encoder: dict[str, Any] = field(default_factory=lambda: {"name": "pooled"})
    scorer: dict[str, Any] = field(default_factory=lambda: {"name": "softmax"})


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (C, H, W) float32 to (C, height, width) by antialiased bilinear interpolation."""
    size, method = (width, height), Image.Resampling.BILINEAR
    planes = [np.asarray(Image.fromarray(plane).resize(size, method)) for plane in pixels]
    return np.stack(planes)
