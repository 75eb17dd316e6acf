"""The page shows the verdict that was made."""

import re

import numpy as np

from bagscan.reporting.html import render_page, summary_row


def row(name, decision, score=None, **result):
    findings = [{"score": score}] if score else []
    return {
        "scan_id": name,
        "path": f"{name}.tif",
        "views": {"0": {}},
        "decision": decision,
        "findings": findings,
        "threshold": 0.5,
        "reasons": [],
        **result,
    }


def page(rows, shown, truth=""):
    tally = {name: len(rows.get(name, ())) for name in ("ALARM", "REVIEW", "CLEAR")}
    return "".join(
        render_page(["<section id=x></section>"], rows, shown, tally, ["a model"], truth)
    )


def test_the_summary_leads_to_every_bag_that_is_shown():
    lines = {
        "ALARM": [summary_row(row("a", "ALARM", 0.9), "bag-a", True)],
        "REVIEW": [summary_row(row("b", "REVIEW", reasons=["one view <alone>"]), "bag-b", True)],
        "CLEAR": [summary_row(row("c", "CLEAR"), "bag-c", False)],
    }
    text = page(lines, 2)
    assert re.findall(r'href="#(bag-\w)"', text) == ["bag-a", "bag-b"]
    assert "one view &lt;alone&gt;" in text
    assert text.index("bag-a") < text.index("bag-b") < text.index("<details>") < text.index(">c<")
    assert "3 bags: 1 ALARM" in text
    assert "findings.json holds all" in text
    assert "truth" not in text.partition("</style>")[2]


def test_names_and_errors_are_text_and_never_markup():
    line = summary_row(row("<b>", "REVIEW", views={}, path="<i>.tif", error="<script>"), "x", True)
    assert "<i>" not in line
    assert "<script>" not in line


def test_the_page_asks_nothing_of_others():
    text = page(
        {"ALARM": [summary_row(row("a", "ALARM", 0.9), "x", True, "data:image/jpeg;base64,")]},
        1,
        "Bags: 1.",
    )
    assert not re.search(r"https?://|<script", text)
    assert "Bags: 1." in text
    assert "@media print" in text
    assert np.char.count(text, "<html") == 1
