"""What a model folder is, without loading it: hashes, identity, description. No torch.

The folder holds ``weights.safetensors``, ``model.json``, ``MODEL_CARD.md``, ``SHA256SUMS`` and, once exported, the
same networks as ``*.onnx`` (:mod:`bagscan.runtime`).
Nothing in it is ever pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bagscan.config import fill
from bagscan.core import OperatingPoint
from bagscan.core.calibrated import UNCALIBRATED
from bagscan.core.errors import ConfigError, ModelError, absent
from bagscan.core.files import atomic_write

FORMAT = 1
SHIPPED = (
    Path(__file__).parent / "shipped"
)  # models that come with the package, trained on simulated scans alone
HASHED = ("weights.safetensors", "model.json", "MODEL_CARD.md")
MANIFEST = "SHA256SUMS"
DESCRIBED = ("model", "operating_point", "about")
RETIRED = ("trainable",)
GRAPHS = (
    "both_views.onnx",
    "items.onnx",
    "learned.onnx",
    "maps.onnx",
    "score.onnx",
    "verdict.onnx",
)  # those of them that a model needs, once it is exported


def shipped_models() -> list[Path]:
    """Folders of the models that come with the package, by name."""
    return sorted(path.parent for path in SHIPPED.glob("*/model.json"))


def model_named(text: str) -> Path:
    """A model folder by its path, or by the name of one that comes with the package."""
    return (
        SHIPPED / text
        if text in {path.name for path in shipped_models()} and not Path(text).exists()
        else Path(text)
    )


def write_files(folder: Path, contents: Mapping[str, bytes], keep_graphs: bool = True) -> str:
    """Write files of a model folder and its manifest; returns the model's id.

    All are written beside the old ones before the first takes its place, the manifest last: a full disk or a kill leaves the
    model that was there.

    Args:
        contents: by name; other files of the folder stay. keep_graphs: False where exported graphs are of other networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staying = [
        name for name in (*HASHED, *GRAPHS) if name not in contents and (folder / name).is_file()
    ]
    stale = [] if keep_graphs else [name for name in staying if name in GRAPHS]
    with ExitStack() as put_in_place:  # last in, first out
        manifest = put_in_place.enter_context(atomic_write(folder / MANIFEST))
        sums = {name: _sha256(folder / name) for name in staying if name not in stale}
        for name, content in contents.items():
            put_in_place.enter_context(atomic_write(folder / name)).write_bytes(content)
            sums[name] = hashlib.sha256(content).hexdigest()
        manifest.write_text(
            "".join(f"{sums[name]}  {name}\n" for name in (*HASHED, *GRAPHS) if name in sums)
        )
        for name in stale:
            (folder / name).unlink()
    return _identity(sums)


def graphs_in(folder: Path) -> list[str]:
    """Names of the exported graphs of a model folder; none where it was never exported."""
    return [name for name in GRAPHS if (folder / name).is_file()]


def verified_id(folder: str | Path) -> str:
    """The id of a model folder, the hash of weights, description and graphs, after checking every file's hash.

    Raises:
        ModelError: a file is missing or altered, or the folder is none of a model.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        if not folder.exists():
            raise ModelError(
                f"{absent(folder, 'folder')}; the bundled models are named {' and '.join(path.name for path in shipped_models())}"
            )
        below = folder / "model"  # where a run keeps its model
        hint = (
            f"{below} is one"
            if (below / MANIFEST).is_file()
            else "train one with: bagscan train CONFIG"
        )
        raise ModelError(f"{folder}: not a model folder (no {MANIFEST}); {hint}")
    sums = {}
    for line in manifest.read_text(errors="replace").splitlines():
        digest, found, name = line.partition("  ")
        if not found or Path(name).name != name:
            raise ModelError(f"{manifest}: not a list of hashes and file names")
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing")
        if _sha256(folder / name) != digest:
            raise ModelError(f"{folder}: {name} was altered: its hash is not the one in {MANIFEST}")
        sums[name] = digest
    needed = {"weights.safetensors", "model.json", *graphs_in(folder)}
    if not needed <= set(sums):
        raise ModelError(
            f"{folder}: {MANIFEST} does not cover {', '.join(sorted(needed - set(sums)))}"
        )
    return _identity(sums)


def read_description(folder: str | Path) -> dict[str, Any]:
    """``model.json`` of a folder.

    Raises:
        ModelError: it is no description, or one of another format.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "model.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder}: model.json cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        result = description.get("format") if isinstance(description, dict) else None
        raise ModelError(f"{folder}: model format {result}, this bagscan reads {FORMAT}")
    lacking = [key for key in DESCRIBED if key not in description]
    if lacking or not isinstance(description["about"], dict):
        raise ModelError(
            f"{folder}: model.json lacks {', '.join(lacking) or 'a mapping of what it is about'}"
        )
    description["model"] = _without_retired(description["model"])
    return description


def _without_retired(settings: Any) -> Any:
    """Settings without those that older versions wrote and nothing reads any more."""
    if not isinstance(settings, dict):
        return settings
    return {key: _without_retired(value) for key, value in settings.items() if key not in RETIRED}


def operating_point_of(description: dict[str, Any]) -> OperatingPoint | None:
    """The operating point that a description tells of; None where none was chosen yet.

    Raises:
        ModelError: it is none, or one that no score can reach or that every score does.
    """
    point = description["operating_point"]
    if not point:
        return None
    try:
        found = fill(OperatingPoint, point, "model.json: operating_point")
    except (ConfigError, AttributeError) as error:
        raise ModelError(str(error)) from error
    if not 0 <= found.threshold < 1:
        raise ModelError(
            f"model.json: a threshold of {found.threshold} flags nothing, or everything: scores lie between 0 and 1"
        )
    return found


def calibration_of(description: dict[str, Any]) -> tuple[float, float]:
    """Slope and offset of calibrated scores; those of older folders are uncalibrated.

    Raises:
        ModelError: they are no line that rises.
    """
    result = description.get("calibration", UNCALIBRATED)
    if (
        not isinstance(result, list | tuple)
        or len(result) != 2
        or not all(isinstance(v, int | float) and math.isfinite(v) for v in result)
        or result[0] <= 0
    ):
        raise ModelError(
            f"model.json: calibration must be a slope above 0 and an offset, got {result!r}"
        )
    return float(result[0]), float(result[1])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _identity(sums: dict[str, str]) -> str:
    """Of all that runs: weights, description and graphs. An exported model is another one, so that its graphs are pinned too."""
    parts = [
        sums["weights.safetensors"],
        sums["model.json"],
        *(sums[name] for name in GRAPHS if name in sums),
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
