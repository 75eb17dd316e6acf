"""Loading of models for inference in the fastest runtime that is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bagscan.core.errors import BagscanError, ConfigError, ModelError
from bagscan.core.extras import extra_of, how_to_install
from bagscan.examining import UsableModel
from bagscan.model_folder import read_description, verified_id
from bagscan.runtime.engines import (
    ENGINES,
    Engine,
    Late,
    OnnxRuntime,
    Torch,
    installed_version,
    read_graphs,
)

if TYPE_CHECKING:
    from bagscan.detector.exported import UsableDetector

AUTO, TORCH = "auto", "torch"
RUNTIMES = (*ENGINES, TORCH)  # fastest first
VARIABLE = "BAGSCAN_RUNTIME"  # an environment variable, since worker processes inherit it


def load_model(folder: str | Path, runtime: str | None = None, lazy: bool = False) -> UsableModel:
    """Load a model folder for inference.

    Args:
        folder: model folder.
        runtime: ``torch``, ``onnxruntime``, ``openvino`` or ``auto``: the fastest runtime that is
            installed and that the folder has graphs for. Defaults to the environment variable
            BAGSCAN_RUNTIME, or ``auto``.
        lazy: load exported graphs at the first inference. This saves time if some of several
            models are never used.

    Raises:
        ConfigError: if the runtime is unknown.
        ModelError: if the folder is altered or not exported, or the runtime is not installed.
    """
    folder = Path(folder)
    name, graphs, identity = _choose_runtime(folder, runtime)
    if read_description(folder)["model"].get("kind") == "detector":
        return _detector_of(folder, name, graphs, identity, lazy)
    if not graphs:
        from bagscan.model import Model

        return Model.load(folder).eval()
    # Imported here, so that asking for a runtime's name stays fast.
    from bagscan.runtime.exported import CUTTING, ExportedModel

    segmentation_graphs = {key: graph for key, graph in graphs.items() if key in CUTTING}
    scoring_graphs = {key: graph for key, graph in graphs.items() if key not in CUTTING}

    def create_scoring_engine() -> Engine:
        return Torch(folder) if name == TORCH else ENGINES[name](scoring_graphs)

    segmentation = Late(OnnxRuntime.name, lambda: OnnxRuntime(segmentation_graphs))
    scoring = Late(name, create_scoring_engine)
    model = ExportedModel(folder, identity, graphs, segmentation, scoring)
    if not lazy:
        for engine in (segmentation, scoring):
            engine.load()
    return model


def load_detector(folder: str | Path, runtime: str | None = None) -> UsableDetector:
    """Load the model folder of a detector for inference; see :func:`load_model`.

    Raises:
        ConfigError: as :func:`load_model`.
        ModelError: as :func:`load_model`, or if the model is not a detector.
    """
    from bagscan.detector.exported import UsableDetector

    model = load_model(folder, runtime)
    if not isinstance(model, UsableDetector):
        raise ModelError(f"{folder}: not a detector")
    return model


def _detector_of(
    folder: Path, name: str, graphs: dict[str, bytes], identity: str, lazy: bool
) -> UsableDetector:
    from bagscan.detector.exported import UsableDetector

    def load_torch() -> Engine:
        from bagscan.detector.torch_engine import TorchEngine

        return TorchEngine.load(folder)

    engine = Late(name, load_torch if name == TORCH else lambda: ENGINES[name](graphs))
    if not lazy:
        engine.load()
    return UsableDetector(read_description(folder), identity, engine)


def chosen_runtime(folder: str | Path, runtime: str | None = None) -> str:
    """Return name and version of the runtime that :func:`load_model` would use.

    Raises:
        ConfigError: as :func:`load_model`.
        ModelError: as :func:`load_model`.
    """
    return _add_version(_choose_runtime(Path(folder), runtime)[0])


def describe_runtime(folder: str | Path) -> str:
    """Return the name and version of the runtime, or the error message if none can be used."""
    try:
        return chosen_runtime(folder)
    except BagscanError as error:
        return f"not available: {error}"


def _choose_runtime(folder: Path, runtime: str | None) -> tuple[str, dict[str, bytes], str]:
    """Return a runtime's name, and the graphs and id of a model folder after checking hashes."""
    runtime = runtime or os.environ.get(VARIABLE) or AUTO
    if runtime not in (AUTO, *RUNTIMES):
        raise ConfigError(
            f"unknown runtime {runtime!r}; expected {AUTO}, {', '.join(RUNTIMES[:-1])} "
            f"or {RUNTIMES[-1]}"
        )
    identity = verified_id(folder)
    graphs = read_graphs(folder)
    candidates = [
        name
        for name in RUNTIMES
        if runtime in (name, AUTO) and installed_version(name) and (graphs or name == TORCH)
    ]
    if not candidates:
        raise ModelError(_explain_missing(folder, runtime, bool(graphs)))
    return candidates[0], graphs, identity


def _explain_missing(folder: Path, runtime: str, is_exported: bool) -> str:
    if is_exported:
        if runtime == "onnxruntime":
            return f"{runtime} is not installed: pip install onnxruntime"
        return f"{runtime} is not installed: {how_to_install(extra_of(runtime))}"
    if runtime in ENGINES or installed_version(TORCH):
        return f"{folder}: model was never exported; run: bagscan export onnx --model {folder}"
    return (
        f"{folder}: model was never exported, and torch is not installed: "
        f"{how_to_install(extra_of(TORCH))}"
    )


def runtime_of(model: UsableModel) -> str:
    """Return name and version of the runtime of a model."""
    return _add_version(model.runtime)


def _add_version(runtime: str) -> str:
    return f"{runtime} {installed_version(runtime)}"
