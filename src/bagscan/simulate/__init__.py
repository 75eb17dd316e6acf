"""Simulated dual-energy scanner: renders scenes of solids to raw scans, masks and ground truth."""

from pathlib import Path

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Return the names of the bundled presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))
