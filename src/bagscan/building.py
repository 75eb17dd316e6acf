"""Construction of regioners, encoders and scorers from settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bagscan.config import fill, with_derived
from bagscan.contracts import Encoder, Regioner, Scorer
from bagscan.core.errors import ConfigError
from bagscan.registry import part

CONTRACTS: dict[str, Any] = {"regions": Regioner, "encoders": Encoder, "scorers": Scorer}


def build_part(kind: str, settings: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Build a :class:`Regioner`, :class:`Encoder` or :class:`Scorer`.

    Args:
        kind: kind of part, as in :mod:`bagscan.registry`.
        settings: ``name`` and the settings of the part.
        where: location of the settings, for error messages.
        given: settings that follow from the rest of the model; unknown settings are ignored.

    Raises:
        ConfigError: the name or a setting is unknown, or the part has the wrong base class.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: the setting name is missing")
    module = part(kind, name)
    own = {key: value for key, value in settings.items() if key != "name"}
    built = module.build(fill(module.Config, with_derived(own, given, module.Config, where), where))
    if not isinstance(built, CONTRACTS[kind]):
        contract = CONTRACTS[kind].__name__
        raise ConfigError(f"{where}: {name!r} is not a {contract} (see bagscan.contracts)")
    return built
