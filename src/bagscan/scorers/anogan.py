"""AnoGAN-style: a generator of benign crops, and the inverse map that finds the code of one.

The discriminator pays for steep gradients at real crops (R1): without that it wins within ten epochs and the generator learns no more.

Sources: Schlegl et al., "Unsupervised anomaly detection with generative adversarial networks to guide
marker discovery" (AnoGAN, IPMI 2017); the inverse map in place of its search, and the score, as in
the same authors' f-AnoGAN (Medical Image Analysis 2019), which holds its discriminator back by a gradient penalty too; the one
here is that of Mescheder et al., "Which training methods for GANs do actually converge?" (ICML 2018), equation 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bagscan.scorers.dcgan import Down, PixelConfig, PixelScorer, Up, update

CARD = {
    "paper": "Schlegl et al., IPMI 2017 and Medical Image Analysis 2019",
    "channels": "1 or more, with the encoder pixels",
    "weights": "fitted by the user; none shipped",
    "limits": "a benign crop that the generator never makes scores as an anomaly",
}
FEATURES = 1.0  # kappa
STEEPNESS = 1.0  # gamma of R1


@dataclass(frozen=True)
class Config(PixelConfig):
    """AnoGAN settings; see :class:`bagscan.scorers.dcgan.PixelConfig` for
    dim, channels, latent, width, epochs, batch_size, learning_rate, max_rows."""


class AnoGAN(PixelScorer):
    """Generator, discriminator, inverse map. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        shape = (config.channels, config.side, config.width)
        self.generator, self.judge, self.inverse = (
            Up(*shape, config.latent),
            Down(*shape, 1, norm=False),
            Down(*shape, config.latent),
        )

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.generator), self.adam(self.judge), self.adam(self.inverse)]

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        make, judge, invert = optimisers
        z = torch.randn(len(x), self.config.latent, generator=generator)
        made = self.generator(z)
        result = {"G": update(make, F.softplus(-self.judge(made)[0]).mean())}
        x = x.requires_grad_()
        real, fake = self.judge(x)[0], self.judge(made.detach())[0]
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        steep = slope.square().sum((1, 2, 3)).mean()
        x = x.detach()
        result["D"] = update(
            judge, F.softplus(-real).mean() + F.softplus(fake).mean() + STEEPNESS / 2 * steep
        )
        back = self.reconstruct(x)
        features = F.mse_loss(self.judge(back)[1], self.judge(x)[1].detach())
        contextual = F.mse_loss(back, x)
        # The generator is not moved by the inverse map's loss: only its own optimiser steps it, and its
        # gradients are cleared before that.
        result["E"] = update(invert, contextual + FEATURES * features)
        return result | {"contextual": float(contextual.detach())}

    def reconstruct(self, x: Tensor) -> Tensor:
        found: Tensor = self.generator(
            torch.tanh(self.inverse(x)[0]) * 3
        )  # codes stay where z is drawn
        return found

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): squared difference in pixels and in the discriminator's features."""
        x = self.images(embeddings)
        back = self.reconstruct(x)
        features = (self.judge(x)[1] - self.judge(back)[1]).square().mean((1, 2, 3))
        found: Tensor = (x - back).square().mean((1, 2, 3)) + FEATURES * features
        return found


def build(config: Config) -> AnoGAN:
    return AnoGAN(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
