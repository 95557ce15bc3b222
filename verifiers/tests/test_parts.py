"""Parts of the Python verifier and of the page that a corpus of whole objects reaches badly."""

from __future__ import annotations

import json
import random
import sys
import time
import unittest
from pathlib import Path
from typing import List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import chromium
import corpus
import oubliette_verify as v
from test_agree import decode

Run = Tuple[int, int]


def added(seed: int) -> List[Run]:
    """Runs in no order, which touch, overlap and hold one another."""
    chance = random.Random(seed)
    firsts = [chance.randrange(120) for _ in range(25)]
    return [(first, first + chance.randint(1, 12)) for first in firsts]


class Runs(unittest.TestCase):
    def test_python(self) -> None:
        for seed in range(200):
            runs, all_ = v.Runs(), set()
            for first, end in added(seed):
                runs.add(first, end)
                all_.update(range(first, end))
                self.assertEqual([index in runs for index in range(140)], [index in all_ for index in range(140)], seed)
                ends = [one for run in runs for one in run]
                self.assertEqual(ends, sorted(set(ends)), "ascending, and apart from each other")

    def test_page(self) -> None:
        browser = chromium.of_test(self)
        lists = [added(seed) for seed in range(200)]
        found = browser.evaluate(f"JSON.stringify({json.dumps(lists)}.map(list => {{ const runs = new Runs(); for (const [a, b] of list) runs.add(a, b); return runs.runs; }}))")
        for one, ours in zip(json.loads(found), lists):
            runs = v.Runs()
            for first, end in ours:
                runs.add(first, end)
            self.assertEqual([tuple(run) for run in one], list(runs))


class Effort(unittest.TestCase):
    """What a hostile bundle may ask for: the effort grows with its size, not with the square of it."""

    def ledger(self) -> v.Ledger:
        return v.Ledger(v.Report("bundle"), v.Reader())

    def seconds(self, run: "object") -> float:
        start = time.process_time()
        run()  # type: ignore[operator]
        return time.process_time() - start

    def test_many_checkpoints_wait(self) -> None:
        f = corpus.forge(decode)
        note = f.checkpoint_of(f.entries())
        ledger = self.ledger()
        for size in range(20_000):
            ledger.expect("note", note.replace(b"\n8\n", b"\n%d\n" % (size + 10**6)))
        leaves = [bytes(32)] * 50_000
        self.assertLess(self.seconds(lambda: ledger.gap(0, leaves)), 5)

    def test_many_gaps(self) -> None:
        ledger = self.ledger()

        def run() -> None:
            for index in range(0, 100_000, 2):
                ledger.holes.add(index, index + 1)
            for index in range(100_000):
                self.assertEqual(index in ledger.holes, index % 2 == 0)
        self.assertLess(self.seconds(run), 5)


if __name__ == "__main__":
    unittest.main()
