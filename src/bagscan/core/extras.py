"""What to install where a package is lacking."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import unquote, urlparse

from bagscan.core.errors import BagscanError

# Packages that an extra other than train brings.
EXTRAS = {
    **dict.fromkeys(
        (
            "fastapi",
            "uvicorn",
            "sqlalchemy",
            "alembic",
            "argon2",
            "cryptography",
            "httpx",
            "prometheus_client",
            "multipart",
            "python_multipart",
        ),
        "service",
    ),
    **dict.fromkeys(("fsspec", "s3fs"), "storage"),
    **{
        "pyarrow": "batch",
        "ray": "cluster",
        "onnx": "export",
        "openvino": "openvino",
        "matplotlib": "benchmark",
        "psycopg": "postgresql",
        "pydicom": "dicos",
        "h5py": "hdf5",
    },
}


def extra_of(package: str) -> str:
    """The extra of bagscan that brings a package."""
    return EXTRAS.get(package, "train")


def required(package: str) -> Any:
    """Import an optional package.

    Raises:
        BagscanError: the package is not installed; the message is the line that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = (error.name or package).partition(".")[0]
        install = how_to_install(extra_of(name))
        raise BagscanError(f"the package {name} is not installed: {install}") from error


def how_to_install(extra: str) -> str:
    """The line that installs an extra, from where bagscan itself was installed: a clone, a repository, or by name."""
    origin = _origin()
    what, editable = f"bagscan[{extra}]", ""
    if "vcs_info" in origin:
        what += f" @ {origin['vcs_info']['vcs']}+{origin['url']}"
    elif "dir_info" in origin:
        what = f"{_path_of(origin)}[{extra}]"
        editable = "-e " if origin["dir_info"].get("editable") else ""
    return f"pip install {editable}{quote(what)}"


def or_make_setup(extra: str) -> str:
    """Of a clone, the other way to an extra: its own environment, which brings all but the cluster's; empty elsewhere."""
    origin = _origin()
    clone = Path(_path_of(origin))
    if (
        extra == "cluster"
        or not origin.get("dir_info", {}).get("editable")
        or not (clone / "Makefile").is_file()
    ):
        return ""
    return f"; or make setup in {clone}, which brings all of it into {clone / '.venv'}"


def _path_of(origin: dict[str, Any]) -> str:
    return unquote(urlparse(origin.get("url", "")).path)


def _origin() -> dict[str, Any]:
    try:
        result = distribution("bagscan").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(result) if result else {}
    return found
