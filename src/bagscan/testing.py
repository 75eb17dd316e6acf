"""Checks of regioners, encoders, scorers, datasets, formats and simulated devices.

    from bagscan import testing
    import my_regioner

    def test_my_regioner():
        testing.check_regioner(my_regioner)

The argument is a module with ``Config``, ``build(config)``, ``tiny()`` (a fast configuration) and
``CARD``.
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
from torch import Tensor

from bagscan.association import Grid
from bagscan.contracts import Encoder, FittedScorer, Regioner, Scorer
from bagscan.core import Regions, View
from bagscan.core.errors import ReadError
from bagscan.datasets.record import check_annotations
from bagscan.datasets.source import Source
from bagscan.formats import read_view
from bagscan.formats.scans import ScanFormat, files_of
from bagscan.physics.materials import material
from bagscan.simulate.devices import Family, build_device, device_module
from bagscan.simulate.occupancy import audit

CARD = {"paper", "channels", "weights", "limits"}
HEIGHT, WIDTH = 48, 64
ROWS = 9
MAX_OVERLAP = 0.005  # share of a device's volume
FIT_ROWS = 40


def check_regioner(module: ModuleType, channels: int = 3) -> None:
    """Check that regions have the size of the view, are not empty, and are reproducible.

    A view of a single colour must also have regions, unless the regioner finds items.

    Args:
        module: module of the regioner.
        channels: channels of the view.

    Raises:
        AssertionError: a check fails.
    """
    regioner = _build_tiny(module, channels)
    assert isinstance(regioner, Regioner), (
        f"{module.__name__}.build must return a bagscan.contracts.Regioner"
    )
    view = synthetic_view(channels)
    regions = regioner.regions(view)
    assert isinstance(regions, Regions), "regions() must return bagscan.core.Regions"
    assert regions.shape == (HEIGHT, WIDTH), (
        f"regions have shape {regions.shape}, expected {(HEIGHT, WIDTH)} as the view"
    )
    assert regions.kind == regioner.kind, (
        f"regions have kind {regions.kind!r}, expected {regioner.kind!r} as the regioner"
    )
    assert regions.areas().min(initial=1) > 0, "a region is empty"
    assert np.array_equal(regions.labels, regioner.regions(view).labels), (
        "the same view was split in two different ways"
    )
    uniform = regioner.regions(synthetic_view(channels, seed=None))
    # A finder returns no regions if it finds no item.
    assert uniform.n >= 1 or regioner.finder is not None, "a view of one colour has no region"


@torch.no_grad()
def check_encoder(module: ModuleType, channels: int = 3) -> None:
    """Check that descriptions are (M, dim) float32 and independent of the rest of the batch.

    Args:
        module: module of the encoder.
        channels: channels of the images.

    Raises:
        AssertionError: a check fails.
    """
    encoder = _build_tiny(module, channels)
    assert isinstance(encoder, Encoder), (
        f"{module.__name__}.build must return a bagscan.contracts.Encoder"
    )
    torch.manual_seed(1)
    images = torch.randn(2, channels, HEIGHT, WIDTH)
    cells = (np.arange(HEIGHT)[:, None] // 12 * 4 + np.arange(WIDTH)[None] // 16).astype(np.int64)
    labels = torch.from_numpy(cells).expand(2, -1, -1).contiguous()
    embeddings = encoder(images, labels, torch.tensor([[0, 3], [1, 15], [1, 0]]))
    assert embeddings.shape == (3, encoder.dim), (
        f"descriptions have shape {tuple(embeddings.shape)}, expected {(3, encoder.dim)}"
    )
    assert embeddings.dtype == torch.float32, (
        f"descriptions have type {embeddings.dtype}, expected float32"
    )
    swapped = encoder(images.flip(0), labels, torch.tensor([[1, 3], [0, 15], [0, 0]]))
    assert torch.allclose(embeddings, swapped, atol=1e-4), (
        "descriptions depend on the order of the batch"
    )
    single = encoder(images[1:], labels[1:], torch.tensor([[0, 15], [0, 0]]))
    assert torch.allclose(embeddings[1:], single, atol=1e-4), (
        "descriptions depend on the other image"
    )
    assert encoder(images, labels, torch.zeros(0, 2, dtype=torch.long)).shape == (0, encoder.dim), (
        f"descriptions of 0 regions must have shape {(0, encoder.dim)}"
    )


def check_gradient(module: ModuleType) -> None:
    """Check that gradients of an encoder's descriptions reach the soft association.

    Raises:
        AssertionError: the gradient is missing or 0.
    """
    encoder = _build_tiny(module).train()
    grid = Grid.for_count(HEIGHT, WIDTH, 12)
    torch.manual_seed(2)
    raw = torch.randn(2, grid.rows, grid.cols, 9, grid.cell_h * grid.cell_w, requires_grad=True)
    embeddings = encoder(
        torch.randn(2, 3, HEIGHT, WIDTH),
        (raw.softmax(-2), grid),
        torch.tensor([[0, 1], [1, 5], [0, 7]]),
    )
    torch.autograd.backward(embeddings.square().sum())
    assert raw.grad is not None, "the gradient of the association is missing"
    assert raw.grad.abs().max() > 0, "the gradient of the association is 0"


def check_scorer(module: ModuleType) -> None:
    """Check that scores are (n,), in [0, 1], and independent of the order of rows.

    A fitted scorer is also fitted, standardised, and loaded again from its weights.

    Raises:
        AssertionError: a check fails.
    """
    scorer = _build_tiny(module)
    assert isinstance(scorer, Scorer), (
        f"{module.__name__}.build must return a bagscan.contracts.Scorer"
    )
    _check_scores(scorer)
    if not isinstance(scorer, FittedScorer):
        return
    assert scorer.trained is None or isinstance(scorer.trained, torch.nn.Module)
    torch.manual_seed(4)
    benign, held_out = torch.randn(2, FIT_ROWS, scorer.config.dim).tanh()  # in [-1, 1], as crops
    scorer.fit(benign, benign[:ROWS].sign(), seed=0)
    scorer.standardise(held_out)
    scores = _check_scores(scorer.eval())
    restored = module.build(scorer.config).eval()
    restored.load_state_dict(scorer.state_dict())
    assert torch.equal(_check_scores(restored), scores), "scores differ after loading the weights"


def _check_scores(scorer: Scorer) -> Tensor:
    torch.manual_seed(3)
    rows = torch.randn(ROWS, scorer.config.dim)
    with torch.no_grad():
        scores, order = scorer.score(rows), torch.randperm(ROWS)
        assert torch.allclose(scorer.score(rows[order]), scores[order], atol=1e-6), (
            "scores depend on the order of rows"
        )
    assert scores.shape == (ROWS,), f"scores have shape {tuple(scores.shape)}, expected {(ROWS,)}"
    assert bool(((scores >= 0) & (scores <= 1)).all()), "scores must be in [0, 1]"
    return scores


def check_dataset(source: Source) -> None:
    """Check that ids of records are unique, files can be read, and boxes lie on their images.

    Raises:
        AssertionError: a check fails.
    """
    records = source.load().records
    repeated = [name for name, n in Counter(record.id for record in records).items() if n > 1]
    assert not repeated, f"record ids are not unique: {repeated[:5]}"
    faults = []
    for record in records:
        try:
            check_annotations(record, *read_view(record.path).shape)
        except ReadError as error:
            faults.append(str(error))
    assert not faults, f"{len(faults)} records are faulty: " + "; ".join(faults[:5])


def check_format(read: ScanFormat, path: Path) -> None:
    """Check that a reader is reproducible and raises ReadError or ValueError for truncated files.

    Args:
        read: the reader.
        path: a valid file.

    Raises:
        AssertionError: a check fails.
    """
    first, second = read(path), read(path)
    views = first if isinstance(first, tuple) else (first,)
    repeated_views = second if isinstance(second, tuple) else (second,)
    assert views, "a reader must return at least one view"
    assert all(isinstance(view, View) for view in views), "a reader must return bagscan.core.View"
    names = [view.view_id for view in views]
    assert len(set(names)) == len(names), f"view_id is not unique in a file: {names}"
    pairs = zip(views, repeated_views, strict=True)
    equal = all(np.array_equal(view.pixels, repeated.pixels) for view, repeated in pairs)
    assert equal, "reading the same file twice returned different pixels"
    with tempfile.TemporaryDirectory() as folder:
        truncated = Path(folder) / path.name
        truncated.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        for file in files_of(path)[1:]:
            shutil.copy(file, folder)
        with suppress(ReadError, ValueError):
            read(truncated)
            raise AssertionError("a truncated file (one third) was read without an error")


def check_part(module: ModuleType) -> None:
    """Check that a module has a card and a frozen configuration, and that weights can be restored.

    Raises:
        AssertionError: a check fails.
    """
    assert set(module.CARD) >= CARD, f"CARD must have the keys {', '.join(sorted(CARD))}"
    config = module.tiny()
    assert dataclasses.is_dataclass(config), "Config must be a dataclass"
    settings: Any = config
    with suppress(dataclasses.FrozenInstanceError):
        settings.anything = 1
        raise AssertionError("Config must be frozen")
    original = _build_tiny(module)
    state = {key: value.clone() for key, value in original.state_dict().items()}
    torch.manual_seed(99)
    restored = module.build(original.config)
    restored.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in restored.state_dict().items()), (
        "weights differ after loading"
    )


def check_device(name: str) -> None:
    """Check a simulated device: layouts, dimensions, materials, closed solids and no overlaps.

    Args:
        name: one of :func:`bagscan.simulate.devices.names` or of the prohibited items.

    Raises:
        AssertionError: a check fails.
        ConfigError: the device or one of its materials is unknown.
    """
    module = device_module(name)
    assert len(module.LAYOUTS) >= 3, f"{name}: LAYOUTS must have at least 3 entries"
    assert len(module.DIMENSIONS) >= 10, f"{name}: DIMENSIONS must have at least 10 entries"
    for number, layout in enumerate(module.LAYOUTS):
        family = Family(name, layout, number)
        device, values = build_device(family, np.random.default_rng(number))
        assert set(values) == set(module.DIMENSIONS)
        overlap = audit(device).overlap_share
        assert overlap < MAX_OVERLAP, (
            f"{family.name}: {overlap:.1%} of its volume lies in two solids of the same parent"
        )
        for k in range(len(device)):
            material(device.material[k])
            solid = f"{family.name}: solid {k} ({device.material[k]})"
            assert device.mesh(k).watertight, f"{solid} is not closed"
            assert device.mesh(k).volume_mm3 > 0, f"{solid} has no volume"
            assert device.inside[k] < k, f"{solid} comes before the solid around it"


def synthetic_view(channels: int = 3, seed: int | None = 0) -> View:
    """Return a small view of noise, or of a single colour if ``seed`` is None."""
    pixels = np.full((channels, HEIGHT, WIDTH), 0.9, np.float32)
    if seed is not None:
        pixels *= np.random.default_rng(seed).random(pixels.shape, dtype=np.float32)
    return View(
        pixels,
        tuple(f"c{i}" for i in range(channels)),
        "pseudo_colour" if channels == 3 else "transmission",
    )


def _build_tiny(module: ModuleType, channels: int | None = None) -> Any:
    config = module.tiny()
    if channels and hasattr(config, "channels"):
        config = dataclasses.replace(config, channels=channels)
    torch.manual_seed(0)
    return module.build(config).eval()
