"""Readers, their decisions on scans, and the scans that are open to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select

from bagscan.core.errors import BagscanError
from bagscan.service.accounts import Principal
from bagscan.service.store.tables import decisions, reviews

VALUES = ("clear", "suspect", "recheck")
REASONS = {
    "clear": ("benign part", "clutter", "known item", "image fault"),
    "suspect": (
        "foreign part",
        "dense block",
        "wires or cells",
        "organic block",
        "blade or weapon",
        "cannot tell",
    ),
    "recheck": ("too cluttered", "too dense", "cut off", "image fault"),
}
RESOLVERS = ("supervisor", "admin")  # roles that resolve disputes
MAX_NOTE = 2000  # characters
NO_CLAIM = {"claimed_by": None, "claimed_tab": None, "claimed_until": None}


class NotClaimedError(BagscanError):
    """The account cannot claim this scan or change this decision."""


class NotFoundError(BagscanError):
    """The scan or decision does not exist, or is not waiting for this account."""


@dataclass(frozen=True)
class Reading:
    """A reader's decision on a scan.

    Attributes:
        value: clear, suspect or recheck.
        reason: an entry of ``REASONS`` for the value.
        note: free text, at most 2,000 characters.
        parts: numbers of the confirmed findings, from 0.
        drawn: view id and box (x1, y1, x2, y2) in pixels, of places that only the reader marked.

    Raises:
        ValueError: unknown value or reason, a long note, or a clear scan with boxes.
    """

    value: str
    reason: str
    note: str = ""
    parts: tuple[int, ...] = ()
    drawn: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()

    def __post_init__(self) -> None:
        if self.value not in VALUES:
            raise ValueError(f"unknown decision {self.value!r}; expected {', '.join(VALUES)}")
        reasons = REASONS[self.value]
        if self.reason not in reasons:
            raise ValueError(
                f"unknown reason {self.reason!r} for {self.value}; expected {', '.join(reasons)}"
            )
        if len(self.note) > MAX_NOTE:
            raise ValueError(f"the note is longer than {MAX_NOTE:,} characters")
        if self.value == "clear" and self.drawn:
            raise ValueError(
                "a scan with marked places is not clear: remove the boxes or change the decision"
            )

    def check_on(self, row: Mapping[str, Any]) -> None:
        """Check the parts and boxes against a scan.

        Args:
            row: result of the scan.

        Raises:
            ValueError: a part or a box is not on the scan, or a scan without views is cleared.
        """
        n_findings = len(row["findings"])
        if any(not 0 <= part < n_findings for part in self.parts):
            raise ValueError(f"parts must be numbers of the scan's {n_findings} findings, from 0")
        if self.value == "clear" and not row["views"]:
            raise ValueError(
                "a scan without readable views cannot be cleared; decide suspect or recheck"
            )
        for view_id, box in self.drawn:
            view = row["views"].get(view_id)
            if view is None:
                known = ", ".join(row["views"]) or "none"
                raise ValueError(f"this scan has no view {view_id!r}; readable views: {known}")
            x1, y1, x2, y2 = box
            width, height = view["width"], view["height"]
            if not (x1 >= 0 and x1 + 1 <= x2 <= width and y1 >= 0 and y1 + 1 <= y2 <= height):
                raise ValueError(
                    f"the box {box} is outside view {view_id} of {width}x{height} pixels, "
                    "or less than a pixel wide or high"
                )


@dataclass(frozen=True)
class Reader:
    """An account that reads scans, with the tab and time of its request.

    Attributes:
        who: the account.
        now: time of the service (:meth:`bagscan.service.clock.Clock.now`), in seconds since 1970.
        tab: name of the browser tab, which has its own claims; empty outside a browser.
    """

    who: Principal
    now: float
    tab: str = ""

    def claim_state(self, row: Any) -> str:
        """Return who claims a scan, given its row of the table ``reviews``.

        Returns:
            ``free``, ``yours``, ``elsewhere`` (in another tab of this account) or ``taken``.
        """
        if (row.claimed_until or 0) <= self.now:
            return "free"
        if row.claimed_by != self.who.id:
            return "taken"
        return "yours" if (row.claimed_tab or "") == self.tab else "elsewhere"


def open_to(who: Principal) -> Any:
    """Return the condition on reviews that an account can claim.

    An account cannot claim a scan that it has read. Only resolvers can claim disputes.
    """
    mine = select(decisions.c.scan_id).where(
        decisions.c.account_id == who.id, decisions.c.undone_at.is_(None)
    )
    # Resolvers can see the first decision in the audit log, so they are not blind second readers.
    states = ("first", "dispute") if who.role in RESOLVERS else ("first", "second")
    return and_(reviews.c.state.in_(states), reviews.c.scan_id.not_in(mine))
