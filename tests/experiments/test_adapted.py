"""Adaptation to real scanners: halves apart, and refusals."""

from pathlib import Path

import pytest

from bagscan.core.errors import DataError
from bagscan.datasets.record import Record
from bagscan.training import adapt as adapting
from experiments import adapted as script

SCANS = [Record(str(k), Path(f"{k}.png")) for k in range(4)]


@pytest.fixture
def measured(monkeypatch):
    """Figures by folder; the adapted model ranks better."""
    seen = []

    def measure(records, folder):
        seen.append((folder.name, [record.path for record in records]))
        return dict.fromkeys(script.FIGURES, 0.8 if folder.name == "model" else 0.7)

    monkeypatch.setattr(script, "measure_model", measure)
    return seen


def test_both_models_are_compared_on_the_same_other_scans(measured, monkeypatch):
    used = []

    def adapt(folder, archive, out):
        used.extend(archive)
        return adapting.Adaptation(1, 1, 0.95, 0.9, colours=True)

    monkeypatch.setattr(adapting, "adapt", adapt)
    result = script.compare(Path("detector"), SCANS[:2], SCANS[2:])
    assert used == [record.path for record in SCANS[:2]]
    compared = [record.path for record in SCANS[2:]]
    assert measured == [("model", compared), ("detector", compared)]
    assert (result["auroc_before"], result["auroc"]) == (0.7, 0.8)
    assert (result["refused"], result["colours"]) == (False, True)


def test_a_refused_adaptation_has_no_figures_after(measured, monkeypatch):
    def adapt(folder, archive, out):
        raise DataError("no better")

    monkeypatch.setattr(adapting, "adapt", adapt)
    result = script.compare(Path("detector"), SCANS[:2], SCANS[2:])
    assert [name for name, _ in measured] == ["detector"]
    assert result["refused"]
    assert result["auroc_before"] == 0.7
    assert "auroc" not in result
