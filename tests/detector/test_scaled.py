"""Maps of views that the network sees at another size lie where they would have lain."""

import numpy as np
import pytest

from bagscan.detector.features import round_up
from bagscan.detector.inference import Options
from bagscan.detector.inference import run_detector as run
from bagscan.detector.scaled import ScaledEngine, _interpolate
from bagscan.detector.torch_engine import TorchEngine
from tests.detector.test_mirrored import bag, detector  # noqa: F401 (fixture)


class Means:
    """Network whose maps are means over blocks of its input, at strides of 8 and 32 pixels."""

    name = "means"

    def __init__(self):
        self.seen = []

    def run(self, graph, inputs):
        if graph != "maps":
            return {"logit": np.zeros(1)}
        features = inputs["features"]
        self.seen.append(features.shape)
        b, c, h, w = features.shape
        return {
            name: features.reshape(b, c, h // s, s, w // s, s).mean((3, 5))
            for name, s in (("fine", 8), ("coarse", 32))
        }


def waves(height, width):
    """(1, 2, H, W) features that rise along the rows, and along the columns."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([np.sin(rows / 120), np.cos(columns / 100)])[None]


@pytest.mark.parametrize("scale", [0.5, 0.63, 0.8, 1.25])
def test_maps_lie_where_they_would_have_lain(scale):
    engine, features = Means(), waves(384, 448)
    plain = engine.run("maps", {"features": features})
    scaled = ScaledEngine(engine, scale).run("maps", {"features": features})
    assert engine.seen[1] == (1, 2, round_up(round(384 * scale)), round_up(round(448 * scale)))
    for name, expected in plain.items():
        assert scaled[name].shape == expected.shape
        assert scaled[name].dtype == np.float32
        # The outermost cells hold some of the air around the view.
        inside = np.abs(scaled[name] - expected)[..., 1:-2, 1:-2]
        assert inside.max() < (0.01 if name == "fine" else 0.06), name


def test_other_networks_get_their_inputs_unchanged():
    assert ScaledEngine(Means(), 0.5).run("verdict", {}) == {"logit": np.zeros(1)}


def test_known_values_between_centres_of_cells():
    cells = np.array([[[0.0, 4.0, 9.0]]], np.float32)
    assert _interpolate(cells, (1, 3), (1, 3)).tolist() == cells.tolist()
    # Two cells show the view, each becomes two; the third lies beside it.
    assert _interpolate(cells, (1, 4), (1, 2)).ravel().tolist() == pytest.approx([0, 1, 3, 5.25])


def test_a_detector_finds_the_same_regions_at_another_size(detector):  # noqa: F811
    plain, same, smaller = (
        run(bag(), TorchEngine(detector), detector.numbers, False, Options(scale=scale))
        for scale in (1.0, 1.0, 0.5)
    )
    for one, two, other in zip(plain.views, same.views, smaller.views, strict=True):
        assert np.array_equal(one.region_logits, two.region_logits)
        assert np.array_equal(one.regions.labels, other.regions.labels)
        assert one.anomaly.shape == other.anomaly.shape
        assert not np.array_equal(one.region_logits, other.region_logits)
