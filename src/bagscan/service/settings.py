"""Every setting of the service."""

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
        folder: of the embedded store, of scans by content, of models and of the audit key.
        database: SQLAlchemy URL; empty for SQLite within the folder.
        host: address to listen on. port: of that address. secure_cookie: cookies over HTTPS alone; set it behind a proxy that ends TLS.
        workers: processes that screen, each on one core.
        screen_timeout_s: after which a worker that has not answered is stopped, and the scan tried once more.
        max_waiting: scans accepted and not yet judged; more get 429. max_upload_mb: of all files of a scan.
        scanner_views: names of the views that scanners make of a bag, below and side; a bag of which one did not come is REVIEW.
            Empty: files say it by their names, ID_below or ID_side being one of two views, any other file a whole bag.
        known_scanners: names; a scan from any other is REVIEW. Empty: every scanner is known.
        drift_window: scans of each model over which scores are compared with its first ones; 0 for never.
        reviewed: which scans go to reviewers: flagged (ALARM and REVIEW) or all.
        second_reader: which decisions need another account's, blind: none, suspect or all.
        claim_s: how long a claimed scan is locked. undo_s: how long a decision can be taken back by who made it.
        tip_rate: share of the queue that is test images, with a projected threat; raw scans alone. tip_profile: of the scanner whose
            scans they are made of, by name or YAML file: its beam decides how a threat darkens them.
        session_hours: until a log-in ends. lock_after: failed log-ins that lock an account. lock_minutes: for how long.
        keep_clear_days, keep_decided_days: after which images of clear and of decided scans are removed; 0 for never.
        watch: folders that scanners write into. settle_s: for which a file there must not have changed.
        pair_s: for which one view of a bag waits there for another.
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
        # Worker processes and links know no working folder.
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
        if (
            min(self.workers, self.max_waiting, self.max_upload_mb, self.lock_after) < 1
            or not 0 < self.port < 65536
        ):
            raise ValueError(
                "workers, max_waiting, max_upload_mb and lock_after must be 1 or more, port 1 to 65535"
            )
        if not 0 <= self.tip_rate <= 0.5:
            raise ValueError(f"tip_rate must be 0 to 0.5, got {self.tip_rate}")
        if min(self.screen_timeout_s, self.claim_s, self.session_hours, self.lock_minutes) <= 0:
            raise ValueError(
                "screen_timeout_s, claim_s, session_hours and lock_minutes must be above 0"
            )
        if (
            min(
                self.drift_window,
                self.undo_s,
                self.keep_clear_days,
                self.keep_decided_days,
                self.settle_s,
                self.pair_s,
            )
            < 0
        ):
            raise ValueError(
                "drift_window, undo_s, keep_clear_days, keep_decided_days, settle_s and pair_s must be 0 or more"
            )

    @property
    def models_folder(self) -> Path:
        """Where models that were added lie."""
        return self.folder / "models"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'store.sqlite'}"


def read_settings(path: Path | None, settings: list[str]) -> ServiceConfig:
    """Settings: defaults < YAML file < ``a=1`` on the line.

    Raises:
        ConfigError: an unknown key or a wrong value.
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
