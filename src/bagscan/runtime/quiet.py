"""Runtimes, imported so that they keep nothing of whoever uses them and call nobody."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime without its event store: it would write a device id and events into the home folder, and look its maker up."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def import_openvino() -> ModuleType:
    """OpenVINO without ``openvino_telemetry``, which it does without where it is not installed."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails
    import openvino

    module: ModuleType = openvino
    return module
