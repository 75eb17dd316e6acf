"""Colours of a scanner come from some of its scans, and others are compared."""

from pathlib import Path

import numpy as np
import pytest

from bagscan.core import View
from bagscan.datasets.record import Record
from bagscan.detector.colours import Colours, quantiles_of
from bagscan.detector.features import features_of
from bagscan.detector.inference import Options
from bagscan.detector.model import Detector
from bagscan.detector.network import NetworkConfig
from bagscan.formats.quantities import RGB
from bagscan.training import adapt as adapting
from experiments import adapted as script

SCANS = [Record(str(k), Path(f"{k}.png")) for k in range(5)]


def view(record):
    rng = np.random.default_rng(int(record.id))
    return View(rng.uniform(0, 0.8, (3, 64, 64)).astype(np.float32), RGB, "pseudo_colour")


def test_both_models_are_compared_on_the_same_other_scans(monkeypatch, tmp_path):
    config = NetworkConfig(backbone="test_efficientnet", pretrained=False, width=16)
    detector = Detector.new(config, ("powder", "phone", "pistol"), 1, 1, "colour", 1)
    detector.options = Options(
        colours=Colours(quantiles_of([np.random.default_rng(0).random((3, 9, 9))]))
    )
    detector.save(tmp_path)
    measured = []

    def measure(records, folder):
        scanner = Detector.load(folder).options.colours.scanner
        measured.append((scanner, [record.id for record in records]))
        return dict.fromkeys(script.FIGURES, 0.8 if scanner else 0.7)

    monkeypatch.setattr(script, "measure_model", measure)
    monkeypatch.setattr(script, "read_real", view)
    monkeypatch.setattr(script, "CHECKED", 1)
    monkeypatch.setattr(adapting, "MAX_LOSS", 2.0)
    result = script.compare(tmp_path, SCANS[:3], SCANS[3:])
    expected = quantiles_of(features_of(view(record)) for record in SCANS[1:3])
    assert measured == [(expected, ["3", "4"]), ((), ["3", "4"])]
    assert (result["auroc_before"], result["auroc"], result["scans"]) == (0.7, 0.8, 2)
    assert -1 <= result["agreement"] <= 1
    assert result["agreement"] != pytest.approx(result["agreement_before"], abs=1e-9)
