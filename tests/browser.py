"""A headless Chromium, driven through chromedriver's own protocol (W3C WebDriver): no library."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    "--disable-dev-shm-usage",
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"
)


class Browser:
    """One window: look at a page, act on it, hear what it says."""

    def __init__(self, port: int, profile: Path):
        self._root = f"http://127.0.0.1:{port}"
        # a container's root has no sandbox to offer
        flags = [*FLAGS, f"--user-data-dir={profile}"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        wanted = {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        found = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/session/{found['sessionId']}"

    def _send(self, method: str, path: str, body: dict | None = None):
        request = urllib.request.Request(
            self._root + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, page: Path, width: int = 1200, height: int = 900, theme: str = "light") -> None:
        """Show a file in a window of so many pixels, in a light or dark theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        theme_of = [{"name": "prefers-color-scheme", "value": theme}]
        self.tell("Emulation.setEmulatedMedia", features=theme_of)
        self._send("POST", "/url", {"url": "about:blank"})
        self.console(), self.requests()
        self._send("POST", "/url", {"url": page.resolve().as_uri()})

    def tell(self, command: str, **parameters):
        """Send a command of the DevTools protocol."""
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *arguments):
        """Run JavaScript in the page, with `arguments_`; what it returns comes back, awaited."""
        wrapped = (
            f"const inner = async (...arguments_) => {{ {script} }};"
            "inner(...arguments).then(arguments[arguments.length - 1])"
        )
        return self._send("POST", "/execute/async", {"script": wrapped, "args": list(arguments)})

    def see(self, file: Path, whole: bool = False) -> None:
        """Save an image of the window, or of the whole page, as PNG."""
        found = self.tell("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    def console(self) -> list[str]:
        """Give what the page has said to the console since the last call, errors included."""
        return [line["message"] for line in self._send("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Give the addresses that the page has asked for since the last call."""
        lines = self._send("POST", "/se/log", {"type": "performance"})
        events = [json.loads(line["message"])["message"] for line in lines]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """Close the window."""
        self._send("DELETE", "")


def wait(browser: Browser, condition: str, seconds: float = 20) -> None:
    """Wait until JavaScript returns something true."""
    end = time.monotonic() + seconds
    while not browser.run(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        time.sleep(0.05)


@contextmanager
def opened(profile: Path):
    """Start chromedriver on a free port and open one window; both end with the block."""
    driver = subprocess.Popen(
        [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert driver.stdout is not None
        said = (line for line in driver.stdout if "on port" in line and "started" in line)
        port = int(next(said).split("port")[1].strip(" .\n"))
        browser = Browser(port, profile)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(10)
        driver.stdout.close()
