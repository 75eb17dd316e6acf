"""Settings of the service."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bagscan.config import apply_settings, fill, read_yaml
from bagscan.core.errors import ConfigError

SECOND_READERS = ("none", "suspect", "all")
REVIEWED = ("flagged", "all")


@dataclass(frozen=True)
class ServiceConfig:
    """Settings of ``bagscan serve``.

    Attributes:
        folder: folder of the embedded store, the scans' files, added models and the audit key.
        database: SQLAlchemy URL of the database; empty for SQLite in the folder.
        host: address to listen on.
        port: port to listen on.
        secure_cookie: send session cookies over HTTPS only; set this behind a proxy with TLS.
        workers: number of worker processes, each on one core.
        screen_timeout_s: time in seconds after which a worker without an answer is stopped and
            the scan tried once more.
        max_waiting: maximum number of accepted scans that are not yet screened; more get 429.
        max_upload_mb: maximum size of all files of a scan, in MiB.
        scanner_views: names of the views that scanners make of a bag, for example below and side;
            a bag without one of them is REVIEW. If empty, file names decide: ID_below or ID_side
            is one of two views, any other file is a complete bag.
        known_scanners: names of known scanners; a scan from any other is REVIEW. If empty, every
            scanner is known.
        drift_window: number of scans of each model whose scores are compared with its first ones;
            0 for no comparison.
        reviewed: scans that go to readers, ``flagged`` (ALARM and REVIEW) or ``all``.
        second_reader: decisions that need a second, blind reader: ``none``, ``suspect`` or ``all``.
        claim_s: time in seconds for which a claimed scan is locked.
        undo_s: time in seconds during which a reader can undo a decision.
        tip_rate: share of test images in the queue, in [0, 0.5]; a test image is a raw scan with
            a projected threat.
        tip_profile: profile (name or YAML file) of the scanner whose scans become test images; its
            beam determines how a threat attenuates.
        session_hours: time in hours until a session ends.
        lock_after: number of failed log-ins that locks an account.
        lock_minutes: time in minutes for which an account is locked.
        keep_clear_days: age in days at which images of clear scans are removed; 0 for never.
        keep_decided_days: age in days at which images of decided scans are removed; 0 for never.
        watch: folders that scanners write into.
        settle_s: time in seconds for which a file in a watched folder must not change before it
            is accepted.
        pair_s: time in seconds for which a single view in a watched folder waits for the other.
    """

    folder: Path = Path("bagscan-service")
    database: str = ""
    host: str = "127.0.0.1"
    port: int = 8765
    secure_cookie: bool = False
    workers: int = 1
    screen_timeout_s: float = 60.0
    max_waiting: int = 64
    max_upload_mb: int = 64
    scanner_views: tuple[str, ...] = ()
    known_scanners: tuple[str, ...] = ()
    drift_window: int = 100
    reviewed: str = "flagged"
    second_reader: str = "suspect"
    claim_s: float = 300.0
    undo_s: float = 30.0
    tip_rate: float = 0.0
    tip_profile: str = "g640"
    session_hours: float = 12.0
    lock_after: int = 10
    lock_minutes: float = 15.0
    keep_clear_days: int = 30
    keep_decided_days: int = 365
    watch: tuple[Path, ...] = ()
    settle_s: float = 2.0
    pair_s: float = 10.0

    def __post_init__(self) -> None:
        # Worker processes may have another working directory.
        object.__setattr__(self, "folder", Path(self.folder).absolute())
        object.__setattr__(self, "watch", tuple(Path(folder).absolute() for folder in self.watch))
        numbers = (
            self.screen_timeout_s,
            self.claim_s,
            self.undo_s,
            self.tip_rate,
            self.session_hours,
            self.lock_minutes,
            self.settle_s,
            self.pair_s,
        )
        if not all(map(math.isfinite, numbers)):
            raise ValueError("times and rates must be finite numbers")
        if self.second_reader not in SECOND_READERS:
            raise ValueError(
                f"second_reader must be one of {SECOND_READERS}, got {self.second_reader!r}"
            )
        if self.reviewed not in REVIEWED:
            raise ValueError(f"reviewed must be one of {REVIEWED}, got {self.reviewed!r}")
        at_least_1 = (self.workers, self.max_waiting, self.max_upload_mb, self.lock_after)
        if min(at_least_1) < 1 or not 0 < self.port < 65536:
            raise ValueError(
                "workers, max_waiting, max_upload_mb and lock_after must be 1 or more, "
                "port 1 to 65535"
            )
        if not 0 <= self.tip_rate <= 0.5:
            raise ValueError(f"tip_rate must be 0 to 0.5, got {self.tip_rate}")
        if min(self.screen_timeout_s, self.claim_s, self.session_hours, self.lock_minutes) <= 0:
            raise ValueError(
                "screen_timeout_s, claim_s, session_hours and lock_minutes must be above 0"
            )
        at_least_0 = (
            self.drift_window,
            self.undo_s,
            self.keep_clear_days,
            self.keep_decided_days,
            self.settle_s,
            self.pair_s,
        )
        if min(at_least_0) < 0:
            raise ValueError(
                "drift_window, undo_s, keep_clear_days, keep_decided_days, settle_s and pair_s "
                "must be 0 or more"
            )

    @property
    def models_folder(self) -> Path:
        """Folder of the models that were added to the service."""
        return self.folder / "models"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'store.sqlite'}"


def read_settings(path: Path | None, settings: list[str]) -> ServiceConfig:
    """Read the settings: defaults, overridden by a YAML file, then by ``key=value`` strings.

    Raises:
        ConfigError: a key is unknown or a value invalid.
    """
    data, lines = read_yaml(path) if path else ({}, None)
    apply_settings(data, settings, lines)
    if "folder" in data:
        if not isinstance(data["folder"], str):
            raise ConfigError(f"folder must be a path, got {data['folder']!r}")
        data["folder"] = Path(data["folder"])
    if "watch" in data:
        if not isinstance(data["watch"], list) or not all(
            isinstance(folder, str) for folder in data["watch"]
        ):
            raise ConfigError(f"watch must be a list of folders, got {data['watch']!r}")
        data["watch"] = tuple(Path(folder) for folder in data["watch"])
    return fill(ServiceConfig, data, str(path or "--set"), lines)
