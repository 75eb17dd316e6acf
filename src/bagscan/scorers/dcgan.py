"""Networks and training loop shared by the scorers that reconstruct crops.

Source: Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks" (2015): strided convolutions, batch normalisation, leaky ReLU, and
a final tanh.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bagscan.scorers.fitted import Fitted, draw_rows, held_out

log = logging.getLogger(__name__)

SLOPE = 0.2
COLLAPSED = 0.1  # spread of reconstructions, relative to the images, that is a collapse


@dataclass(frozen=True)
class PixelConfig:
    """Settings of scorers that reconstruct crops.

    Raises:
        ValueError: if the side is not a power of two of at least 16.

    Attributes:
        dim: length of a flattened crop, channels x side x side.
        channels: channels of a crop.
        latent: length of z.
        width: channels after the first convolution.
        epochs: epochs of the adversarial training.
        batch_size: crops in a batch.
        learning_rate: learning rate of Adam.
        max_rows: maximum number of benign crops; a random sample is used of more.
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
                f"dim={self.dim} is not channels={self.channels} x side x side; expected a side "
                "that is a power of two and at least 16; set encoder.size_px and scorer.channels"
            )

    @property
    def side(self) -> int:
        """Return the side of a crop in pixels."""
        side: int = round((self.dim / self.channels) ** 0.5)
        return side


class PixelScorer(Fitted):
    """Base class of scorers that reconstruct crops.

    A subclass implements ``optimisers``, ``step``, ``reconstruct`` and ``distance``.

    Args:
        config: a subclass of :class:`PixelConfig`.
    """

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config

    def images(self, embeddings: Tensor) -> Tensor:
        """Reshape (n, dim) descriptions to (n, C, s, s) crops."""
        return embeddings.reshape(-1, self.config.channels, self.config.side, self.config.side)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """Create the optimisers that :meth:`step` uses."""
        raise NotImplementedError

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        """Update the networks on a batch of crops.

        Args:
            x: (n, C, s, s) crops in [-1, 1].
            optimisers: result of :meth:`optimisers`.
            generator: random generator of z.

        Returns:
            Losses by name.
        """
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return (n, C, s, s) reconstructions of (n, C, s, s) crops."""
        raise NotImplementedError

    def adam(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """Create an Adam optimiser with the momentum of DCGAN."""
        return torch.optim.Adam(
            [p for m in modules for p in m.parameters()],
            self.config.learning_rate,
            betas=(0.5, 0.999),
        )

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Train on benign crops (n, dim) in [-1, 1]; anomalous crops are ignored.

        Raises:
            ValueError: if there are too few rows, or a value is outside of [-1, 1].
        """
        if float(benign.abs().max()) > 1 + 1e-4:
            raise ValueError(
                f"crops have values up to ±{float(benign.abs().max()):.2f}, but the decoder's tanh "
                "returns values in [-1, 1]; use the encoder pixels"
            )
        rows, rest = held_out(draw_rows(benign, self.config.max_rows, seed), seed)
        generator = torch.Generator().manual_seed(seed)
        optimisers = self.optimisers()
        name = type(self).__name__.lower()
        for epoch in range(1, self.config.epochs + 1):
            self.train()
            order = torch.randperm(len(rows), generator=generator)
            steps = [
                self.step(self.images(rows[batch]), optimisers, generator)
                for batch in order.split(self.config.batch_size)
                if len(batch) > 1
            ]
            means = {key: float(np.mean([losses[key] for losses in steps])) for key in steps[0]}
            text = "  ".join(f"{key} {mean:.3f}" for key, mean in means.items())
            text += self._describe_spread(rest, epoch)
            log.info(f"{name} epoch {epoch}/{self.config.epochs}  {text}")
        self.eval()
        self.standardise(rest)

    @torch.no_grad()
    def _describe_spread(self, rest: Tensor, epoch: int) -> str:
        self.eval()
        x = self.images(rest[:256])
        spread = float(self.reconstruct(x).std(0).mean() / x.std(0).mean().clamp(min=1e-9))
        text = f"  spread {spread:.2f}"
        if epoch > 2 and spread < COLLAPSED:
            text += f"  COLLAPSED: reconstructions vary {spread:.0%} as much as the images"
        return text


def steps_down(side: int) -> int:
    """Return how often a side must be halved to reach 4 pixels."""
    return int(np.log2(side)) - 2


class Down(nn.Module):
    """Convolutional encoder of crops.

    Args:
        channels: channels of the crops.
        side: side of the crops.
        width: channels after the first convolution.
        out: length of the output.
        norm: True for batch normalisation. It mixes the crops of a batch, so a gradient penalty
            needs False.
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
        """Return the (n, out) output and the (n, f, 4, 4) features of (n, C, s, s) crops."""
        features = self.features(x)
        return self.last(features).flatten(1), features


class Up(nn.Sequential):
    """Convolutional decoder from (n, latent) codes to (n, C, s, s) crops in [-1, 1].

    Args:
        channels: channels of the crops.
        side: side of the crops.
        width: channels before the last convolution.
        latent: length of a code.
    """

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
    """Take an optimiser step on a loss and return the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())
