"""The review page in several tabs and after a session ends: claims stay, typed text is kept."""

import re

import pytest
from sqlalchemy import delete

from bagscan.service.store import tables
from tests.service.conftest import PASSWORD, until
from tests.service.test_page import bag, browser, enter, expect  # noqa: F401

pytestmark = pytest.mark.slow


def another_tab(page):
    """A second tab of the same browser with the same log-in."""
    tab = page.context.new_page()
    tab.goto(page.url.partition("#")[0])
    expect(tab.locator(".who")).to_be_visible()
    return tab


def log_in_anew(tab, name):
    """End the session of the browser, and start one of another account."""
    tab.get_by_role("button", name="Log out").click()
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.locator(".who")).to_contain_text(name)


def bring_to_front(page):
    """Show a tab, and wait until it has the keyboard: keys pressed before are lost."""
    page.bring_to_front()
    page.wait_for_function("document.visibilityState === 'visible' && document.hasFocus()")
    page.locator("body").press("Shift")


def poll_no_more(page):
    """Answer the polls of a tab as before: it shall notice another log-in by its keys only."""
    queue = page.evaluate("fetch('/v1/queue').then((answer) => answer.json())")
    page.route(re.compile("/v1/queue$"), lambda route: route.fulfill(json=queue))


def next_scan(page):
    page.keyboard.press("n")
    page.wait_for_selector("canvas")
    return page.url.rpartition("/")[2]


def decide(page, note=""):
    page.keyboard.press("s")
    page.keyboard.press("1")
    page.locator("dialog textarea").fill(note)
    page.keyboard.press("Control+Enter")
    expect(page.locator("dialog")).to_have_count(0)


def end_sessions(house):
    house.service.store.write(lambda c: c.execute(delete(tables.sessions)) and None)


def decisions(house, scan):
    return house.person("supervisor").get(f"/v1/scans/{scan}").json()["decisions"]


def test_each_tab_reads_a_scan_of_its_own(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    bag(house, "alarm score 0.95", 1), bag(house, "alarm score 0.9", 2)
    one = enter(house, "operator")
    first = next_scan(one)
    two = another_tab(one)
    expect(two.locator(".queue li", has_text="other tab")).to_have_count(1)
    second = next_scan(two)
    assert first != second
    two.keyboard.press("n")
    expect(two.locator("#toasts")).to_contain_text("the only scan")
    decide(one, "in the first tab")
    decide(two, "in the second tab")
    expect(one.locator(".queue .empty")).to_be_visible(timeout=10_000)
    assert [one["note"] for one in decisions(house, first)] == ["in the first tab"]
    assert [one["note"] for one in decisions(house, second)] == ["in the second tab"]


def test_the_second_tab_takes_a_scan_over_only_when_told_to(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", claim_s=15.0)
    scan = bag(house)
    one = enter(house, "operator")
    next_scan(one)
    one.keyboard.press("Tab")
    one.keyboard.press("x")
    two = another_tab(one)
    two.locator(".queue li").click()
    expect(two.locator("dialog")).to_contain_text("another of your tabs")
    two.get_by_role("button", name="Cancel").click()
    expect(two.locator("canvas")).to_have_count(0)
    decide(one)
    expect(one.locator(".queue .empty")).to_be_visible()
    one.keyboard.press("Control+z")
    expect(one.locator(".views canvas")).to_have_count(2)
    expect(one.locator(".parts input").first).to_be_checked()  # the ticks are back
    expect(two.locator(".queue li", has_text="other tab")).to_have_count(1, timeout=10_000)
    two.locator(".queue li").click()
    two.get_by_role("button", name="Continue here").click()
    two.wait_for_selector("canvas")
    expect(one.locator("#toasts")).to_contain_text("another tab of yours", timeout=15_000)
    expect(one.locator("canvas")).to_have_count(0)
    decide(two, "here")
    assert [one["note"] for one in decisions(house, scan) if not one["undone_at"]] == ["here"]


def test_a_tab_that_is_closed_lets_go_of_its_scan(make_house, enter):  # noqa: F811
    house = make_house()
    scan = bag(house)
    page = enter(house, "operator")
    tab = another_tab(page)
    next_scan(tab)
    second = house.person("second")
    claim = {"json": {"scan_id": scan}}
    assert second.post("/v1/queue/claim", **claim).status_code == 409
    tab.reload()  # its address opens the scan again
    tab.wait_for_selector("canvas")
    assert second.post("/v1/queue/claim", **claim).status_code == 409
    tab.close(run_before_unload=True)
    expect(page.locator(".queue li", has_text="other tab")).to_have_count(0, timeout=10_000)
    until(lambda: second.post("/v1/queue/claim", **claim).status_code == 200)


@pytest.mark.parametrize("by", ["poll", "decision"])
def test_a_session_that_ends_while_somebody_types_costs_nothing(make_house, enter, by):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    page = enter(house, "operator")
    next_scan(page)
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    page.keyboard.press("s")
    page.keyboard.press("2")
    page.keyboard.press("t")
    page.keyboard.type("a long ")
    end_sessions(house)
    if by == "poll":  # it appears between words, not in the middle of them
        for _ in range(5):
            page.keyboard.type("word ")
            page.wait_for_timeout(1000)
            expect(page.locator("dialog.session")).to_have_count(0)
    else:
        page.keyboard.type("word")
        page.keyboard.press("Control+Enter")
    again = page.locator("dialog.session")
    expect(again).to_contain_text("operator", timeout=10_000)
    page.keyboard.press("Escape")
    again.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(again.get_by_role("alert")).to_contain_text("wrong name")
    again.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(again).to_have_count(0)
    if by == "poll":
        expect(page.locator("dialog textarea")).to_have_value(re.compile("^a long (word ){5}$"))
        expect(page.locator("dialog button.on")).to_contain_text("dense block")
        expect(page.locator(".parts input").first).to_be_checked()
        page.locator("dialog textarea").press("Control+Enter")
    expect(page.locator("text=Decided: suspect")).to_be_visible()
    (made,) = decisions(house, scan)
    assert (made["reason"], made["parts"]) == ("dense block", [0])
    assert made["note"].startswith("a long word")


def test_a_decision_that_fails_keeps_what_was_written(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none", claim_s=600.0)
    scan = bag(house)
    page = enter(house, "operator")
    next_scan(page)
    refused = {"status": 429, "json": {"detail": "not now"}}
    page.route(re.compile("/decisions$"), lambda route: route.fulfill(**refused))
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    decide(page, "kept")
    expect(page.locator("#toasts")).to_contain_text("not now")
    page.unroute(re.compile("/decisions$"))
    house.service.clock._base += 601  # and the claim has expired meanwhile
    page.keyboard.press("s")
    expect(page.locator("dialog textarea")).to_have_value("kept")
    expect(page.locator("dialog button.on")).to_have_count(1)
    page.keyboard.press("Control+Enter")
    expect(page.locator("text=Decided: suspect")).to_be_visible()
    (made,) = decisions(house, scan)
    assert (made["note"], made["parts"]) == ("kept", [0])


def test_another_account_in_the_next_tab_decides_nothing_for_this_one(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    page = enter(house, "operator")
    next_scan(page)
    poll_no_more(page)
    tab = another_tab(page)
    log_in_anew(tab, "second")
    bring_to_front(page)
    page.keyboard.press("s")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    again = page.locator("dialog.session")
    expect(again).to_contain_text("operator")
    assert decisions(house, scan) == []
    again.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("text=Decided: suspect")).to_be_visible()
    assert [one["by"] for one in decisions(house, scan)] == ["operator"]


def test_a_new_session_in_the_next_tab_is_this_ones_too(make_house, enter):  # noqa: F811
    house = make_house(second_reader="none")
    scan = bag(house)
    page = enter(house, "operator")
    next_scan(page)
    poll_no_more(page)
    tab = another_tab(page)
    log_in_anew(tab, "operator")
    bring_to_front(page)
    decide(page)
    expect(page.locator("text=Decided: suspect")).to_be_visible()
    assert len(decisions(house, scan)) == 1
