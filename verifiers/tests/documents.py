"""The corpus of JSON and signed documents: every member altered in turn, receipts, certificates and proofs."""

from __future__ import annotations

import copy
import json
from typing import Any, Callable, Dict, Iterator, List, Tuple

import corpus
from forge import Forge, Signer, archive, encode, members


def paths(value: Any, at: Tuple[Any, ...] = ()) -> Iterator[Tuple[Any, ...]]:
    """Every place in a document, without the insides of evidence after the first."""
    yield at
    if isinstance(value, dict):
        for name in value:
            yield from paths(value[name], (*at, name))
    elif isinstance(value, list):
        for i, one in enumerate(value[:2]):
            yield from paths(one, (*at, i))


def others(value: Any) -> List[Any]:
    """Other values for one that is there, of its kind and of another one."""
    if isinstance(value, bool):
        return [not value, 1]
    if isinstance(value, int):
        return [value + 1, 0, 2**64 - 1, str(value), True]
    if isinstance(value, str):
        swapped = value[:-1] + ("0" if value[-1:] != "0" else "1")
        return [swapped, value.upper(), value + " ", "", 7]
    if isinstance(value, list):
        return [[], value + value[-1:], value[::-1], {}]
    return [{**value, "unknown": 1}, list(value.values())]


def variants(document: Any) -> Iterator[Tuple[str, Any]]:
    """The document with one place altered, for every place."""
    for path in paths(document):
        if not path:
            continue
        place = "/".join(map(str, path))
        for number, other in enumerate(others(look(document, path))):
            if other != look(document, path) or type(other) is not type(look(document, path)):
                changed = copy.deepcopy(document)
                look(changed, path[:-1])[path[-1]] = other
                yield f"{place} altered ({number})", changed
        if isinstance(path[-1], str):
            changed = copy.deepcopy(document)
            del look(changed, path[:-1])[path[-1]]
            yield f"{place} left out", changed


def look(value: Any, path: Tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def payloads(data: bytes) -> Iterator[Tuple[str, bytes]]:
    """Payloads of an own event: every member altered, and spellings of JSON."""
    value = json.loads(data)
    for name, changed in variants(value):
        yield name, json.dumps(changed, separators=(",", ":")).encode()
    yield from spellings(data)


def spellings(data: bytes) -> Iterator[Tuple[str, bytes]]:
    first = next(iter(json.loads(data)))
    member = data[data.index(b'"') : data.index(b",") + 1]
    yield "with whitespace", data.replace(b",", b" ,\n\t ").replace(b"{", b"{ \r\n")
    yield "an unknown member", b'{"unknown":[1.5e3,null,"\\u00e9"],' + data[1:]
    yield "an unknown member twice", b'{"unknown":1,"unknown":2,' + data[1:]
    yield "a member twice", b"{" + member + data[1:]
    yield "nothing", b""
    yield "an array of the values", json.dumps(list(json.loads(data).values())).encode()
    yield "a number", b"1"
    yield "an empty object", b"{}"
    yield "not UTF-8", data[:-1] + b',"x":"\xff"}'
    yield "half a surrogate", data[:-1] + b',"x":"\\ud800"}'
    yield "a control character", data[:-1] + b',"x":"\x01"}'
    yield "a byte order mark", b"\xef\xbb\xbf" + data
    yield "text after it", data + b"x"
    yield "a line break after it", data + b"\n"
    yield "an escaped name", data.replace(f'"{first}"'.encode(), f'"\\u{ord(first[0]):04x}{first[1:]}"'.encode(), 1)
    yield "a number that is none", data[:-1] + b',"x":01}'
    yield "infinity", data[:-1] + b',"x":1e999}'
    yield "NaN", data[:-1] + b',"x":NaN}'
    yield "a comma too many", data[:-1] + b",}"
    yield "nested 100 deep", data[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}"
    yield "nested 300 deep", data[:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}"
    yield "__proto__", data[:-1] + b',"__proto__":{}}'


def receipts(name: str, data: bytes, keys: List[str]) -> Iterator["corpus.Case"]:
    for what, changed in variants(json.loads(data)):
        yield corpus.Case(f"{name}: {what}", json.dumps(changed, ensure_ascii=False).encode(), keys)
    for what, changed_bytes in spellings(data):
        yield corpus.Case(f"{name}: {what}", changed_bytes, keys)
    nothing = json.loads(data)
    for member in ("anchors", "range", "events"):
        yield corpus.Case(f"{name}: {member} null", json.dumps({**nothing, member: None}).encode(), keys)
    for member in ("inclusion", "personal", "id"):
        changed = copy.deepcopy(nothing)
        changed["events"][0][member] = None
        yield corpus.Case(f"{name}: {member} of an event null", json.dumps(changed).encode(), keys)


def certificates(name: str, cose: bytes, signer: Signer, keys: List[str], decode: Callable[[bytes], Any]) -> Iterator["corpus.Case"]:
    """Every member altered, and signed again by the ledger's own certificate key."""
    document = decode(next(iter(decode(cose)))[2])
    document = next(iter(document))
    yield corpus.Case(f"{name}: signed again", signer.sign("certificate", encode(document)), keys, verdict="valid")
    for what, changed in variants(document):
        yield corpus.Case(f"{name}: {what}", signer.sign("certificate", encode(changed)), keys)
    good = signer.sign("certificate", encode(document))
    stranger = Signer(b"\xee" * 32)
    for what, other in {"by a stranger": stranger.sign("certificate", encode(document)), "as a manifest": signer.sign("manifest", encode(document)),
                        "another algorithm": signer.sign("certificate", encode(document), True, b"\x27"), "tagged": b"\xd2" + good, "no payload": signer.sign("certificate", encode(document), False),
                        "cut": good[:-1], "one byte more": good + b"\0", "an empty document": signer.sign("certificate", encode({})),
                        "a list": signer.sign("certificate", encode([1])), "not canonical": good[:1] + b"\x59\x00" + good[2:]}.items():
        yield corpus.Case(f"{name}: {what}", other, keys, sound=False)


def proofs(name: str, data: bytes, keys: List[str]) -> Iterator["corpus.Case"]:
    lines = data.decode().split("\n")
    for i in range(len(lines)):
        yield corpus.Case(f"{name}: line {i} dropped", "\n".join(lines[:i] + lines[i + 1 :]).encode(), keys)
        yield corpus.Case(f"{name}: line {i} twice", "\n".join(lines[: i + 1] + lines[i:]).encode(), keys)
        yield corpus.Case(f"{name}: line {i} altered", "\n".join([*lines[:i], lines[i].replace("A", "B", 1) + "", *lines[i + 1 :]]).encode(), keys)
        yield corpus.Case(f"{name}: line {i} longer", "\n".join([*lines[:i], lines[i] + " ", *lines[i + 1 :]]).encode(), keys)
    yield corpus.Case(f"{name}: CRLF", data.replace(b"\n", b"\r\n"), keys)
    yield corpus.Case(f"{name}: 65 hashes", "\n".join(lines[:3] + [lines[3]] * 62 + lines[3:]).encode(), keys)


def evidence(f: Forge, key: str, decode: Callable[[bytes], Any]) -> Iterator["corpus.Case"]:
    vectors = [one for one in corpus.read_vectors("evidence") if one["valid"]]
    kinds = {kind: next(one for one in vectors if one["kind"] == kind) for kind in ("receipt", "certificate", "proof")}
    yield from receipts("receipt", kinds["receipt"]["object"].encode(), [key])
    yield from certificates("certificate", bytes.fromhex(kinds["certificate"]["object"]), f.certificate, [key], decode)
    yield from proofs("proof", kinds["proof"]["object"].encode(), [key])
    cose = bytes.fromhex(kinds["certificate"]["object"])
    document = next(iter(decode(next(iter(decode(cose)))[2])))
    name = f"certificates/{document['request']}.cbor"
    entries = f.entries()
    yield corpus.Case("within: its certificate", f.build(entries, more=[(name, cose)]), [key], verdict="valid")
    yield corpus.Case("within: of another name", f.build(entries, more=[(name[:-6] + "0.cbor", cose)]), [key])
    yield corpus.Case("within: twice", f.build(entries, more=[(name, cose)] * 2), [key], sound=False)
    yield corpus.Case("within: a stranger's", f.build(entries, more=[(name, Signer(b"\xee" * 32).sign("certificate", encode(document)))]), [key], sound=False)
    yield corpus.Case("within: no certificate", f.build(entries, more=[(name, b"\x84")]), [key], sound=False)
    yield corpus.Case("within: a shorter ledger", f.build(entries[:6], more=[(name, cose)]), [key], sound=False)
    longer = f.entries()
    f.edit(longer, 7, lambda header, _: header.update({9: header[9] + 1}), False)
    yield corpus.Case("within: a forked ledger", f.build(longer, more=[(name, cose)]), [key], sound=False)
    yield corpus.Case("within: before the events", archive([("README.txt", b""), (name, cose)]), [key], sound=False)
    for what, changed in variants(document):
        if not what.startswith(("anchors", "evidence", "limits")):
            yield corpus.Case(f"within: {what}", f.build(entries, more=[(name, f.certificate.sign("certificate", encode(changed)))]), [key])


GOOD = {"anchored.receipt": "valid", "answer.receipt": "incomplete", "range.receipt": "incomplete", "plain.receipt": "incomplete", "event.tlog-proof": "valid",
        "early.bundle": "valid", "whole.bundle": "valid", "range.selection": "valid", "stream.selection": "valid", "early.certificate": "valid",
        "final.certificate": "valid", "final.page": "incomplete", "redaction.certificate": "valid", "rewritten.certificate": "valid"}


def real(made: Dict[str, bytes]) -> Iterator["corpus.Case"]:
    """The objects of the real ledger, whole and damaged. Their keys are not ours: nothing can be signed again."""
    key = [made["vkey"].decode().strip()]
    for name, verdict in GOOD.items():
        asked = name.endswith(".selection")
        yield corpus.Case(f"real: {name}", made[name], key, selection=asked, verdict=verdict)
        yield corpus.Case(f"real: {name}, no key", made[name], selection=asked)
        for place in range(11, len(made[name]), max(len(made[name]) // 40, 1)):
            data = made[name]
            yield corpus.Case(f"real: {name}, byte {place} flipped", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], key, selection=asked)
    whole = made["whole.bundle"]
    yield corpus.Case("real: selection not asked for", made["stream.selection"], key, verdict="incomplete")
    yield corpus.Case("real: kept checkpoint", whole, key, [made["kept.checkpoint"]], verdict="valid")
    yield corpus.Case("real: kept checkpoint alone", whole, [], [made["kept.checkpoint"]], verdict="valid")
    yield corpus.Case("real: a foreign checkpoint kept", corpus.golden_bundle(), [], [made["kept.checkpoint"]], sound=False)
    yield corpus.Case("real: shorter than the kept checkpoint", made["early.bundle"], key, [dict(members(whole))["checkpoint"]], verdict="tampered")
    yield corpus.Case("real: the data that was sent", made["answer.receipt"], key, [], b'{"total": 12.5}', verdict="incomplete")
    yield corpus.Case("real: other data", made["answer.receipt"], key, [], b'{"total": 13.5}', verdict="tampered")
    parts = members(whole)
    for name, content in corpus.members(corpus.golden_bundle()):
        swapped = [(other, content if other == name else old) for other, old in parts]
        if swapped != parts:
            yield corpus.Case(f"real: {name} of another ledger", archive(swapped), key, sound=False)
    for name, data in list(corpus.moved_members(whole)) + list(corpus.flips(whole)):
        yield corpus.Case(f"real: {name}", data, key, sound=False)
