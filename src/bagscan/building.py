"""Parts from their settings: of a model, and of parts that are made of parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bagscan.config import fill, with_given
from bagscan.contracts import Encoder, Regioner, Scorer
from bagscan.core.errors import ConfigError
from bagscan.registry import part

CONTRACTS: dict[str, Any] = {"regions": Regioner, "encoders": Encoder, "scorers": Scorer}


def build_part(kind: str, settings: Mapping[str, Any], where: str, **given: Any) -> Any:
    """One part: a :class:`Regioner`, :class:`Encoder` or :class:`Scorer`.

    Args:
        kind: as in :mod:`bagscan.registry`. settings: ``name`` and its own. where: the settings' place, for errors.
        given: what follows from the rest of the model, where the part has such a setting.

    Raises:
        ConfigError: no such part or setting, or one that keeps to no contract.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: needs a name")
    module = part(kind, name)
    own = {key: value for key, value in settings.items() if key != "name"}
    built = module.build(fill(module.Config, with_given(own, given, module.Config, where), where))
    if not isinstance(built, CONTRACTS[kind]):
        raise ConfigError(
            f"{where}: {name!r} is no {CONTRACTS[kind].__name__} (see bagscan.contracts)"
        )
    return built
