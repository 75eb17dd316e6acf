"""Base classes of regioners, encoders and scorers.

A regioner splits a view into regions, an encoder describes regions, and a scorer rates
descriptions. Subclass these classes to add your own; :mod:`bagscan.testing` checks them. ``config``
is always a frozen dataclass that is stored with the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bagscan.association import Grid
from bagscan.core import Regions, View

SoftOrHard = tuple[Tensor, Grid] | Tensor


class Regioner(nn.Module, ABC):
    """Module that splits a view into regions.

    Attributes:
        kind: kind of the regions, as in :class:`bagscan.core.Regions`.
        config: frozen dataclass.
    """

    kind: str
    config: Any

    @abstractmethod
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Return the regions of a view at working size.

        Args:
            view: the view.
            n_superpixels: approximate number of superpixels; None for the regioner's default.
                Regioners that do not produce superpixels ignore it.
        """

    @property
    def segmenter(self) -> Regioner:
        """Regioner that segments the view: self, unless this regioner is limited to found items."""
        return self

    @property
    def finder(self) -> Finder | None:
        """Finder of the items to which the regions are limited, or None for the entire view."""
        return None

    @property
    def graphs(self) -> tuple[str, ...] | None:
        """Names of the exported graphs for segmentation; None if it cannot be exported.

        Segmentation code that all runtimes share is not exported.
        """
        return None

    @property
    def is_soft(self) -> bool:
        """True if gradients pass through the regioner, so that joint training can train it."""
        return isinstance(self.segmenter, SoftRegioner)


class Finder(Regioner):
    """Regioner that finds items. Each item is a region, and regions can overlap.

    Attributes:
        detector: the network to train, with the interface of torchvision's detectors.
    """

    kind = "instance"
    detector: nn.Module

    @abstractmethod
    def prepare(self, pixels: Tensor, channels: Sequence[str]) -> Tensor:
        """Convert (B, C, H, W) pixels of views to the input of ``detector``."""

    @abstractmethod
    def detect(self, view: View) -> list[dict[str, Any]]:
        """Return the items of a view in order of decreasing score.

        Returns:
            Dictionaries of ``label``, ``score``, ``box_xyxy`` and ``mask`` ((H, W) bool) in pixels
            of the view.
        """

    @property
    def finder(self) -> Finder:
        """The finder itself."""
        return self


class SoftRegioner(Regioner):
    """Regioner with a differentiable soft association (:mod:`bagscan.association`)."""

    @abstractmethod
    def prepare(self, pixels: Tensor, quantity: str, channels: tuple[str, ...]) -> Tensor:
        """Convert (B, C, H, W) pixels of views to the input of :meth:`forward`."""

    @abstractmethod
    def forward(
        self, prepared: Tensor, n_superpixels: int | None = None
    ) -> tuple[Tensor, Grid, Tensor]:
        """Compute the soft association.

        Args:
            prepared: output of :meth:`prepare`.
            n_superpixels: approximate number of superpixels; None for the default.

        Returns:
            The association q, (B, rows, cols, 9, p), its grid, and the pixel features (B, D, H, W)
            from which it was computed.
        """


class Encoder(nn.Module, ABC):
    """Module that describes regions by vectors.

    Attributes:
        config: frozen dataclass.
        dim: length of a description.
        samples_regions: True if the cost grows with the number of regions, so that training
            encodes only a balanced sample of them.
    """

    config: Any
    dim: int
    samples_regions: bool = False

    @property
    def is_exportable(self) -> bool:
        """True if ``maps`` and ``describe_means`` of a :class:`MapEncoder` can be exported."""
        return False

    @abstractmethod
    def forward(self, image: Tensor, regions: SoftOrHard, chosen: Tensor) -> Tensor:
        """Describe regions.

        Args:
            image: (B, C, H, W) normalised images.
            regions: the soft association and its grid, or (B, H, W) int64 labels from 0, with -1
                outside all regions.
            chosen: (M, 2) image index and region index of the regions to describe.

        Returns:
            (M, dim) float32 descriptions.
        """


class MapEncoder(Encoder):
    """Encoder that describes regions by means of feature maps.

    One pass computes the maps; any runtime can average them over regions.
    """

    @abstractmethod
    def maps(self, image: Tensor) -> Tensor:
        """Compute (B, D, h, w) feature maps of (B, C, H, W) normalised images."""

    @abstractmethod
    def describe_maps(self, maps: Tensor, regions: SoftOrHard, chosen: Tensor) -> Tensor:
        """Return (M, dim) descriptions from maps; for the arguments see :meth:`Encoder.forward`."""

    @abstractmethod
    def describe_means(self, means: Tensor) -> Tensor:
        """Convert (n, D) means of maps in the regions of one view to (n, dim) descriptions."""


class Scorer(nn.Module, ABC):
    """Module that scores descriptions.

    Attributes:
        config: frozen dataclass.
        is_exportable: True if :meth:`score` can be exported to a graph.
    """

    config: Any
    is_exportable: bool = False

    @abstractmethod
    def score(self, embeddings: Tensor) -> Tensor:
        """Score (n, dim) descriptions independently of each other.

        Returns:
            (n,) scores in [0, 1]; 1 is most anomalous.
        """


class OddsScorer(Scorer):
    """Scorer with unbounded log-odds."""

    @abstractmethod
    def log_odds(self, embeddings: Tensor) -> Tensor:
        """Return the (n,) log-odds of an anomaly for (n, dim) descriptions."""


class ClassScorer(Scorer):
    """Scorer of several anomaly classes, ``config.classes``."""

    @abstractmethod
    def class_scores(self, embeddings: Tensor) -> Tensor:
        """Return (n, classes) scores in [0, 1] for (n, dim) descriptions."""

    @property
    def trainable_head(self) -> nn.Module:
        """Submodule that is trained with the encoder."""
        return self


class FittedScorer(Scorer):
    """Scorer that is fitted to benign descriptions after the encoder is trained.

    Its buffers can have any length: loading adapts them to the stored lengths. Before it is fitted,
    it must give valid scores too. :class:`bagscan.scorers.fitted.Fitted` is the usual base class.
    """

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # The lengths of buffers depend on the fit, not on the configuration.
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if stored is not None and buffer is not None and stored.shape != buffer.shape:
                self._buffers[name] = torch.empty_like(stored, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @abstractmethod
    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Fit the scorer.

        Args:
            benign: (n, dim) descriptions of benign regions.
            anomalous: (m, dim) descriptions of anomalous regions; most scorers ignore them.
            seed: random seed.

        Raises:
            ValueError: too few descriptions.
        """

    @abstractmethod
    def standardise(self, benign: Tensor) -> None:
        """Rescale scores by (n, dim) benign descriptions that were not used for fitting."""

    @property
    def trained(self) -> nn.Module | None:
        """Submodule that is taken from the scorer of the trained model, or None."""
        return None
