"""BiGAN on descriptions of normal regions: phase II of GBAD. Strange is what it cannot give back.

Sources: Donahue et al., "Adversarial feature learning" (ICLR 2017); Zenati et al., "Efficient GAN-based
anomaly detection" (2018) for the tabular form; Dumagpi, Jung & Jeong 2020 for its place in GBAD.
The value function is E[log D(x, E(x))] + E[log(1 - D(G(z), z))], with 10 times the reconstruction and
once the feature matching for E and G. Report B prints its second term wrongly.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from bagscan.contracts import Report
from bagscan.scorers.fitted import Fitted, drawn, held_out, scale_of

CARD = {
    "paper": "Dumagpi, Jung & Jeong 2020, phase II; Donahue et al. 2017",
    "channels": "any",
    "weights": "fitted by the user; none shipped",
    "limits": "adversarial training is fragile: a collapse is told, and three seeds are asked for",
}
RECONSTRUCTION, MATCHING = 10.0, 1.0
SLOPE = 0.2
POWER_ITERATIONS = 20
COLLAPSED = 0.2  # generated descriptions that vary less than this share of the real ones
OVERPOWERED = 0.99  # of pairs that the discriminator tells apart


@dataclass(frozen=True)
class Config:
    """BiGAN settings.

    Attributes:
        dim: length of a region's description. widths: units of the encoder's hidden layers; the
            generator mirrors them. latent: length of z. matched: units of the discriminator's last hidden layer.
            Where they are not given they follow from ``dim``, as 512 and 256, 64 and 256 from the 1024 of methods page 3.
        epochs, batch_size, learning_rate, ema: of the adversarial training. least_steps: of all epochs; where rows are
            few, an epoch goes over them more than once. max_rows: benign rows used at most.
    """

    dim: int = 192
    widths: tuple[int, ...] = ()
    latent: int = 0
    matched: int = 0
    epochs: int = 40
    batch_size: int = 256
    least_steps: int = 2000
    learning_rate: float = 1e-4
    ema: float = 0.999
    max_rows: int = 50_000

    def sizes(self) -> tuple[tuple[int, ...], int, int]:
        """Widths, latent and matched, resolved."""
        return (
            self.widths or (max(16, self.dim // 2), max(8, self.dim // 4)),
            self.latent or max(4, self.dim // 16),
            self.matched or max(8, self.dim // 4),
        )


class BiGAN(Fitted):
    """Encoder E, generator G, discriminator D. See :class:`Config`."""

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
        """(n, dim) -> (n, 2): R = mean |x - G(E(x))|, FM = |f_D(x, E(x)) - f_D(G(E(x)), E(x))|."""
        x = (embeddings - self.mean) / self.deviation
        z = self.encoder(x)
        return torch.stack(self._errors(x, z, self.generator(z)), 1)

    def _errors(self, x: Tensor, z: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        own, given = self.features(torch.cat([x, z], 1)), self.features(torch.cat([back, z], 1))
        return (x - back).abs().mean(1), torch.linalg.vector_norm(own - given, dim=1)

    def distance(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> (n,): both errors in spreads of benign ones, added; 0 for what is nearer than most."""
        standardised = (self.errors(embeddings).log1p() - self.error_middle) / self.error_spread
        return F.softplus(standardised.mean(1))

    def fit(self, benign: Tensor, anomalous: Tensor, seed: int = 0, report: Report = print) -> None:
        """Train on benign rows (n, dim); anomalous ones are not looked at.

        Raises:
            ValueError: too few rows.
        """
        config = self.config
        rows, rest = held_out(drawn(benign, config.max_rows, seed), seed)
        self.mean, self.deviation = scale_of(rows)
        x = (rows - self.mean) / self.deviation
        averaged = copy.deepcopy(self).requires_grad_(False)
        makers = [*self.encoder.parameters(), *self.generator.parameters()]
        judges = [*self.features.parameters(), *self.verdict.parameters()]
        optimisers = [
            torch.optim.Adam(p, config.learning_rate, betas=(0.5, 0.999)) for p in (makers, judges)
        ]
        generator = torch.Generator().manual_seed(seed)
        self.train()
        steps, widest = 0, 0.0
        passes = max(1, -(-config.least_steps // (config.epochs * -(-len(x) // config.batch_size))))
        for epoch in range(1, config.epochs + 1):
            result: list[tuple[float, ...]] = []
            for batch in _batches(x, config.batch_size, generator, passes):
                result.append(self._step(batch, optimisers, generator))
                steps += 1
                _average(averaged, self, min(config.ema, (1 + steps) / (10 + steps)))
            spread = self._spread(x, generator)
            widest = max(widest, spread)
            report(
                f"bigan epoch {epoch}/{config.epochs}  step {steps}  {_told(np.mean(result, 0), spread, widest, epoch)}"
            )
        self.load_state_dict(averaged.state_dict())
        with torch.no_grad():
            for _ in range(
                POWER_ITERATIONS
            ):  # the norms of spectral norm are those of the live weights, not of their averages
                self.verdict(
                    self.features(
                        torch.cat([x[: config.batch_size], self.encoder(x[: config.batch_size])], 1)
                    )
                )
        self.eval()
        with torch.no_grad():
            logs = self.errors(rest).log1p()
            self.error_middle, self.error_spread = (
                logs.median(0).values,
                logs.std(0).clamp(min=1e-6),
            )
        self.standardise(rest)

    def _step(
        self, x: Tensor, optimisers: Sequence[torch.optim.Optimizer], generator: torch.Generator
    ) -> tuple[float, ...]:
        """One update of the discriminator and one of encoder and generator."""
        make, judge = optimisers
        z = torch.randn(len(x), self.latent, generator=generator)
        with torch.no_grad():
            coded, made = self.encoder(x), self.generator(z)
        real, fake = (
            self.verdict(self.features(torch.cat(pair, 1)))[:, 0]
            for pair in ((x, coded), (made, z))
        )
        loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
        judge.zero_grad(set_to_none=True)
        loss_d.backward()
        judge.step()
        right = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        coded, made = self.encoder(x), self.generator(z)
        back = self.generator(coded)
        fooled = (
            F.softplus(self.verdict(self.features(torch.cat([x, coded], 1)))).mean()
            + F.softplus(-self.verdict(self.features(torch.cat([made, z], 1)))).mean()
        )
        reconstruction, matching = (e.mean() for e in self._errors(x, coded, back))
        loss = fooled + RECONSTRUCTION * reconstruction + MATCHING * matching
        make.zero_grad(set_to_none=True)
        loss.backward()
        make.step()
        return (
            float(loss_d.detach()),
            float(fooled.detach()),
            float(reconstruction.detach()),
            float(matching.detach()),
            float(right),
        )

    @torch.no_grad()
    def _spread(self, x: Tensor, generator: torch.Generator) -> float:
        """How much what it makes varies, as a share of what is real."""
        made = self.generator(torch.randn(512, self.latent, generator=generator))
        return float(made.std(0).mean() / x.std(0).mean().clamp(min=1e-9))


def _told(losses: np.ndarray, spread: float, widest: float, epoch: int) -> str:
    """What an epoch came to, and whether it went wrong.

    Args:
        widest: spread of any epoch so far; what never varied has not collapsed, but has not learnt yet.
    """
    loss_d, fooled, reconstruction, matching, right = (float(v) for v in losses)
    text = f"D {loss_d:.3f}  EG {fooled:.3f}  R {reconstruction:.3f}  FM {matching:.3f}  D right {right:.2f}  spread {spread:.2f}"
    if epoch > 2 and spread < COLLAPSED:
        text += f"  {'COLLAPSED' if widest >= COLLAPSED else 'NOT LEARNT YET'}: what it makes varies {spread:.0%} as much as what is real"
    if epoch > 2 and right > OVERPOWERED:
        text += "  D tells all pairs apart: E and G learn from the reconstruction alone"
    return text


def _stack(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b), *([nn.LeakyReLU(SLOPE)] if k < len(sizes) - 2 else [])]
    return nn.Sequential(*layers)


def _batches(
    rows: Tensor, size: int, generator: torch.Generator, passes: int = 1
) -> Iterator[Tensor]:
    """Rows in a new order at every pass, in batches; a last one too small for a step is left out."""
    for _ in range(passes):
        for chosen in torch.randperm(len(rows), generator=generator).split(size):
            if len(chosen) > 1:
                yield rows[chosen]


@torch.no_grad()
def _average(averaged: nn.Module, live: nn.Module, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), live.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, now in zip(averaged.buffers(), live.buffers(), strict=True):
        kept.copy_(now)


def build(config: Config) -> BiGAN:
    return BiGAN(config)


def tiny() -> Config:
    return Config(
        dim=8, widths=(16, 8), latent=4, matched=8, epochs=2, batch_size=16, least_steps=0
    )
