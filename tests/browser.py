"""Headless Chromium without a network, for tests of pages."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self, cast

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Events of the console of a page.
CONSOLE_EVENTS = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}


class Browser:
    """Chromium with no network except loopback, driven through its debugging pipe (file descriptors 3 and 4).

    `messages` are those of the console of the page, `requests` those that the page and its workers sent.
    """

    _LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
    # Monaco writes each space as a no-break space.
    _PRELUDE = """
const all = (selector, of) => [...document.querySelectorAll(selector)].map(of);
const text = (selector) => all(selector, e => e.innerText).join('\\n').replaceAll('\\u00a0', ' ');
"""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        self.messages: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self._identifier = 0
        self._session: dict[str, Any] = {}
        self._buffer = b""
        browser_reads, self._write = os.pipe()
        self._read, browser_writes = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", self._LAUNCH, str(browser_reads), str(browser_writes), CHROMIUM),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                f"--user-data-dir={profile}",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--window-size=1400,850",
                "--remote-debugging-pipe",
            ],
            pass_fds=(browser_reads, browser_writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self.call("Page.enable")
        self.call("Log.enable")
        self.call("Runtime.enable")
        self.call("Network.enable")
        # workers of the page send requests, too, once they are allowed to run
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        identifier = self._send(method, params, self._session)
        while (message := self._next_message()).get("id") != identifier:
            self._record(message.get("method", ""), message.get("params", {}))
        assert "error" not in message, message
        return cast("dict[str, Any]", message["result"])

    def _send(self, method: str, params: dict[str, Any], session: dict[str, Any]) -> int:
        self._identifier += 1
        request = {"id": self._identifier, "method": method, "params": params, **session}
        os.write(self._write, json.dumps(request).encode() + b"\0")
        return self._identifier

    def _record(self, event: str, params: dict[str, Any]) -> None:
        if event in CONSOLE_EVENTS:
            self.messages.append(params)
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        elif event == "Target.attachedToTarget":
            worker = {"sessionId": params["sessionId"]}
            for method in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
                self._send(method, {}, worker)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def paste(self, selector: str, text: str) -> None:
        """Replace the content of an editor by a text, as a person does with the clipboard."""
        box = self.evaluate(f"const it = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); it.toJSON()")
        centre = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        select_all = {"key": "a", "code": "KeyA", "windowsVirtualKeyCode": 65, "modifiers": 2, "commands": ["selectAll"]}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **centre)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **centre)
        self.call("Input.dispatchKeyEvent", type="keyDown", **select_all)
        self.call("Input.dispatchKeyEvent", type="keyUp", **select_all)
        self.evaluate(f"""
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", {json.dumps(text)});
            const pasted = new ClipboardEvent("paste", {{ clipboardData, bubbles: true, cancelable: true }});
            document.activeElement.dispatchEvent(pasted);
        """)
        # the editor handles the event asynchronously
        self.wait_for(f"text({json.dumps(f'{selector} .view-lines')}).includes({json.dumps(text)})")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def evaluate(self, expression: str) -> Any:
        # in a block, because each call declares the names of the prelude
        result = self.call("Runtime.evaluate", expression=f"{{{self._PRELUDE};{expression}}}", returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + 30
        while self.evaluate(expression) is not True:
            assert time.monotonic() < deadline, f"still false after 30 s: {expression}; {self.messages}"
            time.sleep(0.1)

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 60)
            chunk = os.read(self._read, 65536) if ready else b""
            assert chunk, "Chromium does not respond"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return cast("dict[str, Any]", json.loads(message))
