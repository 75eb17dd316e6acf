"""axe-core checks every page and the report for keyboard and screen reader users."""

import pytest

from bagscan.model_folder import shipped_models
from bagscan.reporting.folder import screen_folder
from tests.service.conftest import until
from tests.service.test_page import bag, browser, enter, expect  # noqa: F401 (fixtures)

pytestmark = pytest.mark.slow

axe_core = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
)
GRAVE = ("serious", "critical")


def faults(page):
    """Violations that axe-core calls serious or critical: rule and place."""
    found = axe_core.Axe().run(page).response["violations"]
    return [
        (rule["id"], node["target"])
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def test_the_log_in_page(make_house, enter):  # noqa: F811
    assert faults(enter(make_house(), "operator", log_in=False)) == []


@pytest.mark.parametrize("name", ["operator", "supervisor", "admin"])
def test_every_page_that_a_role_has(name, make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house)
    page = enter(house, name)
    for link in page.locator("header nav a").all():
        link.click()
        page.wait_for_timeout(300)
        assert (link.inner_text(), faults(page)) == (link.inner_text(), [])


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_scan_that_is_read_decided_and_looked_up(theme, make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house)
    page = enter(house, "supervisor")
    if theme == "light":
        page.get_by_role("button", name="Light").click()
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    assert faults(page) == []
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    until(lambda: page.get_by_role("dialog").count() == 0)
    page.get_by_role("link", name="Scans").click()
    page.locator("tbody a").first.click()
    page.wait_for_selector("canvas")
    assert faults(page) == []


def test_the_report(browser, simulated_root, tmp_path):  # noqa: F811
    screen_folder([simulated_root / "colour"], shipped_models(), tmp_path / "out")
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/out/report.html")
    page.locator("details summary").first.click()
    assert faults(page) == []
