"""Files, hashes, id and description of model folders. Does not import torch.

A model folder contains ``weights.safetensors``, ``model.json``, ``MODEL_CARD.md`` and
``SHA256SUMS``. After export it also contains the networks as ``*.onnx`` (:mod:`bagscan.runtime`).
No file is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bagscan import registry
from bagscan.config import fill
from bagscan.core import OperatingPoint
from bagscan.core.calibrated import UNCALIBRATED
from bagscan.core.errors import ConfigError, ModelError, absent
from bagscan.core.files import atomic_write

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"  # bundled models, trained on simulated scans only
DEFAULTS = ("prohibited", "raw")  # bundled models that screen scans by default
HASHED = ("weights.safetensors", "model.json", "MODEL_CARD.md")
MANIFEST = "SHA256SUMS"
DESCRIBED = ("model", "operating_point", "about")
RETIRED = ("trainable",)
THRESHOLDS_WARNING = "warning about thresholds"  # until others are chosen
WARNINGS = ("warning", THRESHOLDS_WARNING)  # entries of a card that users must read
PARTS = {"regions": "regioner", "encoders": "encoder", "scorers": "scorer"}
GRAPHS = (
    "both_views.onnx",
    "items.onnx",
    "learned.onnx",
    "maps.onnx",
    "score.onnx",
    "verdict.onnx",
)  # an exported model has those that it needs


def shipped_models() -> list[Path]:
    """Return the folders of the bundled models: those of ``DEFAULTS`` first, then by name.

    The first one that takes the channels of a scan screens it by default.
    """
    folders = (path.parent for path in SHIPPED.glob("*/model.json"))
    return sorted(folders, key=lambda folder: (folder.name not in DEFAULTS, folder.name))


def locate_model(text: str) -> Path:
    """Return a model folder from its path or from the name of a bundled model.

    An existing path takes precedence.
    """
    is_bundled = text in {path.name for path in shipped_models()} and not Path(text).exists()
    return SHIPPED / text if is_bundled else Path(text)


def warning_of(about: Mapping[str, Any]) -> str:
    """Return what users must know before they rely on a model, from its card; often empty."""
    return "; ".join(str(about[key]) for key in WARNINGS if about.get(key))


def write_files(folder: Path, contents: Mapping[str, bytes], keep_graphs: bool = True) -> str:
    """Write files of a model folder and its manifest.

    All temporary files are written before the first old file is replaced, and the manifest is
    replaced last. If the disk is full or the process is killed, the old model remains.

    Args:
        folder: the model folder.
        contents: contents by file name; other files of the folder are kept.
        keep_graphs: False to delete exported graphs, because they belong to other networks.

    Returns:
        The id of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = [
        name for name in (*HASHED, *GRAPHS) if name not in contents and (folder / name).is_file()
    ]
    stale = [] if keep_graphs else [name for name in kept if name in GRAPHS]
    with ExitStack() as replacements:  # last in, first out
        manifest = replacements.enter_context(atomic_write(folder / MANIFEST))
        sums = {name: _sha256(folder / name) for name in kept if name not in stale}
        for name, content in contents.items():
            replacements.enter_context(atomic_write(folder / name)).write_bytes(content)
            sums[name] = hashlib.sha256(content).hexdigest()
        manifest.write_text(
            "".join(f"{sums[name]}  {name}\n" for name in (*HASHED, *GRAPHS) if name in sums)
        )
        for name in stale:
            (folder / name).unlink()
    return _model_id(sums)


def has_same_networks(folder: Path, contents: Mapping[str, bytes]) -> bool:
    """Return True if weights and settings in the folder are the same, so that graphs are valid."""
    try:
        weights = (folder / "weights.safetensors").read_bytes()
        old, new = (
            json.loads(text)["model"]
            for text in ((folder / "model.json").read_bytes(), contents["model.json"])
        )
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged files
        return False
    return weights == contents["weights.safetensors"] and bool(old == new)


def graphs_in(folder: Path) -> list[str]:
    """Return the names of the exported graphs in a model folder."""
    return [name for name in GRAPHS if (folder / name).is_file()]


def verified_id(folder: str | Path) -> str:
    """Check the hashes of all files of a model folder and return its id.

    The id is the hash of weights, description and graphs.

    Raises:
        ModelError: not a model folder, or a file is missing or altered.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        if not folder.exists():
            names = ", ".join(path.name for path in shipped_models())
            raise ModelError(f"{absent(folder, 'folder')}; the bundled models are named {names}")
        hint = "train a model with: bagscan train CONFIG"
        subfolder = folder / "model"  # the model folder of a training run
        if (subfolder / MANIFEST).is_file():
            hint = f"use {subfolder}"
        raise ModelError(f"{folder}: not a model folder ({MANIFEST} is missing); {hint}")
    sums = {}
    for line in manifest.read_text(errors="replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or Path(name).name != name:
            raise ModelError(f"{manifest}: not a list of hashes and file names")
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing")
        if _sha256(folder / name) != digest:
            raise ModelError(f"{folder}: {name} was altered: its hash differs from {MANIFEST}")
        sums[name] = digest
    needed = {"weights.safetensors", "model.json", *graphs_in(folder)}
    if not needed <= set(sums):
        unlisted = ", ".join(sorted(needed - set(sums)))
        raise ModelError(f"{folder}: {MANIFEST} does not list {unlisted}")
    return _model_id(sums)


def read_description(folder: str | Path) -> dict[str, Any]:
    """Read ``model.json`` of a model folder.

    Raises:
        ModelError: the file is missing, damaged, or of another format version.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "model.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder}: model.json cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("format") if isinstance(description, dict) else None
        raise ModelError(f"{folder}: model format is {version}; this bagscan reads {FORMAT}")
    missing = [key for key in DESCRIBED if key not in description]
    if missing or not isinstance(description["about"], dict):
        problem = f"lacks {', '.join(missing)}" if missing else "needs a mapping in about"
        raise ModelError(f"{folder}: model.json {problem}")
    description["model"] = _remove_retired(description["model"])
    return description


def _remove_retired(settings: Any) -> Any:
    """Remove the settings of older versions that are not used any more."""
    if not isinstance(settings, dict):
        return settings
    return {key: _remove_retired(value) for key, value in settings.items() if key not in RETIRED}


def packages_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the package of each part of a model that bagscan does not provide, by kind."""
    return {
        kind: package
        for kind, part in PARTS.items()
        if (package := registry.package_of(kind, settings[part]["name"])) is not None
    }


def check_packages(folder: Path, description: Mapping[str, Any]) -> None:
    """Check that the packages of a model's parts are installed.

    Raises:
        ModelError: one is not.
    """
    packages = description.get("packages")
    if not isinstance(packages, dict):  # of an older folder, or damaged
        return
    for kind, part in PARTS.items():
        name = description["model"][part]["name"]
        if kind in packages and name not in registry.names(kind):
            raise ModelError(
                f"{folder}: {name!r} is a part of the package {packages[kind]}, which is not "
                "installed; install it to load the model"
            )


def operating_point_of(description: dict[str, Any]) -> OperatingPoint | None:
    """Return the operating point of a description, or None if it is not chosen yet.

    Raises:
        ModelError: the operating point is invalid, or its threshold is outside [0, 1).
    """
    settings = description["operating_point"]
    if not settings:
        return None
    try:
        point = fill(OperatingPoint, settings, "model.json: operating_point")
    except (ConfigError, AttributeError) as error:
        raise ModelError(str(error)) from error
    if not 0 <= point.threshold < 1:
        raise ModelError(
            f"model.json: threshold {point.threshold} flags no region or every region; "
            "expected a value in [0, 1)"
        )
    return point


def calibration_of(description: dict[str, Any]) -> tuple[float, float]:
    """Return slope and offset of the score calibration, ``UNCALIBRATED`` for older folders.

    Raises:
        ModelError: not two finite numbers, or the slope is not positive.
    """
    calibration = description.get("calibration", UNCALIBRATED)
    if (
        not isinstance(calibration, list | tuple)
        or len(calibration) != 2
        or not all(isinstance(v, int | float) and math.isfinite(v) for v in calibration)
        or calibration[0] <= 0
    ):
        raise ModelError(
            f"model.json: calibration must be a slope above 0 and an offset, got {calibration!r}"
        )
    return float(calibration[0]), float(calibration[1])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _model_id(sums: dict[str, str]) -> str:
    """Return the id: a hash of weights, description and graphs, which changes with export."""
    hashes = [
        sums["weights.safetensors"],
        sums["model.json"],
        *(sums[name] for name in GRAPHS if name in sums),
    ]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
