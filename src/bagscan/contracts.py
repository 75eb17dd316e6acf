"""What a part is: regioners cut a view up, encoders describe regions, scorers judge descriptions.

A part of one's own subclasses one of these; :mod:`bagscan.testing` checks that it keeps to what is said here. ``config``
is always a frozen dataclass, stored with the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from bagscan.association import Grid
from bagscan.core import Regions, View

Report = Callable[[str], None]
SoftOrHard = tuple[Tensor, Grid] | Tensor


class Regioner(nn.Module, ABC):
    """Cuts a view into regions.

    Attributes:
        kind: of the regions, as in :class:`bagscan.core.Regions`. config: frozen dataclass.
    """

    kind: str
    config: Any

    @abstractmethod
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Regions of one view at working size.

        Args:
            n_superpixels: about how many; None for the regioner's own number. Those that find things take no notice.
        """

    @property
    def cutter(self) -> Regioner:
        """What cuts where this one looks; itself, unless it looks on found items alone."""
        return self

    @property
    def finder(self) -> Finder | None:
        """What finds the items that are cut up, or given as they are; None for one that looks everywhere."""
        return None

    @property
    def graphs(self) -> tuple[str, ...] | None:
        """Names of the graphs that an exported model cuts with, beside the kernel that all runtimes share; None where it is not exported."""
        return None

    @property
    def is_soft(self) -> bool:
        """Whether gradients pass through it, so that joint training can train it."""
        return isinstance(self.cutter, SoftRegioner)


class Finder(Regioner):
    """Finds items, each a region of its own, which may overlap.

    Attributes:
        detector: the network that is trained, called as torchvision's detectors are.
    """

    kind = "instance"
    detector: nn.Module

    @abstractmethod
    def prepare(self, pixels: Tensor, channels: Sequence[str]) -> Tensor:
        """(B, C, H, W) pixels of views to what ``detector`` takes."""

    @abstractmethod
    def detect(self, view: View) -> list[dict[str, Any]]:
        """Every item of a view, best first: ``label``, ``score``, ``box_xyxy`` and ``mask`` (H, W) bool, in view pixels."""

    @property
    def finder(self) -> Finder:
        """Itself."""
        return self


class SoftRegioner(Regioner):
    """Gives a soft association (:mod:`bagscan.association`) besides, which gradients pass through."""

    @abstractmethod
    def prepare(self, pixels: Tensor, quantity: str, channels: tuple[str, ...]) -> Tensor:
        """(B, C, H, W) pixels of views to what :meth:`forward` takes."""

    @abstractmethod
    def forward(
        self, prepared: Tensor, n_superpixels: int | None = None
    ) -> tuple[Tensor, Grid, Tensor]:
        """The association q (B, rows, cols, 9, p), its grid, and the features (B, D, H, W) that pixels were told apart by."""


class Encoder(nn.Module, ABC):
    """Describes regions.

    Attributes:
        dim: length of a description. draws: whether describing costs by the region, so that training describes a balanced draw.
    """

    config: Any
    dim: int
    draws: bool = False

    @property
    def is_exported(self) -> bool:
        """Whether a :class:`MapEncoder`'s ``maps`` and ``in_context`` can be traced into graphs."""
        return False

    @abstractmethod
    def forward(self, image: Tensor, regions: SoftOrHard, chosen: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (M, dim) float32 descriptions.

        Args:
            regions: the soft association and its grid, or (B, H, W) int64 labels from 0, -1 in no region. chosen: (M, 2) image and region of each.
        """


class MapEncoder(Encoder):
    """Describes by averages of maps over regions, so that maps come from one pass and averages from any runtime."""

    @abstractmethod
    def maps(self, image: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (B, D, h, w) maps."""

    @abstractmethod
    def described(self, maps: Tensor, regions: SoftOrHard, chosen: Tensor) -> Tensor:
        """(M, dim) descriptions from maps; arguments as :meth:`Encoder.forward`."""

    @abstractmethod
    def in_context(self, means: Tensor) -> Tensor:
        """(n, D) averages of one view's regions to (n, dim) descriptions."""


class Scorer(nn.Module, ABC):
    """Judges descriptions.

    Attributes:
        is_exported: whether :meth:`score` can be traced into a graph.
    """

    config: Any
    is_exported: bool = False

    @abstractmethod
    def score(self, embeddings: Tensor) -> Tensor:
        """(n, dim) to (n,) in [0, 1], 1 the most anomalous; of every row by itself."""


class OddsScorer(Scorer):
    """Tells how sure it is without an end."""

    @abstractmethod
    def log_odds(self, embeddings: Tensor) -> Tensor:
        """(n, dim) to (n,) log-odds of being anomalous."""


class ClassScorer(Scorer):
    """Tells classes of anomalies apart: ``config.classes``."""

    @abstractmethod
    def by_class(self, embeddings: Tensor) -> Tensor:
        """(n, dim) to (n, classes) in [0, 1]."""

    @property
    def learnt(self) -> nn.Module:
        """What of it is trained with the encoder."""
        return self


class FittedScorer(Scorer):
    """Is fitted to descriptions of what is benign, once the encoder stands still."""

    @abstractmethod
    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Fit to (n, dim) rows and, where it takes any, (m, dim).

        Raises:
            ValueError: too few rows.
        """

    @abstractmethod
    def standardise(self, benign: Tensor) -> None:
        """Bring scores to a common scale by (n, dim) benign rows that nothing was fitted on."""

    @property
    def trained(self) -> nn.Module | None:
        """What of it comes from the trained model's own scorer; None for nothing."""
        return None
