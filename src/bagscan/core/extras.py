"""What to install where a package is lacking."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlparse

# Packages that an extra other than train brings.
EXTRAS = {
    **dict.fromkeys(("fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2", "cryptography", "httpx"), "service"),
    **dict.fromkeys(("fsspec", "s3fs"), "storage"),
    **{"pyarrow": "batch", "ray": "cluster", "onnx": "export", "openvino": "openvino", "matplotlib": "benchmark", "psycopg": "postgresql"},
}


def extra_of(package: str) -> str:
    """The extra of bagscan that brings a package."""
    return EXTRAS.get(package, "train")


def how_to_install(extra: str) -> str:
    """The line that installs an extra: of the clone, where bagscan was installed from one."""
    folder = _clone()
    return f"pip install -e '{folder}[{extra}]'" if folder else f"pip install 'bagscan[{extra}]'"


def _clone() -> str:
    try:
        told = distribution("bagscan").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    origin = json.loads(told) if told else {}
    return unquote(urlparse(origin["url"]).path) if origin.get("dir_info", {}).get("editable") else ""
