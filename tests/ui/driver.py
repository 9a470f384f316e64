"""What drives the browser, where it is installed: `make browser`. Tests that are left out are imported all the same."""

from __future__ import annotations

import shutil

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
except ModuleNotFoundError as error:
    MISSING = f"{error.name} is not installed: run `make browser`"
    # What tests import is there, and is not used.
    globals().update(
        dict.fromkeys(["Axe", "Browser", "BrowserContext", "Page", "expect", "sync_playwright"], None)
    )
else:
    MISSING = ""
    # What is waited for comes by itself. Playwright's own bound of 5 s is too short for a machine that is busy.
    expect.set_options(timeout=20_000)

__all__ = ["Axe", "Browser", "BrowserContext", "Page", "chromium", "expect", "missing", "sync_playwright"]


def chromium() -> str:
    """The path of the machine's browser; "" where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), "")


def missing() -> str:
    """Why no browser can be driven here, and what to do; "": it can."""
    if MISSING:
        return MISSING
    if not chromium():
        return "no chromium on PATH; on Debian: apt-get install --no-install-recommends chromium"
    return ""
