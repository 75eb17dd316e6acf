"""Modules have no import cycles and stay small."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = {
    ".".join(path.with_suffix("").relative_to(SOURCE).parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}
MAX_LINES, MAX_LINES_OF_A_FUNCTION = 350, 80


def needed(name):
    """Modules of bagscan that a module imports at its top, and not for types alone."""
    found = set()
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {
                inside if (inside := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            }
    return {one for one in found if one in MODULES and one != name}


def test_no_module_needs_itself_by_a_detour():
    assert len(
        list(TopologicalSorter({name: needed(name) for name in MODULES}).static_order())
    ) == len(MODULES)


@pytest.mark.parametrize("ending", ["py", "js"])
def test_no_file_is_longer_than_one_reads(ending):
    assert {
        path.name: n
        for path in SOURCE.rglob(f"*.{ending}")
        if (n := len(path.read_text().splitlines())) > MAX_LINES
    } == {}


def test_no_function_is_longer_than_one_reads():
    functions = [
        (f"{name}.{node.name}", node.end_lineno - node.lineno + 1)
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {name: n for name, n in functions if n > MAX_LINES_OF_A_FUNCTION} == {}
