"""Engines that run exported graphs.

Each computes in 32 bits on a single thread, so that scores do not depend on the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bagscan.core.errors import ModelError
from bagscan.model_folder import graphs_in
from bagscan.runtime.graph_file import (
    WEIGHTS,
    refers_to_weights,
    refuse_external_data,
    with_weights,
)
from bagscan.runtime.quiet import import_onnxruntime, import_openvino


class Engine(Protocol):
    """Runner of named graphs on arrays."""

    name: str

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a graph by name.

        Raises:
            ModelError: if the graph does not take these inputs, or fails on them.
        """


class OnnxRuntime:
    """Engine of ONNX Runtime on the CPU.

    Args:
        graphs: content of the ONNX files by name.

    Raises:
        ModelError: if ONNX Runtime cannot load a graph.
    """

    name = "onnxruntime"

    def __init__(self, graphs: Mapping[str, bytes]) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # views differ in size
        options.log_severity_level = 3
        try:
            self._sessions = {
                name: onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
                for name, graph in graphs.items()
            }
        except Exception as error:  # the errors have no common base class
            raise ModelError(f"ONNX Runtime cannot load the exported graphs: {error}") from error

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a graph by name.

        Raises:
            ModelError: if the graph does not take these inputs, or fails on them.
        """
        session = self._sessions[graph]
        try:
            outputs = session.run(None, dict(inputs))
        except Exception as error:
            raise ModelError(f"{graph}.onnx: {error}") from error
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, outputs, strict=True))


class OpenVino:
    """Engine of OpenVINO on the CPU.

    Args:
        graphs: content of the ONNX files by name.

    Raises:
        ModelError: if OpenVINO cannot load a graph.
    """

    name = "openvino"
    # By default, OpenVINO computes in 16 bits where it can, and pins threads, so that several
    # processes would share a core.
    SETTINGS: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }

    def __init__(self, graphs: Mapping[str, bytes]) -> None:
        core = openvino_core()
        try:
            compiled = {
                name: core.compile_model(core.read_model(graph), "CPU", self.SETTINGS)
                for name, graph in graphs.items()
            }
        except Exception as error:
            raise ModelError(f"OpenVINO cannot load the exported graphs: {error}") from error
        self._graphs = graphs  # keeps the bytes alive, which OpenVINO may continue to read
        self._requests = {name: model.create_infer_request() for name, model in compiled.items()}

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a graph by name.

        Raises:
            ModelError: if the graph does not take these inputs, or fails on them.
        """
        try:
            outputs = self._requests[graph].infer(dict(inputs))
        except Exception as error:
            raise ModelError(f"{graph}.onnx: {error}") from error
        result: dict[str, np.ndarray] = {}
        for port, buffer in outputs.items():
            value = np.array(buffer)  # the next inference overwrites the buffer
            result |= dict.fromkeys(port.names, value)
        return result


_CORE_LOCK = threading.Lock()


def openvino_core() -> Any:
    """Return the single ``openvino.Core`` of this process, which is never released.

    OpenVINO gives the first thread that uses it a signal stack, and frees that memory with the
    core. If another thread releases the core, the first thread keeps a dangling pointer, and its
    next signal, such as a stop of the service, kills the process silently.
    """
    with _CORE_LOCK:
        return _create_core()


@cache
def _create_core() -> Any:
    return import_openvino().Core()


class Torch:
    """Engine of torch, the reference for all runtimes.

    It computes ``maps`` and ``score`` from the weights of a model folder instead of its graphs.

    Raises:
        ModelError: if the model folder cannot be loaded.
    """

    name = "torch"

    def __init__(self, folder: Path) -> None:
        from bagscan.model import Model

        self._model = Model.load(folder)

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of ``maps`` or ``score`` by name."""
        with self._model.inference_mode():
            if graph == "maps":
                return {graph: self._model.maps(inputs["pixels"])}
            return {"scores": self._model.score_means(inputs["means"])}


# Fastest first, see docs/performance.md.
ENGINES: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


class Late:
    """Engine that is created at its first use.

    Args:
        name: name of the runtime.
        make: creates the engine.
    """

    def __init__(self, name: str, make: Callable[[], Engine]) -> None:
        self.name, self._make = name, make
        self._engine: Engine | None = None

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a graph by name, see :class:`Engine`."""
        return self.load().run(graph, inputs)

    def load(self) -> Engine:
        """Create the engine if it does not exist yet, and return it."""
        self._engine = self._engine or self._make()
        return self._engine


def read_graphs(folder: Path) -> dict[str, bytes]:
    """Read the exported graphs of a model folder.

    Returns:
        Content of the ONNX files by name; empty if the model was never exported.

    Raises:
        ModelError: if a file is not an ONNX file, or refers to a file other than the folder's
            weights, which could be any file of the machine.
    """
    graphs = {
        name.removesuffix(".onnx"): (folder / name).read_bytes() for name in graphs_in(folder)
    }
    if any(map(refers_to_weights, graphs.values())):
        weights = (folder / WEIGHTS).read_bytes()
        graphs = {
            name: with_weights(graph, weights, f"{folder / name}.onnx")
            for name, graph in graphs.items()
        }
    for name, graph in graphs.items():
        refuse_external_data(graph, f"{folder / name}.onnx")
    return graphs


def installed_version(name: str) -> str | None:
    """Return the version of a runtime, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
