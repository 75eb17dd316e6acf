"""Convolutions that models of pixels share, and how they are trained on benign crops.

Source: Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks" (2015): strided convolutions, batch norm, leaky ReLU, tanh at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.contracts import Report
from bagscan.scorers.fitted import Fitted, drawn, held_out

SLOPE = 0.2
COLLAPSED = 0.1  # reconstructions that vary less than this share of the images


@dataclass(frozen=True)
class PixelConfig:
    """Settings of every model of pixels.

    Attributes:
        dim: length of a flattened crop. channels: of it; its side follows. latent: length of z.
        width: channels behind the first convolution. epochs, batch_size, learning_rate: of the adversarial training.
        max_rows: benign crops used at most.
    """

    dim: int = 3 * 32 * 32
    channels: int = 3
    latent: int = 100
    width: int = 32
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 2e-4
    max_rows: int = 20_000

    def __post_init__(self) -> None:
        if (
            self.channels * self.side**2 != self.dim
            or self.side < 16
            or self.side & (self.side - 1)
        ):
            raise ValueError(
                f"dim={self.dim} is not channels={self.channels} times a square whose side is a power of two of 16 or more: set encoder.size_px and scorer.channels"
            )

    @property
    def side(self) -> int:
        """Side of a crop, in pixels."""
        side: int = round((self.dim / self.channels) ** 0.5)
        return side


class PixelScorer(Fitted):
    """A model that gives crops back; ``step`` trains it on one batch, ``distance`` scores.

    Args:
        config: a subclass of :class:`PixelConfig`.
    """

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config

    def images(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n, C, s, s)."""
        return embeddings.reshape(-1, self.config.channels, self.config.side, self.config.side)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """Those that ``step`` uses."""
        raise NotImplementedError

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        """One update on a batch (n, C, s, s); its losses by name."""
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """(n, C, s, s) -> the same shape."""
        raise NotImplementedError

    def adam(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """Adam with the momentum that DCGAN found to be needed; rates differ from paper to paper."""
        return torch.optim.Adam(
            [p for m in modules for p in m.parameters()],
            self.config.learning_rate,
            betas=(0.5, 0.999),
        )

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Train on benign crops (n, dim) in [-1, 1]; anomalous ones are not looked at.

        Raises:
            ValueError: too few rows, or values that the decoder's tanh cannot give back.
        """
        if float(benign.abs().max()) > 1 + 1e-4:
            raise ValueError(
                f"crops reach {float(benign.abs().max()):.2f}, the decoder's tanh gives -1 to 1: use the encoder pixels"
            )
        rows, rest = held_out(drawn(benign, self.config.max_rows, seed), seed)
        generator = torch.Generator().manual_seed(seed)
        optimisers = self.optimisers()
        name = type(self).__name__.lower()
        for epoch in range(1, self.config.epochs + 1):
            self.train()
            order = torch.randperm(len(rows), generator=generator)
            result = [
                self.step(self.images(rows[chosen]), optimisers, generator)
                for chosen in order.split(self.config.batch_size)
                if len(chosen) > 1
            ]
            means = {key: float(np.mean([t[key] for t in result])) for key in result[0]}
            report(
                f"{name} epoch {epoch}/{self.config.epochs}  "
                + "  ".join(f"{k} {v:.3f}" for k, v in means.items())
                + self._health(rest, epoch)
            )
        self.eval()
        self.standardise(rest)

    @torch.no_grad()
    def _health(self, rest: Tensor, epoch: int) -> str:
        self.eval()
        x = self.images(rest[:256])
        spread = float(self.reconstruct(x).std(0).mean() / x.std(0).mean().clamp(min=1e-9))
        return f"  spread {spread:.2f}" + (
            f"  COLLAPSED: reconstructions vary {spread:.0%} as much as the images"
            if epoch > 2 and spread < COLLAPSED
            else ""
        )


def steps_down(side: int) -> int:
    """Halvings from a side to 4."""
    return int(np.log2(side)) - 2


class Down(nn.Module):
    """(n, C, s, s) -> features (n, f, 4, 4) and what a last convolution makes of them (n, out).

    ``norm`` False: without batch norm, which mixes the crops of a batch where each one's gradient is wanted.
    """

    def __init__(self, channels: int, side: int, width: int, out: int, norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(SLOPE, inplace=True),
        ]
        for k in range(steps_down(side) - 1):
            layers += [
                nn.Conv2d(width << k, width << (k + 1), 4, 2, 1, bias=not norm),
                *[nn.BatchNorm2d(width << (k + 1))] * norm,
                nn.LeakyReLU(SLOPE, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(width << (steps_down(side) - 1), out, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.features(x)
        return self.last(found).flatten(1), found


class Up(nn.Sequential):
    """(n, latent) -> (n, C, s, s) in [-1, 1]."""

    def __init__(self, channels: int, side: int, width: int, latent: int) -> None:
        steps = steps_down(side)
        widest = width << (steps - 1)
        layers: list[Any] = [
            nn.Unflatten(1, (latent, 1, 1)),
            nn.ConvTranspose2d(latent, widest, 4, bias=False),
            nn.BatchNorm2d(widest),
            nn.ReLU(inplace=True),
        ]
        for k in range(steps - 1, 0, -1):
            layers += [
                nn.ConvTranspose2d(width << k, width << (k - 1), 4, 2, 1, bias=False),
                nn.BatchNorm2d(width << (k - 1)),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh())


def update(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    """One step down a loss; returns it."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())
