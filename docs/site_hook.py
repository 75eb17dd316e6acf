"""What the site shows otherwise than the files say."""

import re

# Links out of docs/ lead to files of the repository, which the site does not hold: there they are names alone.
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+)\)")
# Docstrings name others as Sphinx does: the name alone is shown.
ROLE = re.compile(r":(?:class|func|mod|meth|attr|data):<code>[~.]?(?:[^<]*\.)?([^<.]*)</code>")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page."""
    return OUTSIDE.sub(
        lambda link: f"{link[1]} (`{link[2].removeprefix('../')}` in the repository)", markdown
    )


def on_page_content(html: str, **_: object) -> str:
    """Called by mkdocs for every page, once it is HTML."""
    return ROLE.sub(r"<code>\1</code>", html)
