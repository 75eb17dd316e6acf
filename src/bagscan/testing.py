"""Checks of a part against its contract, for our tests and for those of a part of your own.

    from bagscan import testing
    import my_regioner

    def test_my_regioner():
        testing.check_regioner(my_regioner)

A part is a module with ``Config``, ``build(config)``, ``tiny()`` (a configuration that is quick) and ``CARD``.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bagscan.association import Grid
from bagscan.contracts import Encoder, FittedScorer, Regioner, Scorer
from bagscan.core import Regions, View
from bagscan.core.errors import ReadError
from bagscan.datasets.source import Source
from bagscan.formats import read_view
from bagscan.formats.scans import ScanFormat, files_of

CARD = {"paper", "channels", "weights", "limits"}
HEIGHT, WIDTH = 48, 64
ROWS = 9


def check_regioner(module: ModuleType, channels: int = 3) -> None:
    """Regions of the view's size, none of them empty, the same every time; a view of one colour is taken.

    Raises:
        AssertionError: what is broken.
    """
    regioner = _built(module, channels)
    assert isinstance(regioner, Regioner), (
        f"{module.__name__}.build gives no bagscan.contracts.Regioner"
    )
    view = drawn_view(channels)
    found = regioner.regions(view)
    assert isinstance(found, Regions), "regions() must give bagscan.core.Regions"
    assert found.shape == (HEIGHT, WIDTH), (
        f"regions are of {found.shape}, the view of {(HEIGHT, WIDTH)}"
    )
    assert found.kind == regioner.kind, (
        f"regions are of kind {found.kind!r}, the regioner of {regioner.kind!r}"
    )
    assert found.areas().min(initial=1) > 0, "a region is empty"
    assert np.array_equal(found.labels, regioner.regions(view).labels), (
        "the same view was cut in two ways"
    )
    flat = regioner.regions(drawn_view(channels, seed=None))
    # A detector may find nothing, and then there is nothing to cut up.
    assert flat.n >= 1 or regioner.finder is not None, "a view of one colour has no region"


@torch.no_grad()
def check_encoder(module: ModuleType, channels: int = 3) -> None:
    """(M, dim) float32 descriptions that do not depend on what else is in the batch; none asked for, none given.

    Raises:
        AssertionError: what is broken.
    """
    encoder = _built(module, channels)
    assert isinstance(encoder, Encoder), (
        f"{module.__name__}.build gives no bagscan.contracts.Encoder"
    )
    torch.manual_seed(1)
    images = torch.randn(2, channels, HEIGHT, WIDTH)
    labels = (
        torch.from_numpy(
            (np.arange(HEIGHT)[:, None] // 12 * 4 + np.arange(WIDTH)[None] // 16).astype(np.int64)
        )
        .expand(2, -1, -1)
        .contiguous()
    )
    found = encoder(images, labels, torch.tensor([[0, 3], [1, 15], [1, 0]]))
    assert found.shape == (3, encoder.dim), (
        f"descriptions are {tuple(found.shape)}, expected {(3, encoder.dim)}"
    )
    assert found.dtype == torch.float32, f"descriptions are {found.dtype}"
    swapped = encoder(images.flip(0), labels, torch.tensor([[1, 3], [0, 15], [0, 0]]))
    assert torch.allclose(found, swapped, atol=1e-4), (
        "descriptions depend on the order of the batch"
    )
    alone = encoder(images[1:], labels[1:], torch.tensor([[0, 15], [0, 0]]))
    assert torch.allclose(found[1:], alone, atol=1e-4), "descriptions depend on the other image"
    assert encoder(images, labels, torch.zeros(0, 2, dtype=torch.long)).shape == (0, encoder.dim), (
        "no region asked for, and something given"
    )


def check_gradient(module: ModuleType) -> None:
    """The gradient of an encoder's descriptions reaches the soft association.

    Raises:
        AssertionError: it does not.
    """
    encoder = _built(module).train()
    grid = Grid.for_count(HEIGHT, WIDTH, 12)
    torch.manual_seed(2)
    raw = torch.randn(2, grid.rows, grid.cols, 9, grid.cell_h * grid.cell_w, requires_grad=True)
    described = encoder(
        torch.randn(2, 3, HEIGHT, WIDTH),
        (raw.softmax(-2), grid),
        torch.tensor([[0, 1], [1, 5], [0, 7]]),
    )
    torch.autograd.backward(described.square().sum())
    assert raw.grad is not None, "no gradient reaches the association"
    assert raw.grad.abs().max() > 0, "no gradient reaches the association"


def check_scorer(module: ModuleType) -> None:
    """(n,) scores in [0, 1], of every row by itself; one that is fitted puts what is strange above what is not.

    Raises:
        AssertionError: what is broken.
    """
    scorer = _built(module)
    assert isinstance(scorer, Scorer), f"{module.__name__}.build gives no bagscan.contracts.Scorer"
    torch.manual_seed(3)
    rows = torch.randn(ROWS, scorer.config.dim)
    with torch.no_grad():
        scores, order = scorer.score(rows), torch.randperm(ROWS)
        assert torch.allclose(scorer.score(rows[order]), scores[order], atol=1e-6), (
            "scores depend on the order of rows"
        )
    assert scores.shape == (ROWS,), f"scores are {tuple(scores.shape)}, expected {(ROWS,)}"
    assert bool(((scores >= 0) & (scores <= 1)).all()), "scores leave [0, 1]"
    assert (
        not isinstance(scorer, FittedScorer)
        or scorer.trained is None
        or isinstance(scorer.trained, torch.nn.Module)
    )


def check_dataset(source: Source) -> None:
    """Records whose ids are unique, whose files can be read, and whose boxes lie on their pictures.

    Raises:
        AssertionError: what is broken.
    """
    records = source.load().records
    repeated = [name for name, n in Counter(record.id for record in records).items() if n > 1]
    assert not repeated, f"ids repeat: {repeated[:5]}"
    for record in records:
        height, width = (
            read_view(record.path).shape
            if record.window is None
            else (record.window[3] - record.window[1], record.window[2] - record.window[0])
        )
        for annotation in record.annotations:
            x1, y1, x2, y2 = annotation.box_xyxy
            seen = min(x2, width) > max(x1, 0), min(y2, height) > max(y1, 0)
            assert all(seen), (
                f"{record.id}: {annotation.label} at {annotation.box_xyxy} lies off its {width}x{height} picture"
            )


def check_format(read: ScanFormat, path: Path) -> None:
    """The same view every time, and an error of the right kind for a file that was cut off.

    Args:
        path: of a file that can be read.

    Raises:
        AssertionError: what is broken.
    """
    first, again = read(path), read(path)
    views, same = (found if isinstance(found, tuple) else (found,) for found in (first, again))
    assert views, "a reader must give a view"
    assert all(isinstance(view, View) for view in views), "a reader must give bagscan.core.View"
    names = [view.view_id for view in views]
    assert len(set(names)) == len(names), f"views of a file repeat a view_id: {names}"
    pairs = zip(views, same, strict=True)
    equal = all(np.array_equal(one.pixels, other.pixels) for one, other in pairs)
    assert equal, "the same file was read in two ways"
    with tempfile.TemporaryDirectory() as folder:
        torn = Path(folder) / path.name
        torn.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        for beside in files_of(path)[1:]:
            shutil.copy(beside, folder)
        with suppress(ReadError, ValueError):
            read(torn)
            raise AssertionError("a third of the file was read as a whole one")


def check_part(module: ModuleType) -> None:
    """A card that says what it is, a frozen configuration, and weights that come back as they were stored.

    Raises:
        AssertionError: what is broken.
    """
    assert set(module.CARD) >= CARD, f"CARD must tell {', '.join(sorted(CARD))}"
    config = module.tiny()
    assert dataclasses.is_dataclass(config), "Config must be a dataclass"
    settings: Any = config
    with suppress(dataclasses.FrozenInstanceError):
        settings.anything = 1
        raise AssertionError("Config must be frozen")
    one = _built(module)
    state = {key: value.clone() for key, value in one.state_dict().items()}
    torch.manual_seed(99)
    other = module.build(one.config)
    other.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items()), (
        "weights did not come back"
    )


def drawn_view(channels: int = 3, seed: int | None = 0) -> View:
    """A small view of noise; of one colour where ``seed`` is None."""
    pixels = np.full((channels, HEIGHT, WIDTH), 0.9, np.float32)
    if seed is not None:
        pixels *= np.random.default_rng(seed).random(pixels.shape, dtype=np.float32)
    return View(
        pixels,
        tuple(f"c{i}" for i in range(channels)),
        "pseudo_colour" if channels == 3 else "transmission",
    )


def _built(module: ModuleType, channels: int | None = None) -> Any:
    config = module.tiny()
    if channels and hasattr(config, "channels"):
        config = dataclasses.replace(config, channels=channels)
    torch.manual_seed(0)
    return module.build(config).eval()
