"""What drives the page in a browser: the servers behind it, and a person's hands and eyes."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from conftest import ROOT
from selenium import webdriver
from selenium.common import exceptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NEEDS = "needs a browser: sudo apt-get install chromium chromium-driver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--lang=zh-CN")
FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")
DESKTOP, PHONE = 1280, 390
MAIN, SIDEBAR = "[data-testid=stMain]", "[data-testid=stSidebar]"
SECONDS = 30
STREAMLIT = """
from streamlit.web.cli import main
from page import run
run.WAITS = (0.5, 0.5, 1)  # before each further try
main()
"""


class Servers:
    """The API, which can be stopped and started again at the same address, and the page that asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api, self.page = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._api_process = None
        streamlit = ["-c", STREAMLIT, "run", "app.py", "--server.headless", "true", "--server.address", "127.0.0.1"]
        self._page_process = self._start("page", *streamlit, "--server.port", self.page.rpartition(":")[2])

    def start_api(self, *models: str) -> None:
        """Have these models served, as api.py's --model names them, in place of any before."""
        self.stop_api()
        flags = [part for model in models for part in ("--model", model)]
        port = self.api.rpartition(":")[2]
        self._api_process = self._start("api", "api.py", "--host", "127.0.0.1", "--port", port, *flags)

    def stop_api(self) -> None:
        """End it as a crash would."""
        if self._api_process:
            self._api_process.kill()
            self._api_process.wait()

    def stop(self) -> None:
        self.stop_api()
        self._page_process.kill()
        self._page_process.wait()

    def wait(self) -> None:
        """Until both answer."""
        waits = {f"{self.api}/health": self._api_process, f"{self.page}/_stcore/health": self._page_process}
        end = time.monotonic() + 120
        for url, process in waits.items():
            while True:
                with contextlib.suppress(requests.RequestException):
                    if requests.get(url, timeout=5).ok:
                        break
                assert process.poll() is None and time.monotonic() < end, self.log()
                time.sleep(0.1)

    def predict(self, text: str | list[str], model: str | None = None) -> dict:
        """What the API says, asked past the page."""
        return self.ask({"text": text, "top_k": 10} | ({"model": model} if model else {}))

    def ask(self, question: dict) -> dict:
        """What the API says to a question of any task."""
        return requests.post(f"{self.api}/predict", json=question, timeout=SECONDS).json()

    def log(self) -> str:
        """What both servers have written."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.log")))

    def _start(self, name: str, *command: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONUTF8": "1", "NEWS_API_URL": self.api}
        with self.folder.joinpath(f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium that saves downloads in a folder and logs its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        yield driver
    finally:
        driver.quit()


class Page:
    """The page as a person has it: what can be read, pressed and typed.

    Args:
        driver: the browser.
        url: the page's address.
        downloads: the folder that the browser saves to.
        pictures: the folder for screenshots; None: none are made.
    """

    def __init__(self, driver: webdriver.Chrome, url: str, downloads: Path, pictures: Path | None) -> None:
        self.driver, self.url, self.downloads, self.pictures = driver, url, downloads, pictures

    def script(self, code: str, *args: object) -> object:
        return self.driver.execute_script(code, *args)

    def devtools(self, command: str, **parameters: object) -> None:
        self.driver.execute_cdp_cmd(command, parameters)

    def screen(self, width: int = DESKTOP, height: int = 900, scheme: str = "light", pixels: int = 1) -> None:
        """Another screen, with so many pixels in each of CSS, for the pages opened from now on."""
        phone = width < 600
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=pixels, mobile=phone
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, view: str = "") -> None:
        """A fresh visit, which knows nothing of earlier ones."""
        self.driver.get(f"{self.url}/{view}")
        self.wait(lambda: self.texts("stHeading"), "the page does not come")

    def go(self, view: str, heading: str) -> None:
        """To another view of the same visit."""
        self.click(f"//a[@data-testid='stSidebarNavLink'][contains(., '{view}')]")
        self.wait(lambda: heading in self.texts("stHeading")[:1], f"no view {view}")

    def wait(self, condition: Callable[[], object], what: str) -> object:
        """Wait until a condition holds, and return what it found."""
        end = time.monotonic() + SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, f"{what}; the page shows:\n{self.text()}"
            time.sleep(0.05)
        return found

    def text(self, part: str = MAIN) -> str:
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", part)

    def texts(self, testid: str, part: str = MAIN) -> list[str]:
        """Of all elements of a kind."""
        selector = f"{part} [data-testid={testid}]"
        return self.script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)

    def count(self, selector: str) -> int:
        return self.script("return document.querySelectorAll(arguments[0]).length", selector)

    def metrics(self) -> dict[str, str]:
        return self.script(
            "return Object.fromEntries([...document.querySelectorAll('[data-testid=stMetric]')].map(metric =>"
            "['stMetricLabel', 'stMetricValue'].map(part => metric.querySelector(`[data-testid=${part}]`).innerText)))"
        )

    def tables(self) -> list[list[list[str]]]:
        """The cells of each table, row by row, as a screen reader has them."""
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map(table => [...table.querySelectorAll('tr')]"
            ".map(row => [...row.querySelectorAll('[role=gridcell]')].map(cell => cell.textContent))"
            ".filter(row => row.length))",
            f"{MAIN} [data-testid=stDataFrame]",
        )

    def click(self, xpath: str) -> None:
        """Press the first one that can be pressed, once there is one."""

        def press() -> bool:
            with contextlib.suppress(
                exceptions.StaleElementReferenceException, exceptions.InvalidElementStateException
            ):
                for element in self.driver.find_elements(By.XPATH, xpath):
                    if element.is_displayed() and element.is_enabled():
                        element.click()
                        return True
            return False

        self.wait(press, f"nothing to press at {xpath}")

    def press(self, label: str) -> None:
        self.click(f"//button[.//p[normalize-space()='{label}']]")

    def fill(self, label: str, text: str) -> None:
        """Put any text into a field, in place of what is there; the driver's own keys have no emoji."""
        field = f"//*[@aria-label='{label}'][self::input or self::textarea]"
        self.click(field)
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
        self.devtools("Input.insertText", text=text)
        self.driver.switch_to.active_element.send_keys(Keys.TAB)

    def upload(self, path: Path) -> None:
        fields = self.wait(
            lambda: self.driver.find_elements(By.CSS_SELECTOR, "input[type=file]"), "nowhere to upload to"
        )
        fields[0].send_keys(str(path))

    def download(self, label: str, name: str | None = None) -> bytes:
        """The file that a button gives."""
        file = self.downloads / (name or ("predictions.csv" if "CSV" in label else "predictions.xlsx"))
        file.unlink(missing_ok=True)
        self.press(label)
        self.wait(file.exists, "no download")
        return file.read_bytes()

    def choose(self, columns: int, typed: str) -> None:
        """Choose what begins with some letters in the first row of the first table, so many columns from its left."""
        canvas = self.driver.find_element(By.CSS_SELECTOR, f"{MAIN} [data-testid=stDataFrame] canvas")
        self.script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        x, y = self.script("const table = arguments[0].getBoundingClientRect(); return [table.x, table.y]", canvas)
        for kind in ("mousePressed", "mouseReleased"):
            self.devtools("Input.dispatchMouseEvent", type=kind, x=x + 20, y=y + 52, button="left", clickCount=1)
        for keys in (Keys.ARROW_RIGHT * columns + Keys.ENTER, typed, Keys.ENTER):
            time.sleep(0.5)
            ActionChains(self.driver).send_keys(keys).perform()

    def slide(self, label: str, key: str) -> None:
        """Press a key in the slider whose name begins so."""
        slider = self.driver.find_element(By.CSS_SELECTOR, f"{MAIN} input[type=range][aria-label^='{label}']")
        self.driver.execute_script("arguments[0].focus()", slider)  # the element itself may not be visible
        ActionChains(self.driver).send_keys(key).perform()

    def hosts(self) -> set[str]:
        """Hosts asked for anything over the network since the last call."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
                address = urlsplit(message["params"].get("request", message["params"])["url"])
                if address.scheme in {"http", "https", "ws", "wss"}:
                    found.add(address.netloc)
        return found

    def picture(self, name: str) -> None:
        """Save the whole page as a PNG, where pictures are wanted."""
        if not self.pictures:
            return
        self.script("document.activeElement.blur()")
        self.devtools("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
        time.sleep(2)  # for what comes and moves
        width, bottom = self.script(
            "const content = document.querySelector('[data-testid=stMainBlockContainer]').lastElementChild;"
            "return [innerWidth, content.getBoundingClientRect().bottom]"
        )
        dark = self.script("return matchMedia('(prefers-color-scheme: dark)').matches")
        self.screen(width, max(600, int(bottom) + 40), "dark" if dark else "light", 2)
        time.sleep(1)
        self.pictures.mkdir(parents=True, exist_ok=True)
        (self.pictures / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())
