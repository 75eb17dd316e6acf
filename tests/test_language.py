"""Code and documentation keep to the words of docs/glossary.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HISTORY = {"log.md", "glossary.md", "results.md"}  # old records keep their words
BANNED = re.compile(
    r"\b((?i:told|tells|whatever|judge[ds]?|judging|comes along|came along)|MOST_\w+|LEAST_\w+)\b"
)
READ = ("src/**/*.py", "src/**/*.js", "experiments/*.py", "tests/**/*.py", "docs/*.md", "*.md")


@pytest.mark.parametrize("ending", READ)
def test_no_word_of_the_former_dialect_is_left(ending):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in sorted(ROOT.glob(ending))
        if path.name not in HISTORY | {Path(__file__).name}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if BANNED.search(line)
    ]
    assert found == []
