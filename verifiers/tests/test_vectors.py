"""Every vector of docs/spec/vectors against the Python verifier's parts, and those of encodings and keys against the page's."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import chromium
import corpus
import oubliette_verify as v


def refuses(check: Callable[[], Any]) -> bool:
    try:
        check()
    except v.Bad:
        return True
    return False


class Vectors(unittest.TestCase):
    """The verifier accepts what is valid, and finds the outputs; it refuses the rest."""

    def each(self, name: str, check: Callable[[Dict[str, Any]], Any]) -> None:
        vectors = corpus.read_vectors(name)
        self.assertGreater(len(vectors), 20)
        for vector in vectors:
            with self.subTest(vector["name"]):
                self.assertNotEqual(refuses(lambda: check(vector)), vector["valid"])

    def test_documents(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            value = v.cbor(bytes.fromhex(vector["cbor"]), document=True)
            self.assertTrue(not vector["valid"] or value == vector["value"])
        self.each("documents", check)

    def test_headers(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            raw = bytes.fromhex(vector["header"])
            header = v.Header(raw)
            if vector["valid"]:
                self.assertEqual(v.leaf_hash(raw).hex(), vector["leaf_hash"])
                self.assertEqual([[v.KINDS[kind], hash_.hex()] for kind, hash_ in header.bodies], vector["fields"]["bodies"])
        self.each("headers", check)

    def test_meta(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            meta = v.Meta(bytes.fromhex(vector["meta"]))
            if vector["valid"]:
                self.assertEqual((meta.id, meta.stream), (vector["fields"]["id"], vector["fields"]["stream"]))
        self.each("meta", check)

    def test_small_ones(self) -> None:
        for vector in corpus.read_vectors("commitments"):
            if vector["kind"] in v.KINDS:
                made = v.commitment(v.KINDS.index(vector["kind"]), bytes.fromhex(vector["salt"]), bytes.fromhex(vector["bytes"]))
                self.assertEqual(made.hex() == vector["commitment"] and len(vector["salt"]) == 64, vector["valid"], vector["name"])
        for vector in corpus.read_vectors("padding"):
            self.assertEqual(v.padded_length(vector["length"]) == vector["padded_length"], vector["valid"], vector["name"])
        for vector in corpus.read_vectors("sealed-blocks"):
            if vector["valid"]:
                v.check_sealed_block(bytes.fromhex(vector["block"]))

    def test_trees(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            proof, kind = [bytes.fromhex(one) for one in vector.get("proof", [])], vector["kind"]
            v.need(all(len(one) == 32 for one in proof), "not a hash")
            if kind == "consistency":
                v.check_consistency(vector["from"], vector["to"], bytes.fromhex(vector["old_root"]), bytes.fromhex(vector["new_root"]), proof)
                return
            if kind == "root":
                tree = v.Tree()
                for i in range(vector["size"]):
                    tree.push(v.leaf_hash(str(i).encode()))
                root = tree.root()
            elif kind == "inclusion":
                root = v.inclusion_root(bytes.fromhex(vector["leaf"]), vector["index"], vector["size"], proof)
            else:
                root = v.range_root(vector["first"], [bytes.fromhex(one) for one in vector["leaves"]], vector["size"], proof)
            v.need(root.hex() == vector["root"], "another root")
        self.each("tree", check)

    def test_notes(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            if vector["kind"] == "key":
                v.need(v.NoteKey.parse(vector["vkey"]).text == vector["vkey"], "another key")
                return
            keys = [v.NoteKey.parse(key) for key in vector["keys"]]
            if vector["kind"] == "proof":
                extra, index, hashes, note = v.parse_proof(vector["proof"].encode())
                entry = bytes.fromhex(vector["entry"])
                v.need(extra in (entry, b""), "another entry")
                point = v.Checkpoint(note)
                root = v.inclusion_root(v.leaf_hash(entry), index, point.size, hashes)
                v.need(root == point.root, "another root")
            elif vector["kind"] == "checkpoint":
                point = v.Checkpoint(vector["note"].encode())
            else:
                v.Note(vector["note"].encode()).open(keys)
                return
            v.need(point.origin == vector["origin"] and point.signed_by(keys) is None, "not signed")
        self.each("notes", check)

    def test_signatures(self) -> None:
        def check(vector: Dict[str, Any]) -> None:
            key = v.Key(bytes.fromhex(vector["public_key"]))
            if vector["kind"] == "key":
                return
            if vector["kind"] == "detached":
                payload, cose = bytes.fromhex(vector["payload"]), bytes.fromhex(vector["signature"])
            else:
                payload, cose, _ = v.open_document(bytes.fromhex(vector["signed"]))
            wrong = v.check_signature(vector["object"], key, payload, cose)
            v.need(wrong is None, str(wrong))
        self.each("signatures", check)

    def test_payloads(self) -> None:
        self.each("ledger-created", lambda vector: v.LedgerKeys(vector["data"].encode(), vector["header_origin"]))

        def check(vector: Dict[str, Any]) -> None:
            form = v.PAYLOADS[vector["type"]]
            if form is not None:
                form(v.json_value(vector["data"].encode()))
        self.each("own-events", check)


class PageVectors(unittest.TestCase):
    """The same files through the page's own functions."""

    CHECKS = {
        "documents": "cbor(unhex(one.cbor), true)",
        "headers": "new Header(unhex(one.header))",
        "meta": "new Meta(unhex(one.meta))",
        "ledger-created": "await LedgerKeys.read(bytesOf(one.data), one.header_origin)",
        "own-events": "PAYLOADS.get(one.type) && PAYLOADS.get(one.type)(Json.parse(bytesOf(one.data)))",
        "signatures": "await (async () => { const key = await Key.read(unhex(one.public_key)); if (one.kind === 'key') return; "
                      "const [payload, cose] = one.kind === 'detached' ? [unhex(one.payload), unhex(one.signature)] : openDocument(unhex(one.signed)); "
                      "need(!await checkSignature(one.object, key, payload, cose), 'signature'); })()",
        "notes": "await (async () => { if (one.kind === 'key') { await NoteKey.parse(one.vkey); return; } "
                 "const keys = await Promise.all(one.keys.map(NoteKey.parse)); if (one.kind === 'note') { await new Note(bytesOf(one.note)).open(keys); return; } "
                 "const proof = one.kind === 'proof' && parseProof(bytesOf(one.proof)), point = new Checkpoint(proof ? proof.note : bytesOf(one.note)); "
                 "if (proof) need(same(await inclusionRoot(await leafHash(unhex(one.entry)), proof.index, point.size, proof.hashes), point.root) "
                 "&& [one.entry, ''].includes(hex(proof.extra)), 'root'); "
                 "need(point.origin === one.origin && !await point.signedBy(keys), 'signature'); })()",
        "tree": "await (async () => { const proof = (one.proof ?? []).map(unhex); need(proof.every(p => p.length === 32), 'hash'); let root; "
                "if (one.kind === 'consistency') return; "
                "if (one.kind === 'root') { const tree = new Tree(); for (let i = 0; i < one.size; i += 1) await tree.push(await leafHash(bytesOf(String(i)))); root = await tree.root(); } "
                "else if (one.kind === 'inclusion') root = await inclusionRoot(unhex(one.leaf), one.index, one.size, proof); "
                "else root = await rangeRoot(one.first, one.leaves.map(unhex), one.size, proof); need(hex(root) === one.root, 'root'); })()",
    }

    def test_page(self) -> None:
        browser = chromium.of_test(self)
        for name, check in self.CHECKS.items():
            vectors = [one for one in corpus.read_vectors(name) if one.get("kind") != "consistency"]
            held: List[bool] = json.loads(browser.evaluate(
                f"(async () => {{ const held = []; for (const one of {json.dumps(vectors)}) held.push(!await complaint(async () => {{ {check}; }})); "
                "return JSON.stringify(held); })()"))
            for vector, holds in zip(vectors, held):
                with self.subTest(vector["name"]):
                    self.assertEqual(holds, vector["valid"])


if __name__ == "__main__":
    unittest.main()
