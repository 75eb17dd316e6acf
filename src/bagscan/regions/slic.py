"""SLIC superpixels (Achanta et al. 2012) by scikit-image, on the same colour features as SSN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.segmentation import slic

from bagscan.contracts import Regioner
from bagscan.core import Regions, View
from bagscan.regions.pixel_features import COLOUR_SCALE, colour_features

CARD = {
    "paper": "Achanta et al., SLIC, PAMI 2012",
    "channels": "any",
    "weights": "none",
    "limits": "colour and position only",
}


@dataclass(frozen=True)
class Config:
    """SLIC settings.

    Attributes:
        n_superpixels: approximate number of superpixels.
        compactness: weight of position against colour, in Lab units.
        iterations: number of k-means iterations.
    """

    n_superpixels: int = 100
    compactness: float = 10.0
    iterations: int = 10


class Slic(Regioner):
    """Regioner of SLIC superpixels, without learned parameters."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Split a view into connected superpixels."""
        features = colour_features(view.pixels[None], view.quantity, view.channels)[0]
        colour = features.transpose(1, 2, 0) / COLOUR_SCALE
        # scikit-image rescales the image to [0, 1], so compactness is rescaled by the same factor.
        spread = max(float(np.ptp(colour)), 1e-6)
        labels = slic(
            colour,
            n_superpixels or self.config.n_superpixels,
            compactness=self.config.compactness / spread,
            max_num_iter=self.config.iterations,
            convert2lab=False,
            channel_axis=-1,
            start_label=0,
        )
        # The labels of scikit-image can have gaps.
        compact = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        return Regions.from_labels(compact, self.kind)


def build(config: Config) -> Slic:
    return Slic(config)


def tiny() -> Config:
    return Config(n_superpixels=16)
