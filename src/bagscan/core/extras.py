"""Optional dependencies: import them, or say how to install them."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import unquote, urlparse

from bagscan.core.errors import BagscanError

# Packages of all extras except train.
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
        "matplotlib": "experiments",
        "psycopg": "postgresql",
        "pydicom": "dicos",
        "h5py": "hdf5",
    },
}


def extra_of(package: str) -> str:
    """Return the name of the extra that installs a package."""
    return EXTRAS.get(package, "train")


def import_optional(package: str) -> Any:
    """Import an optional package.

    Raises:
        BagscanError: the package is not installed; the message contains the install command.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = (error.name or package).partition(".")[0]
        install = how_to_install(extra_of(name))
        raise BagscanError(f"the package {name} is not installed: {install}") from error


def how_to_install(extra: str) -> str:
    """Return the pip command that installs an extra.

    The command uses the source of the installed bagscan: a clone, a repository or the index.
    """
    origin = _read_origin()
    requirement, editable = f"bagscan[{extra}]", ""
    if "vcs_info" in origin:
        requirement += f" @ {origin['vcs_info']['vcs']}+{origin['url']}"
    elif "dir_info" in origin:
        requirement = f"{_local_path(origin)}[{extra}]"
        editable = "-e " if origin["dir_info"].get("editable") else ""
    return f"pip install {editable}{quote(requirement)}"


def or_make_setup(extra: str) -> str:
    """Return the hint to run ``make setup``, or an empty string if it does not apply.

    It applies to an editable clone. Its environment has all extras but ``cluster`` and ``tables``.
    """
    origin = _read_origin()
    clone = Path(_local_path(origin))
    if (
        extra == "cluster"
        or not origin.get("dir_info", {}).get("editable")
        or not (clone / "Makefile").is_file()
    ):
        return ""
    return f"; or run make setup in {clone}, which installs all extras into {clone / '.venv'}"


def _local_path(origin: dict[str, Any]) -> str:
    return unquote(urlparse(origin.get("url", "")).path)


def _read_origin() -> dict[str, Any]:
    try:
        text = distribution("bagscan").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    origin: dict[str, Any] = json.loads(text) if text else {}
    return origin
