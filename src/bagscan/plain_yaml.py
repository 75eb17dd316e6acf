"""YAML with the numbers of version 1.2, and without repeated keys, aliases and dates."""

from __future__ import annotations

import re
from typing import Any

import yaml

from bagscan.core.errors import ConfigError

INT, FLOAT, BOOL = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Loader without the implicit types of YAML 1.1.

    YAML 1.1 reads 0100 as 64, 1:30 as 90, ``no`` as false, and 2026-02-30 as an invalid date.
    """

    yaml_implicit_resolvers: dict[str, Any] = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in (INT, FLOAT, BOOL, "tag:yaml.org,2002:timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = "aliases are not supported; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is repeated", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    return int(text, 0) if re.match(r"[-+]?0[xo]", text) else int(text)


_Loader.add_implicit_resolver(
    BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_constructor(INT, _construct_int)


def load(text: str, where: str) -> Any:
    """Parse YAML text to plain data.

    Args:
        text: the YAML text.
        where: name of the file or option, for error messages.

    Raises:
        ConfigError: the text is not supported YAML; the message names the line.
    """
    return load_with_nodes(text, where)[0]


def load_with_nodes(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    """Parse YAML text as :func:`load` does; also return its root node, which has line numbers."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return (None if node is None else loader.construct_document(node)), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context
        raise ConfigError(f"{where}{line}: not YAML: {problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not YAML: {str(error) or type(error).__name__}") from error
