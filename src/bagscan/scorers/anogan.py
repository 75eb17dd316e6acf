"""AnoGAN scorer: a generator of benign crops, and an inverse map from a crop to its code.

A gradient penalty at real crops (R1) restrains the discriminator, which would otherwise win and
stop the generator from learning.

Sources: Schlegl et al., "Unsupervised anomaly detection with generative adversarial networks to
guide marker discovery" (AnoGAN, IPMI 2017). The inverse map, which replaces AnoGAN's search for the
code, and the score are those of f-AnoGAN by the same authors (Medical Image Analysis 2019). The
gradient penalty is equation 9 of Mescheder et al., "Which training methods for GANs do actually
converge?" (ICML 2018).
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
    "weights": "fitted by the user; not bundled",
    "limits": "a benign crop that the generator cannot make scores as an anomaly",
}
FEATURES = 1.0  # kappa
STEEPNESS = 1.0  # gamma of R1


@dataclass(frozen=True)
class Config(PixelConfig):
    """Settings of AnoGAN, see :class:`bagscan.scorers.dcgan.PixelConfig`."""


class AnoGAN(PixelScorer):
    """Scorer with a generator, a discriminator and an inverse map. See :class:`Config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        shape = (config.channels, config.side, config.width)
        self.generator = Up(*shape, config.latent)
        self.discriminator = Down(*shape, 1, norm=False)  # the discriminator
        self.inverse = Down(*shape, config.latent)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.adam(self.generator), self.adam(self.discriminator), self.adam(self.inverse)]

    def step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> dict[str, float]:
        optimiser_g, optimiser_d, optimiser_e = optimisers
        z = torch.randn(len(x), self.config.latent, generator=generator)
        generated = self.generator(z)
        losses = {"G": update(optimiser_g, F.softplus(-self.discriminator(generated)[0]).mean())}
        x = x.requires_grad_()
        real, fake = self.discriminator(x)[0], self.discriminator(generated.detach())[0]
        (gradient,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean()
        x = x.detach()
        losses["D"] = update(
            optimiser_d,
            F.softplus(-real).mean() + F.softplus(fake).mean() + STEEPNESS / 2 * penalty,
        )
        reconstruction = self.reconstruct(x)
        features = F.mse_loss(
            self.discriminator(reconstruction)[1], self.discriminator(x)[1].detach()
        )
        contextual = F.mse_loss(reconstruction, x)
        # This loss does not change the generator: only the generator's own optimiser updates it,
        # and clears its gradients before.
        losses["E"] = update(optimiser_e, contextual + FEATURES * features)
        return losses | {"contextual": float(contextual.detach())}

    def reconstruct(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.inverse(x)[0]) * 3  # within the range in which z is sampled
        reconstruction: Tensor = self.generator(code)
        return reconstruction

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return (n,) squared differences in pixels and in features of the discriminator."""
        x = self.images(embeddings)
        reconstruction = self.reconstruct(x)
        features = (
            (self.discriminator(x)[1] - self.discriminator(reconstruction)[1])
            .square()
            .mean((1, 2, 3))
        )
        difference: Tensor = (x - reconstruction).square().mean((1, 2, 3)) + FEATURES * features
        return difference


def build(config: Config) -> AnoGAN:
    return AnoGAN(config)


def tiny() -> Config:
    return Config(dim=3 * 16 * 16, latent=4, width=4, epochs=1, batch_size=8)
