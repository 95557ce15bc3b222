"""One corpus of good and tampered objects: the vectors, a forged ledger with known keys, and a real small ledger."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import documents
import erasures
from forge import BLOCK, Forge, Signer, archive, encode, members, root_of, sha256

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "spec" / "vectors"


class Case(NamedTuple):
    name: str
    object: bytes
    keys: List[str] = []
    against: List[bytes] = []
    data: Optional[bytes] = None
    selection: bool = False
    verdict: Optional[str] = None  # what it must be, where that is known beforehand
    sound: bool = True  # False: no verifier may call it valid


def edited(bundle: bytes, edits: List[Any]) -> bytes:
    for edit in edits:
        if isinstance(edit, list):
            new = bytes.fromhex(edit[1])
            bundle = bundle[: edit[0]] + new + bundle[edit[0] + len(new) :]
        elif "from" in edit:
            bundle = bundle[: edit["from"]] + base64.b64decode(edit["base64"]) + bundle[edit["to"] :]
        elif "cut" in edit:
            bundle = bundle[: edit["cut"]]
        else:
            bundle += bytes.fromhex(edit["append"])
    return bundle


def read_vectors(name: str) -> List[Dict[str, Any]]:
    return json.loads((VECTORS / f"{name}.json").read_text())["vectors"]


def golden_bundle() -> bytes:
    return base64.b64decode(read_vectors("bundles")[0]["bundle"])


def golden() -> Iterator[Case]:
    """The vectors of bundles and evidence; they say what must come out."""
    first = golden_bundle()
    for vector in read_vectors("bundles"):
        bundle = vector["bundle"]
        data = base64.b64decode(bundle) if isinstance(bundle, str) else edited(first, bundle["edits"])
        yield of_vector(vector, data)
    for vector in read_vectors("evidence"):
        yield of_vector(vector, bytes.fromhex(vector["object"]) if vector["kind"] == "certificate" else vector["object"].encode())


def of_vector(vector: Dict[str, Any], data: bytes) -> Case:
    reader = vector.get("reader") or {}
    own = bytes.fromhex(vector["data"]) if "data" in vector else None
    expected = None if vector["name"] == "receipt: not JSON" else vector["expected"]["verdict"]  # no known object at all
    if vector.get("kind") == "page" and "document_invalid" not in vector["expected"]["codes"]:
        expected = "incomplete"  # its renderer is not here
    return Case("vector: " + vector["name"], data, reader.get("keys", []), [one.encode() for one in reader.get("against", [])], own,
                bool(reader.get("selection")), expected)


def forge(decode: Callable[[bytes], Any]) -> Forge:
    signers = {one.public: one for one in (Signer(bytes([seed]) * 32) for seed in range(256))}
    first = next(iter(decode(dict(members(golden_bundle()))[sorted(n for n, _ in members(golden_bundle()) if n.startswith("events/"))[0]])))
    announced = json.loads(first[4][1][2])["keys"]
    return Forge(golden_bundle(), decode, signers, {one["role"]: bytes.fromhex(one["public_key"]) for one in announced})


# The archive itself


def flips(bundle: bytes) -> Iterator[Tuple[str, bytes]]:
    """One byte of each part of each member."""
    at = 0
    for name, content in members(bundle):
        end = at + BLOCK + len(content)
        places = {"name": at, "size": at + 130, "checksum": at + 150, "magic": at + 258, "rest of the header": at + 400,
                  "first byte": at + BLOCK, "middle": at + BLOCK + len(content) // 2, "last byte": end - 1}
        if len(content) % BLOCK:
            places["padding"] = end
        for what, place in places.items():
            yield f"{name}, {what} flipped", bundle[:place] + bytes([bundle[place] ^ 0x20]) + bundle[place + 1 :]
        at = end + -len(content) % BLOCK
    yield "end blocks flipped", bundle[:-1] + b"\1"


def cuts(bundle: bytes) -> Iterator[Tuple[str, bytes]]:
    for at in sorted({1, 100, *range(BLOCK, len(bundle), BLOCK), *range(BLOCK + 77, len(bundle), 5 * BLOCK), len(bundle) - 1}):
        yield f"cut at {at}", bundle[:at]


def moved_members(bundle: bytes) -> Iterator[Tuple[str, bytes]]:
    parts = members(bundle)
    for i, (name, content) in enumerate(parts):
        rest = parts[:i] + parts[i + 1 :]
        yield f"{name} dropped", archive(rest)
        yield f"{name} twice", archive(parts[: i + 1] + parts[i:])
        if rest[i:]:
            yield f"{name} at the end", archive(rest + [parts[i]])
        yield f"{name} emptied", archive(parts[:i] + [(name, b"")] + parts[i + 1 :])
    yield "a member of another name", archive([*parts, ("notes.txt", b"hello")])


# Records, by somebody who holds the keys of manifest and checkpoint, or of everything


def records(f: Forge) -> Iterator[Tuple[str, bytes]]:
    entries = f.entries()
    n = len(entries)
    for i in range(n):
        yield f"event {i} dropped", f.build(entries[:i] + entries[i + 1 :])
        yield f"event {i} twice", f.build(entries[: i + 1] + entries[i:])
        yield f"event {i} moved to the end", f.build(entries[:i] + entries[i + 1 :] + [entries[i]])
        yield f"event {i} left out without a word", f.build(entries[:i] + [[1, i, sha256(b"\0", entries[i][2])]] + entries[i + 1 :])
    for i in range(n - 1):
        yield f"events {i} and {i + 1} swapped", f.build(entries[:i] + [entries[i + 1], entries[i]] + entries[i + 2 :])
    note = dict(f.parts)["checkpoint"]
    for i in range(1, n):
        yield f"tail cut after {i}, everything made anew", f.build(entries[:i])
        yield f"tail cut after {i}, under the old checkpoint", f.build(entries[:i], note)


def swaps(f: Forge) -> Iterator[Tuple[str, bytes]]:
    """Bodies that were moved, and seals that were stripped or made with other keys."""
    fresh = f.entries
    stranger = Signer(b"\xee" * 32)
    bodies = [(i, o) for i, entry in enumerate(fresh()) for o in range(len(entry[4]))]
    for (i, o), (j, p) in zip(bodies, bodies[1:]):
        entries = fresh()
        entries[i][4][o][2], entries[j][4][p][2] = entries[j][4][p][2], entries[i][4][o][2]
        yield f"bytes of body {o} of event {i} exchanged with body {p} of event {j}", f.build(entries)
        entries = fresh()
        entries[i][4][o][1], entries[j][4][p][1] = entries[j][4][p][1], entries[i][4][o][1]
        yield f"salt of body {o} of event {i} exchanged with body {p} of event {j}", f.build(entries)
        entries = fresh()
        del entries[i][4][o]
        yield f"body {o} of event {i} removed", f.build(entries)
    for i in range(len(fresh())):
        signed = {
            "by a stranger": stranger.sign("header", fresh()[i][2], False), "by the checkpoint key": f.checkpoint.sign("header", fresh()[i][2], False),
            "with another algorithm": f.event.sign("header", fresh()[i][2], False, b"\x27"), "as a certificate": f.event.sign("certificate", fresh()[i][2], False),
            "with its payload": f.event.sign("header", fresh()[i][2]), "of another event": fresh()[i - 1][3], "stripped": b"",
            "tagged": b"\xd2" + fresh()[i][3], "zero": fresh()[i][3][:-64] + bytes(64), "short": fresh()[i][3][:-1]}
        for what, signature in signed.items():
            entries = fresh()
            entries[i][3] = signature
            yield f"event {i}, signature {what}", f.build(entries)


def histories(f: Forge) -> Iterator[Tuple[str, bytes]]:
    """Headers and payloads that were changed and signed again by the ledger's own key."""
    n = len(f.entries())
    changes: Dict[str, Callable[[Dict[int, Any], Any], None]] = {
        "suite": lambda h, b: h.update({1: 2}), "origin": lambda h, b: h.update({2: "other.example/main"}), "index": lambda h, b: h.update({3: h[3] + 1}),
        "no previous": lambda h, b: h.pop(4, None), "previous": lambda h, b: h.update({4: bytes(32)}), "stream": lambda h, b: h.update({6: bytes(16)}),
        "version": lambda h, b: h.update({7: h[7] + 1}), "version 0": lambda h, b: h.update({7: 0}), "version huge": lambda h, b: h.update({7: 2**64 - 1}),
        "type": lambda h, b: h.update({8: "other"}), "unknown own type": lambda h, b: h.update({8: "key.rotated"}), "own type": lambda h, b: h.update({8: "ledger.created"}),
        "hold": lambda h, b: h.update({8: "hold.placed"}), "schema 2^32": lambda h, b: h.update({9: 2**32}), "time 0": lambda h, b: h.update({10: 0}),
        "time huge": lambda h, b: h.update({10: 2**64 - 1}), "a field more": lambda h, b: h.update({12: 1}), "no bodies": lambda h, b: h.update({11: []}),
        "bodies turned round": lambda h, b: h[11].reverse(), "type as bytes": lambda h, b: h.update({8: b"order"}), "index as text": lambda h, b: h.update({3: "0"})}
    for i in range(n):
        for what, change in changes.items():
            for linked in (False, True):
                entries = f.entries()
                try:
                    f.edit(entries, i, change, False)
                    if linked:
                        f.link(entries, i + 1)
                except (KeyError, IndexError, TypeError):
                    continue
                yield f"event {i}, {what}{', all later ones linked anew' if linked else ''}", f.build(entries)


METAS: Dict[str, Callable[[Dict[int, Any]], Any]] = {
    "stream without $": lambda m: m.update({2: "erasures"}), "another own stream": lambda m: m.update({2: "$other"}), "an empty stream": lambda m: m.update({2: ""}),
    "a control character": lambda m: m.update({2: "$a\x85"}), "257 bytes": lambda m: m.update({2: "$" + "é" * 128}), "no id": lambda m: m.pop(1),
    "no tags": lambda m: m.update({8: []}), "tags of numbers": lambda m: m.update({8: [1]}), "a handle": lambda m: m.update({4: bytes(16)}),
    "an actor of 15 bytes": lambda m: m.update({4: bytes(15)}), "a field more": lambda m: m.update({9: 1})}


def bodies(f: Forge) -> Iterator[Tuple[str, bytes]]:
    """Bodies that hold to their commitments and are not what they must be."""
    for i in range(len(f.entries())):
        for what, alter in METAS.items():
            entries = f.entries()

            def change(_: Any, found: List[List[Any]]) -> None:
                meta = next(iter(f.decode(found[0][2])))
                alter(meta)
                found[0][2] = encode(meta)
            f.edit(entries, i, change)
            yield f"event {i}, meta with {what}", f.build(entries)
    types = [next(iter(f.decode(entry[2])))[8] for entry in f.entries()]
    for i, kind in enumerate(types):
        texts = [data for data in (entry[4][1][2] for entry in f.entries()[i : i + 1] if len(entry[4]) > 1 and entry[4][1][0] == 1)]
        if kind in ("ledger.created", "bodies.purged"):  # the others: in `erasures`
            for what, data in documents.payloads(texts[0]):
                entries = f.entries()
                f.set_data(entries, i, data)
                yield f"event {i} {kind}, {what}", f.build(entries)
    for vector in read_vectors("own-events") + read_vectors("ledger-created"):
        kind = vector.get("type", "ledger.created")
        entries = f.entries()
        i = 0 if kind == "ledger.created" else 4

        def as_vector(header: Dict[int, Any], found: List[List[Any]]) -> None:
            header[8] = kind
            found[1][2] = vector["data"].encode()
        f.edit(entries, i, as_vector)
        yield f"payload of {vector['name']}", f.build(entries)


def manifests(f: Forge) -> Iterator[Tuple[str, bytes]]:
    entries = f.entries()
    leaves = f.leaves(entries)
    n, root = len(leaves), root_of(leaves)
    for what, changes in {
        "size": {"tree_size": n + 1}, "root": {"root": bytes(32).hex()}, "events": {"events": n - 1}, "no events": {"events": None}, "origin": {"origin": "x"},
        "format": {"format": "oubliette/bundle/v2"}, "one more": {"note": "x"}, "members": {"members": []}, "selection of all": {"selection": {"first": 0, "end": n}},
        "turned selection": {"selection": {"first": 3, "end": 1}}, "filter": {"selection": {"first": 0, "end": n, "filter": "a\nb\u202e"}},
        "root in capitals": {"root": root.hex().upper()}, "bytes for root": {"root": root}, "negative": {"events": -1},
    }.items():
        yield f"manifest: {what}", f.build(entries, manifest=changes)
    yield "manifest by the event key", f.build(entries, signer=f.event)
    yield "manifest by a stranger", f.build(entries, signer=Signer(b"\xee" * 32))
    notes = {
        "of another origin": f.checkpoint.note("other.example/main", n, root), "by the event key": f.event.note(f.origin, n, root),
        "by a stranger": Signer(b"\xee" * 32).note(f.origin, n, root), "with an extension": f.checkpoint.note(f.origin, n, root, "more\n"),
        "of another root": f.checkpoint.note(f.origin, n, bytes(32)), "of size 0": f.checkpoint.note(f.origin, 0, sha256()), "smaller": f.checkpoint.note(f.origin, 3, root_of(leaves[:3])),
        "larger": f.checkpoint.note(f.origin, n + 1, root), "twice signed": f.checkpoint.note(f.origin, n, root) + f.checkpoint.note(f.origin, n, root).split(b"\n\n")[1],
        "a stranger's line more": f.checkpoint.note(f.origin, n, root) + Signer(b"\xee" * 32).note(f.origin, n, root).split(b"\n\n")[1],
        "with CRLF": f.checkpoint.note(f.origin, n, root).replace(b"\n", b"\r\n"), "without its last line break": f.checkpoint.note(f.origin, n, root)[:-1],
        "size with a zero": f.checkpoint.note(f.origin, n, root).replace(b"\n8\n", b"\n08\n"), "seals stripped": f.checkpoint.note(f.origin, n, root).split(b"\u2014")[0]}
    for what, note in notes.items():
        yield f"checkpoint {what}", f.build(entries, note)
        yield f"further checkpoint {what}", f.build(entries, further=encode(note))
    yield "further checkpoints: none", f.build(entries, further=b"")
    yield "further checkpoints: a text", f.build(entries, further=encode("note"))
    yield "further checkpoint of size 3", f.build(entries, further=encode(notes["smaller"]))
    yield "events: long numbers", f.seal([(a, b.replace(b"\x85\x00\x00", b"\x85\x00\x18\x00", 1) if a.startswith("events") else b) for a, b in f.parts[:-1]], entries)
    yield "events: another first index in the name", f.seal([(a.replace("0.cbor", "1.cbor"), b) for a, b in f.parts[:-1]], entries)
    yield "events: bytes after", f.seal([(a, b + b"\0" if a.startswith("events") else b) for a, b in f.parts[:-1]], entries)
    yield "events: an indefinite list", f.seal([(a, b + b"\x9f\xff" if a.startswith("events") else b) for a, b in f.parts[:-1]], entries)
    yield "events: a gap of 31 bytes", f.build(entries + [[1, n, bytes(31)]])
    yield "events: a gap beyond 64 bits", f.build(entries + [[1, 2**64 - 1, bytes(64)]])


def pins(f: Forge, good: bytes, key: str) -> Iterator[Case]:
    """What the reader keeps, against a fork, a shorter and a longer ledger."""
    entries, leaves = f.entries(), f.leaves(f.entries())
    forked = f.entries()
    f.edit(forked, 5, lambda header, _: header.update({9: header[9] + 1}), False)
    f.link(forked, 6)
    kept = {size: f.checkpoint.note(f.origin, size, root_of(leaves[:size])) for size in (0, 1, 5, 7, len(leaves))}
    for size, note in kept.items():
        yield Case(f"fork after 5, kept checkpoint of {size}", f.build(forked), [], [note], verdict="tampered" if size > 5 else "valid")
        yield Case(f"four events, kept checkpoint of {size}", f.build(entries[:4]), [key], [note])
    foreign = Signer(b"\xee" * 32).note(f.origin, 3, root_of(leaves[:3]))
    yield Case("kept: a stranger's", good, [], [foreign], sound=False)
    yield Case("kept: no note", good, [], [b"nothing"], sound=False)
    yield Case("kept: two good ones and a key", good, [key], [kept[1], kept[5]], verdict="valid")
    yield Case("cut, kept checkpoint beyond", good[: len(good) - 4 * BLOCK], [key], [kept[5], kept[len(leaves)]], sound=False)


def all_cases(decode: Callable[[bytes], Any], real: Dict[str, bytes]) -> Iterator[Case]:
    yield from golden()
    f = forge(decode)
    good = golden_bundle()
    key = read_vectors("bundles")[0]["reader"]["keys"][0]
    for part in (flips(good), cuts(good), moved_members(good)):
        for name, data in part:
            yield Case("archive: " + name, data, [key], sound=False)
    yield Case("forge: as it was", f.build(f.entries()), [key], verdict="valid")
    for part in (records(f), swaps(f), histories(f), bodies(f), manifests(f)):
        for name, data in part:
            yield Case("forge: " + name, data, [key])
    yield from pins(f, good, key)
    yield from documents.evidence(f, key, decode)
    yield from erasures.cases(f, key)
    yield from documents.real(real)
