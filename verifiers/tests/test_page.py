"""The page as a person sees it: a good, a tampered, an incomplete and a foreign file, wide and narrow, light and dark.

VERIFIERS_SCREENSHOTS names a folder for pictures of all of them.
"""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List, Tuple

import chromium
import corpus

KEY = corpus.read_vectors("bundles")[0]["reader"]["keys"]


def files() -> Dict[str, Tuple[bytes, List[str], str]]:
    """By name: the file, the keys that are brought, and how the verdict begins."""
    good = corpus.golden_bundle()
    certificate = next(bytes.fromhex(one["object"]) for one in corpus.read_vectors("evidence") if one["kind"] == "certificate" and one["valid"])
    return {
        "valid": (good, KEY, "Valid"), "valid-no-key": (good, [], "Valid, but only consistent with itself"),
        "tampered": (good.replace(b'{"total":12}', b'{"total":99}'), KEY, "Tampered"), "incomplete": (good[: len(good) // 2], KEY, "Incomplete"),
        "certificate": (certificate, KEY, "Valid"), "foreign": (b"hello\n", KEY, "Not checked")}


class Page(unittest.TestCase):
    def test_look(self) -> None:
        browser = chromium.of_test(self)
        pictures = os.environ.get("VERIFIERS_SCREENSHOTS")
        with tempfile.TemporaryDirectory() as folder:
            for name, (data, keys, word) in files().items():
                path = Path(folder) / f"{name}.oubliette"
                path.write_bytes(data)
                browser.verify(str(path), keys, [], None, False)
                self.assertTrue(browser.evaluate("$('verdict').textContent").startswith(word), name)
                for width, scheme in ((1280, "light"), (400, "light"), (400, "dark")):
                    with self.subTest(name, width=width, scheme=scheme):
                        self.look(browser, width, scheme)
                    if pictures:
                        browser.screenshot(str(Path(pictures) / f"{name}-{width}-{scheme}.png"), width, 700)

    def look(self, browser: chromium.Browser, width: int, scheme: str) -> None:
        """Nothing sticks out at the side, and the verdict is readable against its ground."""
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=False)
        self.assertLessEqual(browser.evaluate("document.documentElement.scrollWidth"), width)
        self.assertLessEqual(browser.evaluate("Math.max(...[...document.querySelectorAll('main *')].map(one => one.getBoundingClientRect().right))"), width)
        ratio = browser.evaluate("""(() => {
            const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
              return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const word = document.getElementById('verdict'), ground = word.closest('.verdict');
            const [a, b] = [getComputedStyle(word).color, getComputedStyle(ground).backgroundColor].map(light).sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05); })()""")
        self.assertGreaterEqual(ratio, 4.5, "contrast (WCAG AA)")


if __name__ == "__main__":
    unittest.main()
