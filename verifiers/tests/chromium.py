"""Drives headless Chromium over its DevTools pipe, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional

PAGE = Path(__file__).resolve().parent.parent / "web" / "index.html"


def find() -> Optional[str]:
    """The browser to use: `CHROMIUM`, or the first one on the path."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


# The protocol's pipes are the descriptors 3 and 4, whatever the numbers are under which they come.
LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(given), fcntl.F_DUPFD_CLOEXEC, 10) for given in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def start(program: str) -> "Browser":
    """A browser; on a busy machine one may end while it starts, so that it is tried three times."""
    for _ in range(2):
        try:
            return Browser(program)
        except RuntimeError as error:
            print(f"once more: {error}", file=sys.stderr)
    return Browser(program)


def of_test(test: unittest.TestCase) -> "Browser":
    """A browser for one test, which is skipped where there is none."""
    program = find()
    if program is None:
        test.skipTest("Chromium is missing: the page was NOT tested")
    browser = start(program)
    test.addCleanup(browser.close)
    return browser


class Browser:
    """One browser with one page, which was opened from its file."""

    def __init__(self, program: str) -> None:
        self.home = tempfile.mkdtemp(prefix="oubliette-chromium-")
        self.log = open(Path(self.home) / "log", "wb")
        to_read, self.write_end = os.pipe()
        self.read_end, to_write = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
                   "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", f"--user-data-dir={self.home}"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(to_read), str(to_write), program, *options, "about:blank"],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=self.log)
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.session = 0, b"", None  # type: int, bytes, Optional[str]
        self.requests: List[str] = []
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
        except (OSError, RuntimeError) as error:
            said = Path(self.log.name).read_text(errors="replace")[-1000:]
            self.close()
            raise RuntimeError(f"{program} did not start, or ended: {said}") from error
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "DOM", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=PAGE.as_uri())
        self.wait("document.body && document.body.dataset.ready")

    def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        self.number += 1
        message: Dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self) -> Dict[str, Any]:
        while b"\0" not in self.rest:
            data = os.read(self.read_end, 1 << 20)
            if not data:
                raise RuntimeError("the browser ended")
            self.rest += data
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the condition holds, at most a minute."""
        self.evaluate("new Promise((done, fail) => { const end = Date.now() + 60000; const look = () => { "
                      f"if ({condition}) done(); else if (Date.now() > end) fail(new Error('waited for a minute')); else setTimeout(look, 3); }}; look(); }})")

    def choose(self, field: str, files: List[str]) -> None:
        """Chooses files in a file field, as a person does in the dialog."""
        found = self.call("Runtime.evaluate", expression=f"document.getElementById('{field}')")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=files, objectId=found)

    def verify(self, file: str, keys: List[str], against: List[str], data: Optional[str], selection: bool) -> Optional[Dict[str, Any]]:
        """The page's report on a file, or None if it refused the file."""
        self.evaluate("$('result').dataset.state = 'waiting'; "
                      f"$('keys').value = {json.dumps(chr(10).join(keys))}; $('selection').checked = {json.dumps(selection)}")
        for field, files in (("against", against), ("data", [data] if data else [])):
            self.evaluate(f"$('{field}').value = ''")
            if files:
                self.choose(field, files)
        self.choose("file", [file])
        self.wait("$('result').dataset.state === 'done'")
        text = self.evaluate("$('report') ? $('report').textContent : ''")
        return json.loads(text) if text else None

    def verify_bytes(self, data: bytes, keys: List[str], against: List[bytes], own: Optional[bytes], selection: bool) -> Optional[Dict[str, Any]]:
        """The same by the page's own functions, without its form: for thousands of files."""
        def blob(one: bytes) -> str:
            return f"Uint8Array.from(atob('{base64.b64encode(one).decode()}'), c => c.charCodeAt(0))"
        reader = (f"{{ keys: await Promise.all({json.dumps(keys)}.map(NoteKey.parse)), against: [{', '.join(map(blob, against))}], origin: null, "
                  f"data: {blob(own) if own is not None else 'null'}, selection: {json.dumps(selection)} }}")
        text = self.evaluate(
            f"(async () => {{ try {{ const report = await verifyFile(new File([{blob(data)}], 'file'), {reader}); "
            "return JSON.stringify(report.asJson(), (_, v) => typeof v === 'bigint' ? exact(v) : v); } "
            "catch (error) { if (error instanceof Bad) return ''; throw error; } })()")
        return json.loads(text) if text else None

    def screenshot(self, path: str, width: int, height: int) -> None:
        """The whole page at a width of so many CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tall = self.evaluate("document.documentElement.scrollHeight")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=max(tall, height), deviceScaleFactor=1, mobile=False)
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(picture))

    def close(self) -> None:
        os.close(self.write_end)
        os.close(self.read_end)
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
