"""MkDocs hooks: differences between the site and the Markdown files."""

import re

# Links out of docs/ lead to repository files that are not on the site; they become plain names.
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+)\)")
# Sphinx roles in docstrings become plain names.
ROLE = re.compile(r":(?:class|func|mod|meth|attr|data):<code>[~.]?(?:[^<]*\.)?([^<.]*)</code>")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace links to files outside docs/; MkDocs calls this for every page."""
    return OUTSIDE.sub(
        lambda link: f"{link[1]} (`{link[2].removeprefix('../')}` in the repository)", markdown
    )


def on_page_content(html: str, **_: object) -> str:
    """Replace Sphinx roles; MkDocs calls this for the HTML of every page."""
    return ROLE.sub(r"<code>\1</code>", html)
