"""``bagscan formats``."""

from __future__ import annotations

from importlib.util import find_spec

from bagscan.cli.terminal import AsJson, show

PACKAGE_OF = {"dicos": "pydicom", "hdf5": "h5py"}
COLUMNS = ("format", "endings", "read by", "written by", "extra")


def formats(as_json: AsJson = False) -> None:
    """List the file formats that bagscan reads and writes.

    Some formats need an optional dependency ("extra"). For a missing one, the command that
    installs it is shown.
    """
    from bagscan.core.extras import how_to_install
    from bagscan.formats.known import table

    rows = table(lambda extra: find_spec(PACKAGE_OF.get(extra, extra)) is not None)
    missing = sorted({row["extra"].split()[0] for row in rows if "missing" in row["extra"]})

    def text() -> str:
        header = dict(zip(COLUMNS, COLUMNS, strict=True))
        width = {column: max(len(row[column]) for row in (header, *rows)) for column in COLUMNS}
        lines = []
        for row in (header, *rows):
            lines.append("  ".join(row[column].ljust(width[column]) for column in COLUMNS).rstrip())
            if "holds" in row:
                lines.append(f"    {row['holds']}")
        return "\n".join(lines + [f"{extra}: {how_to_install(extra)}" for extra in missing])

    show({"formats": rows}, as_json, text)
