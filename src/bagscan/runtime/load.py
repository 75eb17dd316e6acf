"""Load a model for use by the first runtime that is installed, in the order of their speed."""

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
    installed,
    read_graphs,
)

if TYPE_CHECKING:
    from bagscan.detector.exported import UsableDetector

AUTO, TORCH = "auto", "torch"
RUNTIMES = (*ENGINES, TORCH)  # the fastest first
VARIABLE = "BAGSCAN_RUNTIME"  # the same for every way in, and inherited by worker processes


def load_model(folder: str | Path, runtime: str | None = None, late: bool = False) -> UsableModel:
    """A model folder, ready to judge.

    Args:
        runtime: ``torch``, ``onnxruntime``, ``openvino`` or ``auto``, the fastest of those that are installed and that the
            folder holds graphs for; by default what the environment variable BAGSCAN_RUNTIME says, or ``auto``.
        late: load exported graphs when the model first judges, since of several models some may never.

    Raises:
        ConfigError: no such runtime. ModelError: the folder is altered, was not exported, or the runtime is not installed.
    """
    folder = Path(folder)
    name, graphs, identity = _chosen(folder, runtime)
    if read_description(folder)["model"].get("kind") == "detector":
        return _detector(folder, name, graphs, identity, late)
    if not graphs:
        from bagscan.model import Model

        return Model.load(folder).eval()
    from bagscan.runtime.exported import (
        CUTTING,
        ExportedModel,
    )  # late: what only asks for a runtime's name loads no kernel

    cutting = {key: graph for key, graph in graphs.items() if key in CUTTING}
    judging = {key: graph for key, graph in graphs.items() if key not in CUTTING}
    cutter, judge = (
        Late(OnnxRuntime.name, lambda: OnnxRuntime(cutting)),
        Late(name, lambda: Torch(folder) if name == TORCH else ENGINES[name](judging)),
    )
    model = ExportedModel(folder, identity, graphs, cutter, judge)
    if not late:
        for engine in (cutter, judge):
            engine.load()
    return model


def _detector(
    folder: Path, name: str, graphs: dict[str, bytes], identity: str, late: bool
) -> UsableDetector:
    from bagscan.detector.exported import UsableDetector

    def by_torch() -> Engine:
        from bagscan.detector.torch_engine import TorchEngine

        return TorchEngine.load(folder)

    engine = Late(name, by_torch if name == TORCH else lambda: ENGINES[name](graphs))
    if not late:
        engine.load()
    return UsableDetector(read_description(folder), identity, engine)


def chosen_runtime(folder: str | Path, runtime: str | None = None) -> str:
    """Name and version of what :func:`load_model` would take, for people; the same errors."""
    return _named(_chosen(Path(folder), runtime)[0])


def describe_runtime(folder: str | Path) -> str:
    """Return the name and version of the runtime, or the error message if none can be used."""
    try:
        return chosen_runtime(folder)
    except BagscanError as error:
        return f"nothing: {error}"


def _chosen(folder: Path, runtime: str | None) -> tuple[str, dict[str, bytes], str]:
    """A runtime's name, the graphs of a model folder, and its id, hashes checked."""
    runtime = runtime or os.environ.get(VARIABLE) or AUTO
    if runtime not in (AUTO, *RUNTIMES):
        raise ConfigError(f"no runtime {runtime!r}: {AUTO}, {', '.join(RUNTIMES)}")
    identity = verified_id(folder)
    graphs = read_graphs(folder)
    able = [
        name
        for name in RUNTIMES
        if runtime in (name, AUTO) and installed(name) and (graphs or name == TORCH)
    ]
    if not able:
        raise ModelError(_missing(folder, runtime, bool(graphs)))
    return able[0], graphs, identity


def _missing(folder: Path, runtime: str, exported: bool) -> str:
    if exported:
        return f"{runtime} is not installed: {'pip install onnxruntime' if runtime == 'onnxruntime' else how_to_install(extra_of(runtime))}"
    if runtime in ENGINES or installed(TORCH):
        return f"{folder}: was never exported; do so with: bagscan export onnx --model {folder}"
    return f"{folder}: was never exported, and torch is not installed: {how_to_install(extra_of(TORCH))}"


def runtime_of(model: UsableModel) -> str:
    """Name and version of what runs a model, for people."""
    return _named(model.runtime)


def _named(runtime: str) -> str:
    return f"{runtime} {installed(runtime)}"
