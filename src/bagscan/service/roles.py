"""Roles, their permissions, and the account that sends a request."""

from __future__ import annotations

from dataclasses import dataclass

# Permissions of each role; everything else is denied.
OPERATOR = frozenset({"self", "scan.read", "queue.read", "decide"})
SUPERVISOR = OPERATOR | {"threshold", "audit.read", "statistics", "models.read", "metrics"}
ROLES: dict[str, frozenset[str]] = {
    "scanner": frozenset({"self", "screen", "own.read", "metrics"}),
    "operator": OPERATOR,
    "supervisor": SUPERVISOR,
    "admin": SUPERVISOR | {"accounts", "models.change", "screen"},
}


@dataclass(frozen=True)
class Principal:
    """Authenticated account that sends a request.

    Attributes:
        id: number of the account.
        name: name of the account.
        role: one of ``ROLES``.
        csrf: token that a session sends with every change; None for an API key.
    """

    id: int
    name: str
    role: str
    csrf: str | None = None

    def has_permission(self, permission: str) -> bool:
        """Return True if the role grants a permission."""
        return permission in ROLES.get(self.role, frozenset())
