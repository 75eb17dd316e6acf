"""BiGAN scorer on descriptions of benign regions, phase II of GBAD.

A region that it cannot reconstruct is anomalous. The value function is
E[log D(x, E(x))] + E[log(1 - D(G(z), z))]. The loss of E and G adds 10 times the reconstruction
error, and the feature matching error.

Sources: Donahue et al., "Adversarial feature learning" (ICLR 2017). Zenati et al., "Efficient
GAN-based anomaly detection" (2018), for the tabular form. Dumagpi, Jung & Jeong 2020, for the use
in GBAD.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from bagscan.scorers.fitted import Fitted, draw_rows, held_out, scale_of

log = logging.getLogger(__name__)

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase II; Donahue et al. 2017",
    "channels": "any",
    "weights": "fitted by the user; not bundled",
    "limits": "adversarial training is fragile: heed reports of a collapse, and use three seeds",
}
RECONSTRUCTION, MATCHING = 10.0, 1.0  # weights of the errors in the loss of E and G
SLOPE = 0.2
POWER_ITERATIONS = 20
COLLAPSED = 0.2  # spread of generated descriptions, relative to real ones, that is a collapse
OVERPOWERED = 0.99  # share of pairs that a too strong discriminator classifies correctly


@dataclass(frozen=True)
class Config:
    """Settings of the BiGAN.

    Attributes:
        dim: length of a region's description.
        widths: units of the encoder's hidden layers, mirrored by the generator; empty for dim / 2
            and dim / 4, at least 16 and 8.
        latent: length of z; 0 for dim / 16, at least 4.
        matched: units of the discriminator's last hidden layer; 0 for dim / 4, at least 8.
        epochs: epochs of the adversarial training.
        batch_size: rows in a batch.
        min_steps: minimum number of steps of all epochs; an epoch passes over few rows several
            times.
        learning_rate: learning rate of Adam.
        ema: decay of the moving average of the weights.
        max_rows: maximum number of benign rows; a random sample is used of more.
    """

    dim: int = 192
    widths: tuple[int, ...] = ()
    latent: int = 0
    matched: int = 0
    epochs: int = 40
    batch_size: int = 256
    min_steps: int = 2000
    learning_rate: float = 1e-4
    ema: float = 0.999
    max_rows: int = 50_000

    def sizes(self) -> tuple[tuple[int, ...], int, int]:
        """Return widths, latent and matched, with defaults replaced by values."""
        return (
            self.widths or (max(16, self.dim // 2), max(8, self.dim // 4)),
            self.latent or max(4, self.dim // 16),
            self.matched or max(8, self.dim // 4),
        )


class BiGAN(Fitted):
    """Scorer with an encoder E, a generator G and a discriminator D. See :class:`Config`."""

    mean: Tensor
    deviation: Tensor
    error_middle: Tensor
    error_spread: Tensor
    n_errors = 2

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths, self.latent, matched = config.sizes()
        sizes = [config.dim, *widths, self.latent]
        self.encoder, self.generator = _stack(sizes), _stack(sizes[::-1])
        both, wide = config.dim + self.latent, widths[0]
        self.features = nn.Sequential(
            spectral_norm(nn.Linear(both, wide)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Linear(wide, matched)),
            nn.LeakyReLU(SLOPE),
        )
        self.verdict = spectral_norm(nn.Linear(matched, 1))
        for name in ("mean", "error_middle"):
            self.register_buffer(name, torch.zeros(config.dim if name == "mean" else 2))
        for name in ("deviation", "error_spread"):
            self.register_buffer(name, torch.ones(config.dim if name == "deviation" else 2))

    def errors(self, embeddings: Tensor) -> Tensor:
        """Return (n, 2) errors of (n, dim) descriptions.

        The columns are R = mean |x - G(E(x))| and FM = |f_D(x, E(x)) - f_D(G(E(x)), E(x))|.
        """
        x = (embeddings - self.mean) / self.deviation
        z = self.encoder(x)
        return torch.stack(self._errors(x, z, self.generator(z)), 1)

    def _errors(self, x: Tensor, z: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        real = self.features(torch.cat([x, z], 1))
        fake = self.features(torch.cat([reconstruction, z], 1))
        return (x - reconstruction).abs().mean(1), torch.linalg.vector_norm(real - fake, dim=1)

    def distance(self, embeddings: Tensor) -> Tensor:
        """Return (n,) softplus of the mean of both standardised log errors, above 0."""
        standardised = (self.errors(embeddings).log1p() - self.error_middle) / self.error_spread
        return F.softplus(standardised.mean(1))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0) -> None:
        """Train on benign rows (n, dim); anomalous rows are ignored.

        Raises:
            ValueError: if there are too few rows.
        """
        config = self.config
        rows, rest = held_out(draw_rows(benign, config.max_rows, seed), seed)
        self.mean, self.deviation = scale_of(rows)
        x = (rows - self.mean) / self.deviation
        averaged = copy.deepcopy(self).requires_grad_(False)
        encoder_and_generator = [*self.encoder.parameters(), *self.generator.parameters()]
        discriminator = [*self.features.parameters(), *self.verdict.parameters()]
        optimisers = [
            torch.optim.Adam(parameters, config.learning_rate, betas=(0.5, 0.999))
            for parameters in (encoder_and_generator, discriminator)
        ]
        generator = torch.Generator().manual_seed(seed)
        self.train()
        steps, max_spread = 0, 0.0
        passes = max(1, -(-config.min_steps // (config.epochs * -(-len(x) // config.batch_size))))
        for epoch in range(1, config.epochs + 1):
            losses: list[tuple[float, ...]] = []
            for batch in _batches(x, config.batch_size, generator, passes):
                losses.append(self._step(batch, optimisers, generator))
                steps += 1
                _update_average(averaged, self, min(config.ema, (1 + steps) / (10 + steps)))
            spread = self._spread(x, generator)
            max_spread = max(max_spread, spread)
            text = _describe_epoch(np.mean(losses, 0), spread, max_spread, epoch)
            log.info(f"bigan epoch {epoch}/{config.epochs}  step {steps}  {text}")
        self.load_state_dict(averaged.state_dict())
        # Spectral norm has estimated the norms of the live weights; estimate those of the averages.
        with torch.no_grad():
            batch = x[: config.batch_size]
            for _ in range(POWER_ITERATIONS):
                self.verdict(self.features(torch.cat([batch, self.encoder(batch)], 1)))
        self.eval()
        with torch.no_grad():
            logs = self.errors(rest).log1p()
            self.error_middle = logs.median(0).values
            self.error_spread = logs.std(0).clamp(min=1e-6)
        self.standardise(rest)

    def _step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> tuple[float, ...]:
        """Update the discriminator, then encoder and generator.

        Returns:
            Loss of D, adversarial loss of E and G, reconstruction error, feature matching error,
            and the share of pairs that D classifies correctly.
        """
        optimiser_eg, optimiser_d = optimisers
        z = torch.randn(len(x), self.latent, generator=generator)
        with torch.no_grad():
            code, generated = self.encoder(x), self.generator(z)
        real, fake = (
            self.verdict(self.features(torch.cat(pair, 1)))[:, 0]
            for pair in ((x, code), (generated, z))
        )
        loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
        optimiser_d.zero_grad(set_to_none=True)
        loss_d.backward()
        optimiser_d.step()
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        code, generated = self.encoder(x), self.generator(z)
        reconstruction = self.generator(code)
        adversarial = (
            F.softplus(self.verdict(self.features(torch.cat([x, code], 1)))).mean()
            + F.softplus(-self.verdict(self.features(torch.cat([generated, z], 1)))).mean()
        )
        error, matching = (errors.mean() for errors in self._errors(x, code, reconstruction))
        loss = adversarial + RECONSTRUCTION * error + MATCHING * matching
        optimiser_eg.zero_grad(set_to_none=True)
        loss.backward()
        optimiser_eg.step()
        return (
            float(loss_d.detach()),
            float(adversarial.detach()),
            float(error.detach()),
            float(matching.detach()),
            float(accuracy),
        )

    @torch.no_grad()
    def _spread(self, x: Tensor, generator: torch.Generator) -> float:
        """Return the standard deviation of generated descriptions, relative to real ones."""
        generated = self.generator(torch.randn(512, self.latent, generator=generator))
        return float(generated.std(0).mean() / x.std(0).mean().clamp(min=1e-9))


def _describe_epoch(losses: np.ndarray, spread: float, max_spread: float, epoch: int) -> str:
    """Describe an epoch, with a warning if training fails.

    Args:
        losses: mean of the results of :meth:`BiGAN._step`.
        spread: spread of generated descriptions.
        max_spread: largest spread of the epochs so far. It separates a collapse from a generator
            that has not learned yet.
        epoch: number of the epoch, from 1.
    """
    loss_d, adversarial, error, matching, accuracy = (float(v) for v in losses)
    text = (
        f"D {loss_d:.3f}  EG {adversarial:.3f}  R {error:.3f}  FM {matching:.3f}  "
        f"D right {accuracy:.2f}  spread {spread:.2f}"
    )
    if epoch > 2 and spread < COLLAPSED:
        state = "COLLAPSED" if max_spread >= COLLAPSED else "NOT LEARNT YET"
        text += f"  {state}: generated descriptions vary {spread:.0%} as much as real ones"
    if epoch > 2 and accuracy > OVERPOWERED:
        text += "  D classifies all pairs correctly: E and G learn from the reconstruction alone"
    return text


def _stack(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b), *([nn.LeakyReLU(SLOPE)] if k < len(sizes) - 2 else [])]
    return nn.Sequential(*layers)


def _batches(
    rows: Tensor, size: int, generator: torch.Generator, passes: int = 1
) -> Iterator[Tensor]:
    """Yield batches of rows in a new random order in every pass; skip a batch of a single row."""
    for _ in range(passes):
        for chosen in torch.randperm(len(rows), generator=generator).split(size):
            if len(chosen) > 1:
                yield rows[chosen]


@torch.no_grad()
def _update_average(averaged: nn.Module, live: nn.Module, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), live.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for target, source in zip(averaged.buffers(), live.buffers(), strict=True):
        target.copy_(source)


def build(config: Config) -> BiGAN:
    return BiGAN(config)


def tiny() -> Config:
    return Config(dim=8, widths=(16, 8), latent=4, matched=8, epochs=2, batch_size=16, min_steps=0)
