"""A temporary PostgreSQL cluster for the tests, on loopback."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

HINT = "PostgreSQL is not installed: apt-get install postgresql"


def programs():
    """Folder of Debian's newest initdb and pg_ctl, else of those on the path, else None."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextlib.contextmanager
def cluster():
    """URL of a running server; it refuses root, so an unprivileged user runs it."""
    bin_folder = programs()
    root = os.geteuid() == 0
    user = (
        {"user": "postgres"} if root and _known("postgres") else {"user": "nobody"} if root else {}
    )
    with tempfile.TemporaryDirectory(prefix="bagscan-pg-") as folder:
        if root:
            shutil.chown(folder, user["user"])
        data = Path(folder) / "data"
        quiet = {
            "check": True,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "cwd": folder,
            **user,
            **({"extra_groups": []} if root else {}),
        }
        subprocess.run(
            [
                bin_folder / "initdb",
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "bagscan",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ],
            **quiet,
        )
        port = _free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        subprocess.run(
            [
                bin_folder / "pg_ctl",
                "-D",
                data,
                "-w",
                "-l",
                f"{folder}/log",
                "-o",
                options,
                "start",
            ],
            **quiet,
        )
        try:
            yield f"postgresql+psycopg://bagscan@127.0.0.1:{port}"
        finally:
            subprocess.run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)


def _known(name):
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
