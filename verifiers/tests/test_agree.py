"""Three verifiers, one corpus: `oubliette-verify`, the Python file and the page must say the same of every object.

Same verdict and trust, and the same findings by index, field and code. Words may differ. Environment: VERIFIERS_SERVER
and VERIFIERS_RUST name the programs, CHROMIUM the browser; with VERIFIERS_REQUIRE_BROWSER set, none is a failure.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "verifiers" / "python"))

import chromium
import corpus
import ledger
import oubliette_verify
from corpus import Case

SCRIPT = ROOT / "verifiers" / "python" / "oubliette_verify.py"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
Answer = Optional[Dict[str, Any]]  # a report, or None if the object was refused


def program(variable: str, name: str) -> str:
    found = os.environ.get(variable, str(TARGET / name))
    if not Path(found).exists():
        raise RuntimeError(f"{found} is missing; run: cargo build --bins")
    return found


def decode(data: bytes) -> Any:
    return oubliette_verify.cbor_sequence(data)


def by_python(case: Case) -> Answer:
    reader = oubliette_verify.Reader(case.keys, case.against, None, case.data, case.selection)
    try:
        return oubliette_verify.verify_stream(io.BytesIO(case.object), reader).as_json()
    except oubliette_verify.Bad:
        return None


class Rust:
    """`oubliette-verify`, once for each object."""

    def __init__(self, folder: str) -> None:
        self.folder, self.program = Path(folder), program("VERIFIERS_RUST", "oubliette-verify")

    def __call__(self, numbered: Tuple[int, Case]) -> Answer:
        number, case = numbered
        done = subprocess.run([self.program, *self.arguments(number, case)], capture_output=True, check=False, env={"RAYON_NUM_THREADS": "1"})
        if done.returncode == 2:
            return None
        report = json.loads(done.stdout)
        if done.returncode != (0 if report["verdict"] == "valid" else 1):
            raise AssertionError(f"{case.name}: exit {done.returncode}, {report['verdict']}, {done.stderr!r}")
        return report

    def arguments(self, number: int, case: Case) -> List[str]:
        def file(suffix: str, data: bytes) -> str:
            path = self.folder / f"{number}{suffix}"
            path.write_bytes(data)
            return str(path)
        found = [file("", case.object), "--json", *(part for key in case.keys for part in ("--key", key))]
        for i, note in enumerate(case.against):
            found += ["--against", file(f".against{i}", note)]
        if case.data is not None:
            found += ["--data", file(".data", case.data)]
        return found + ["--selection"] * case.selection

    def all(self, cases: List[Case]) -> List[Answer]:
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(self, enumerate(cases)))


def findings(report: Dict[str, Any]) -> Set[Tuple[str, str, str]]:
    """Place and code of each. The form of a payload that does not hold to its commitment anyhow is nobody's concern."""
    found = {(str(one["index"]), one["field"], one["code"]) for one in report["findings"]}
    return {one for one in found if one[2] != "authority_invalid" or (one[0], one[1], "body_mismatch") not in found}


def differences(one: Answer, other: Answer) -> List[str]:
    """In what two answers differ. An object that one did not recognise must not be valid to the other; nor may the page of
    a certificate be to one that lacks its renderer, and then all but what the page shows is compared."""
    if one is None or other is None or one["object"] != other["object"]:
        return [f"valid to one, {answer and answer['verdict']} to the other" for a, answer in ((one, other), (other, one)) if a and a["verdict"] == "valid"]
    page = any(found["code"] == "page_unchecked" for answer in (one, other) for found in answer["findings"])
    members = [*(() if page else ("verdict",)), "trust", "origin", "tree_size", "root", "key", "events_not_included"]
    if one["verdict"] == "valid":
        members += ["checked", "bodies"]
    found = [f"{name}: {one.get(name)} and {other.get(name)}" for name in members if one.get(name) != other.get(name)]
    if not one["findings_omitted"] and not other["findings_omitted"]:
        places = findings(one) ^ findings(other)
        found += [f"only one has {place}" for place in sorted(places) if not (page and place[1].startswith("page"))]
    return found


class Agree(unittest.TestCase):
    folder: "tempfile.TemporaryDirectory[str]"
    cases: List[Case]
    running: "Future[List[Answer]]"
    python: List[Answer]
    browser: Optional[chromium.Browser] = None

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory(prefix="oubliette-corpus-")
        cls.real = ledger.make(program("VERIFIERS_SERVER", "oubliette"))
        cls.cases = list(corpus.all_cases(decode, cls.real))
        thread = ThreadPoolExecutor(1)
        cls.running = thread.submit(Rust(cls.folder.name).all, cls.cases)
        thread.shutdown(wait=False)
        cls.python = [by_python(case) for case in cls.cases]
        found = chromium.find()
        if found:
            cls.browser = chromium.start(found)
        elif os.environ.get("VERIFIERS_REQUIRE_BROWSER"):
            raise RuntimeError("Chromium is missing")

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.browser:
            cls.browser.close()
        cls.folder.cleanup()

    @property
    def rust(self) -> List[Answer]:
        return self.running.result()

    def page(self) -> chromium.Browser:
        if self.browser is None:
            self.skipTest("Chromium is missing: the page was NOT tested")
        return self.browser

    def same(self, name: str, one: Answer, other: Answer) -> None:
        with self.subTest(name):
            self.assertEqual(differences(one, other), [])

    def test_the_corpus_is_what_it_should_be(self) -> None:
        self.assertGreater(len(self.cases), 2500)
        names = [case.name for case in self.cases]
        self.assertEqual(len(names), len(set(names)))
        verdicts = [answer["verdict"] if answer else "refused" for answer in self.python]
        for verdict, least in (("valid", 200), ("incomplete", 60), ("tampered", 2000)):
            self.assertGreater(verdicts.count(verdict), least, verdict)
        unrecognised = sum(a is None or b is None or a["object"] != b["object"] for a, b in zip(self.rust, self.python))
        self.assertLess(unrecognised, 30)

    def test_python_says_what_was_expected(self) -> None:
        for case, answer in zip(self.cases, self.python):
            with self.subTest(case.name):
                verdict = answer["verdict"] if answer else "refused"
                self.assertTrue(case.verdict in (None, verdict), verdict)
                self.assertTrue(case.sound or verdict != "valid")

    def test_python_and_rust(self) -> None:
        for case, rust, python in zip(self.cases, self.rust, self.python):
            self.same(case.name, rust, python)

    def test_page_and_python(self) -> None:
        browser = self.page()
        for case, python in zip(self.cases, self.python):
            with self.subTest(case.name):
                answer = browser.verify_bytes(case.object, case.keys, case.against, case.data, case.selection)
                self.assertEqual(differences(python, answer), [])

    def test_page_by_hand(self) -> None:
        """Through the form, as a person uses it: the objects that are good, and a few of each kind that are not."""
        browser = self.page()
        chosen = [i for i, case in enumerate(self.cases) if case.verdict or i % 97 == 0]
        self.assertGreater(len(chosen), 100)
        rust = Rust(self.folder.name)
        for i in chosen:
            case = self.cases[i]
            rust.arguments(i, case)
            path = Path(self.folder.name) / str(i)
            against = [f"{path}.against{n}" for n in range(len(case.against))]
            answer = browser.verify(str(path), case.keys, against, f"{path}.data" if case.data is not None else None, case.selection)
            with self.subTest(case.name):
                self.assertEqual(differences(self.python[i], answer), [])
                word = browser.evaluate("document.getElementById('verdict').textContent")
                self.assertTrue(word.lower().startswith(answer["verdict"] if answer else "not checked"), word)

    def test_every_byte(self) -> None:
        """A small bundle with each of its bytes altered in turn: never valid, and all say the same."""
        f = corpus.forge(decode)
        f.parts[0] = ("README.txt", b"Oubliette bundle, version 1\n")
        key, good = corpus.read_vectors("bundles")[0]["reader"]["keys"], f.build(f.entries()[:2])
        flipped = [Case(f"byte {i}", good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1 :], key) for i in range(len(good))]
        python = [by_python(case) for case in flipped]
        for case, answer in zip(flipped, python):
            self.assertNotEqual(answer and answer["verdict"], "valid", case.name)
        some = slice(0, None, 3)  # the reference implementation has a test of its own for every byte
        for case, answer, rust in zip(flipped[some], python[some], Rust(self.folder.name).all(flipped[some])):
            self.same(case.name, rust, answer)
        if self.browser:
            for case, answer in list(zip(flipped, python))[::7]:
                self.same(case.name, self.browser.verify_bytes(case.object, case.keys, [], None, False), answer)

    def test_page_stays_at_home(self) -> None:
        browser = self.page()
        self.assertEqual(set(browser.requests), {chromium.PAGE.as_uri()})
        for attempt in ("fetch('http://127.0.0.1:9/')", "fetch('data:text/plain,x')",
                        "new Promise((done, fail) => { const image = new Image(); image.onload = done; image.onerror = () => fail(new Error('blocked')); "
                        "image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='; })"):
            with self.assertRaises(RuntimeError):
                browser.evaluate(attempt)
        page = chromium.PAGE.read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
        self.assertIsNotNone(policy)
        allowed = f"default-src 'none'; script-src {seal(page, 'script')}; style-src {seal(page, 'style')}; base-uri 'none'; form-action 'none'"
        self.assertEqual(policy and policy.group(1), allowed, "run: python3 verifiers/tests/seal.py")


def seal(page: str, tag: str) -> str:
    content = page.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


class CommandLine(unittest.TestCase):
    """The Python file as a program: exit codes, words, JSON."""

    def run_it(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)

    def test_exit_codes(self) -> None:
        key = corpus.read_vectors("bundles")[0]["reader"]["keys"][0]
        with tempfile.TemporaryDirectory() as folder:
            good, bad, other = (str(Path(folder) / name) for name in ("good", "bad", "other"))
            Path(good).write_bytes(corpus.golden_bundle())
            Path(bad).write_bytes(corpus.golden_bundle() + b"x")
            Path(other).write_text("hello")
            for code, word, arguments in (
                (0, "VALID: ", [good, "--key", key]), (0, "NO TRUSTED KEY", [good]), (1, "trailing_bytes", [bad]), (2, "", [other]), (2, "", []),
                (2, "", [good, "--key", "x"]), (3, "", [good + ".absent"]), (0, '"verdict": "valid"', [good, "--json"]),
                (1, "origin_mismatch", [good, "--origin", "other.example/main"]), (1, "--against 1", [good, "--against", other])):
                done = self.run_it(*arguments)
                with self.subTest(arguments=arguments):
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertIn(word, done.stdout)
                    self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
