"""``bagscan doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from bagscan import __version__
from bagscan.cli.terminal import AsJson, show
from bagscan.core.extras import extra_of, how_to_install


def doctor(as_json: AsJson = False) -> None:
    """Show what is installed, and the available parts of a model.

    This includes the usable cores, the data folder, and the runtime of each bundled model. For a
    missing package, the command that installs it is shown.
    """
    from bagscan.core.machine import usable_cores
    from bagscan.datasets.record import data_folder
    from bagscan.model_folder import shipped_models
    from bagscan.registry import ALL, names
    from bagscan.runtime.load import describe_runtime
    from bagscan.simulate.devices import names as device_names

    packages = (
        "numpy",
        "torch",
        "torchvision",
        "timm",
        "scikit-image",
        "scikit-learn",
        "tifffile",
        "imagecodecs",
        "numba",
        "onnxruntime",
        "openvino",
        "onnx",
        "pyarrow",
        "fastapi",
        "ray",
        "s3fs",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = f"missing: {how_to_install(extra_of(package))}"
    folder = data_folder()
    result: dict[str, Any] = {
        "bagscan": __version__,
        "python": platform.python_version(),
        "cores": {"of the machine": os.cpu_count(), "usable": usable_cores()},
        "runtime": {path.name: describe_runtime(path) for path in shipped_models()},
        "packages": versions,
        "parts": {kind: names(kind) for kind in ALL} | {"devices": list(device_names())},
        "data_folder": f"{folder} ({'present' if folder.is_dir() else 'absent: set BAGSCAN_DATA'})",
    }

    def text() -> str:
        cores = result["cores"]
        rows = [
            f"bagscan {__version__}, Python {result['python']}, "
            f"{cores['usable']} of {cores['of the machine']} cores",
            f"data folder: {result['data_folder']}",
        ]
        rows += [f"model {name}: runs on {runtime}" for name, runtime in result["runtime"].items()]
        rows += [f"  {name}: {version}" for name, version in versions.items()]
        rows += [f"{kind}: {', '.join(found)}" for kind, found in result["parts"].items()]
        return "\n".join(rows)

    show(result, as_json, text)
