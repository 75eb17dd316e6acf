"""Take the screenshots of the review page for the guides, with simulated bags.

Usage: ``python docs/screenshots.py [--out FOLDER]``.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

FIGURES = Path(__file__).parent / "figures"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "demo-bagscan"
DECISIONS = [
    ("olga", "s"),
    ("olga", "c"),
    ("olga", "c"),
    ("olga", "r"),
    ("omar", "s"),
    ("omar", "c"),
    ("omar", "s"),
    ("omar", "c"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIGURES)
    out = parser.parse_args().out
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        command = [
            sys.executable,
            "-c",
            "from bagscan.cli import main; main()",
            "serve",
            "--demo",
            "--folder",
            folder,
            "--port",
            address.rpartition(":")[2],
        ]
        service = subprocess.Popen(command)
        try:
            browser = started.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
                args=QUIET,
            )
            _wait_for_queue(address)
            _shoot(browser, address, out)
            browser.close()
            for path in out.glob("service_*.png"):  # 256 colours: a quarter of the size
                image = Image.open(path).convert("RGB")
                image = image.quantize(256, kmeans=10, dither=Image.Dither.NONE)
                image.save(path, optimize=True)
        finally:
            service.terminate()
            service.wait(30)


def _wait_for_queue(address: str) -> None:
    with httpx.Client(base_url=address) as client:
        while True:
            try:
                login = client.post("/v1/sessions", json={"name": "susan", "password": PASSWORD})
                if login.is_success and len(client.get("/v1/queue").json()["scans"]) >= 12:
                    return
            except httpx.TransportError:
                pass
            time.sleep(1)


def _enter(browser, address: str, name: str) -> Page:  # type: ignore[no-untyped-def]
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".who")
    return page


def _shoot(browser, address: str, out: Path) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.goto(address)
    page.wait_for_selector("form")
    page.screenshot(path=out / "service_login.png")
    olga, omar = _enter(browser, address, "olga"), _enter(browser, address, "omar")
    olga.keyboard.press("n")
    olga.wait_for_selector("canvas")
    olga.wait_for_timeout(800)
    olga.screenshot(path=out / "service_review.png")
    olga.keyboard.press("Tab")
    olga.keyboard.press("x")
    olga.wait_for_timeout(300)
    olga.screenshot(path=out / "service_part.png")
    olga.keyboard.press("=")
    olga.keyboard.down("o")
    olga.keyboard.down("2")
    olga.wait_for_timeout(300)
    olga.screenshot(path=out / "service_metal.png")
    olga.keyboard.up("2")
    olga.keyboard.up("o")
    olga.keyboard.press("s")
    olga.wait_for_selector("dialog")
    olga.screenshot(path=out / "service_decision.png")
    olga.keyboard.press("Escape")
    olga.keyboard.press("?")
    olga.wait_for_selector("dialog")
    olga.screenshot(path=out / "service_keys.png")
    olga.keyboard.press("Escape")
    for name, key in DECISIONS:
        reader = olga if name == "olga" else omar
        if not reader.locator("canvas").count():
            reader.keyboard.press("n")
            reader.wait_for_selector("canvas")
        reader.wait_for_timeout(600)
        reader.keyboard.press(key)
        reader.wait_for_selector("dialog")
        reader.keyboard.press("1")
        reader.keyboard.press("Control+Enter")
        reader.wait_for_timeout(900)
    susan = _enter(browser, address, "susan")
    susan.get_by_role("link", name="Models").click()
    susan.get_by_label("threshold of").last.fill("0.9985")
    susan.get_by_role("button", name="Set threshold").last.click()
    susan.keyboard.press("Enter")
    ada = _enter(browser, address, "ada")
    ada.wait_for_timeout(1000)
    for name in ("Scans", "Statistics", "Models", "Accounts", "Audit"):
        ada.get_by_role("link", name=name, exact=True).click()
        ada.wait_for_timeout(700)
        if name == "Audit":
            ada.get_by_role("button", name="Check the chain").click()
            ada.wait_for_timeout(500)
        ada.screenshot(path=out / f"service_{name.lower()}.png")


if __name__ == "__main__":
    main()
