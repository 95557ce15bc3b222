"""The corpus of an erasure with all that may come of it: backups, leaks, a redaction, and their certificates."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterator, List, Tuple
from uuid import UUID

import corpus
import documents
from forge import Entry, Forge, encode, text_of

REQUEST, REDACTION, LEAK, MISTAKE = (str(UUID(int=0x0190163D8694739B8AEA966C26F8AD00 + n)) for n in (1, 2, 3, 4))
ADA, BO = "0b" * 16, "0c" * 16
Event = Tuple[str, str, Dict[str, Any]]  # type, stream, payload


def at(second: int) -> str:
    return f"2026-01-01T00:01:{second:02}.000000Z"


def subject(**more: Any) -> List[Dict[str, Any]]:
    return [{"handle": ADA, **more}]


# What follows the eight events of the vectors' ledger. `NUMBER` finds an event by its name.
EVENTS: Dict[str, Event] = {
    "submitted": ("erasure.submitted", "$erasures", {"request": REQUEST, "four_eyes": True}),
    "requested": ("erasure.requested", "$erasures", {
        "request": REQUEST, "subjects": subject(), "categories": ["billing", "marketing"], "basis": "art17_1_b", "reason": "objection",
        "due_at": "2026-02-01T00:00:00.000000Z", "submitted_at": at(1), "recipients": ["processors", "insurers"], "by": "00ff",
        "roles": ["officer", "admin"], "already_erased": 1, "identifiers": 2}),
    "completed": ("erasure.completed", "$erasures", {
        "request": REQUEST, "subjects": subject(keys_destroyed=2, identity_destroyed=False, events=5, blocks=4), "fenced_at": at(2),
        "keys_deleted_at": at(3), "keys_destroyed_at": at(4), "epochs": {"from": 2, "to": 3}, "epoch_key_due_at": at(20),
        "retired_epochs": [1, 2], "algorithms": ["AES-256-GCM"], "key_bits": 256,
        "verification": {"sampled": 4, "opened": 0, "keys_left": 0, "identity_resolves": False},
        "pending": ["key_store_files", "ciphertext", "epoch_key"]}),
    "files": ("erasure.residue_removed", "$erasures", {"request": REQUEST, "residue": "key_store_files", "at": at(5)}),
    "ciphertext": ("erasure.residue_removed", "$erasures", {
        "request": REQUEST, "residue": "ciphertext", "at": at(6), "purges": [6], "alone": False,
        "derived": [{"store": "handle_index", "state": "blocks_purged", "at": at(6)}, {"store": "block_caches", "state": "memory_only"}]}),
    "epoch 1": ("epoch.destroyed", "$epochs", {"epoch": 1, "retired_at": at(4), "due_at": at(8), "destroyed_at": at(8)}),
    "epoch 2": ("epoch.destroyed", "$epochs", {"epoch": 2, "destroyed_at": at(9)}),
    "leak": ("leak.reported", "$leaks", {"leak": LEAK, "positions": [[2, 1], [1, 1]], "handles": [ADA, BO], "by": "00ff"}),
    "redacted": ("bodies.redacted", "$redactions", {"ground": "personal_data", "positions": [[2, 1], [1, 1]]}),
    "rewritten": ("redaction.completed", "$redactions", {"redaction": REDACTION, "at": at(10), "by": "00ff"}),
    "mistake": ("leak.reported", "$leaks", {"leak": MISTAKE, "positions": [[7, 1]], "handles": [ADA]}),
    "withdrawn": ("leak.withdrawn", "$leaks", {"leak": MISTAKE, "by": "00ff"}),
    "other leak": ("leak.reported", "$leaks", {"leak": LEAK[:-1] + "9", "positions": [[7, 1]], "handles": [BO]}),
    "nameless leak": ("leak.reported", "$leaks", {"leak": LEAK[:-1] + "8", "positions": [[7, 1]]}),
    "recovered": ("erasure.recovered", "$erasures", {
        "origin": "audit.example.com/frozen", "index": 92, "request": REDACTION, "subjects": subject(), "categories": ["billing"]}),
    "renewed": ("subject.keys_renewed", "$subjects", {"handle": BO, "keys": []}),
}
NUMBER = {name: 8 + i for i, name in enumerate(EVENTS)}
READ = ("requested", "completed", "ciphertext", "epoch 1", "leak", "redacted", "withdrawn", "recovered")  # one of each type that binds a verifier
FURTHER = ("files", "ciphertext", "epoch 1", "epoch 2", "leak", "redacted", "mistake", "withdrawn")


def ledger(f: Forge, changed: Dict[str, Event] = {}) -> List[Entry]:
    """The entries of the vectors' ledger and these events, the redacted bodies removed."""
    entries = f.entries()
    for name, (kind, stream, payload) in {**EVENTS, **changed}.items():
        f.append(entries, kind, stream, json.dumps(payload, separators=(",", ":")).encode(), REDACTION if name == "redacted" else None)
    for index in (1, 2):
        entries[index][4] = [body for body in entries[index][4] if body[0] != 1]
    return entries


def common(f: Forge, entries: List[Entry], evidence: List[int]) -> Dict[str, Any]:
    return {"origin": f.origin, "role": "officer", "limits": ["It covers one ledger."], "anchors": [f.evidence(entries, 0)],
            "evidence": [f.evidence(entries, index) for index in evidence], "checkpoint": f.checkpoint_of(entries).decode()}


def recorded(f: Forge, entries: List[Entry], name: str) -> str:
    micros = next(iter(f.decode(entries[NUMBER[name]][2])))[10]
    return f"2026-01-01T00:00:{micros // 10**6 % 60:02}.{micros % 10**6:06}Z"


def erasure(f: Forge, entries: List[Entry], further: Tuple[str, ...] = FURTHER) -> Dict[str, Any]:
    """The final certificate of the erasure."""
    asked, done = EVENTS["requested"][2], EVENTS["completed"][2]
    when = {name: recorded(f, entries, name) for name in NUMBER}
    return {
        **common(f, entries, [NUMBER[name] for name in ("requested", "completed", *further)]),
        **{name: asked[name] for name in ("request", "basis", "reason", "due_at", "submitted_at")},
        **{name: done[name] for name in ("epochs", "epoch_key_due_at", "algorithms", "key_bits")},
        "format": "oubliette/certificate/v1", "status": "final", "by": {"key": asked["by"], "roles": asked["roles"]},
        "requested_at": when["requested"], "completed_at": when["completed"],
        "subjects": subject(categories=asked["categories"], keys_destroyed=2, identity_destroyed=False, blocks_sealed=4),
        "times": {"t1": at(2), "t2": at(4), "t3": at(5), "t4": at(6), "t5": at(9)},
        "key_copies": [{"epoch": 1, "destroyed_at": at(8)}, {"epoch": 2, "destroyed_at": at(9)}],
        "verification": {**done["verification"], "epoch": 3, "text": "Tried."}, "residues": [], "derived": EVENTS["ciphertext"][2]["derived"],
        "recipients": {"named": asked["recipients"], "disclosed": [], "omitted": 0, "unreadable": 0, "text": "As far as it is known."},
        "clear": {"examined": False, "nameless": 1, "text": "Not examined.", "leaks": [
            {"leak": LEAK, "reported_at": when["leak"], "events": [1, 2], "outcome": "redacted", "settled_at": when["redacted"]},
            {"leak": MISTAKE, "reported_at": when["mistake"], "events": [7], "outcome": "withdrawn", "settled_at": when["withdrawn"]}]},
        "suppression": {"active": False}, "already_erased": 1, "other_ledgers_examined": False,
        "tree_size_before": NUMBER["requested"], "tree_size_after": len(entries)}


def redaction(f: Forge, entries: List[Entry]) -> Dict[str, Any]:
    return {**common(f, entries, [NUMBER["redacted"], NUMBER["rewritten"]]), "format": "oubliette/redaction/v1", "redaction": REDACTION,
            "reason": "personal_data", "redacted_at": recorded(f, entries, "redacted"), "files_rewritten_at": at(10),
            "positions": EVENTS["redacted"][2]["positions"], "tree_size": len(entries),
            "backups": {"known": [{"id": LEAK, "started_at": at(1), "index": 3}], "text": "Known backups."}}


def receipt(f: Forge, entries: List[Entry], index: int) -> bytes:
    """A receipt with anchors, of an event that may be one of the ledger's own."""
    _, _, header, signature, bodies = entries[index]
    fields, meta = next(iter(f.decode(header))), next(iter(f.decode(bodies[0][2])))
    salts = {name: text_of(bodies[i][1]) for i, name in enumerate(("meta", "data")) if i < len(bodies)}
    moment = fields[10] - 1767225600 * 10**6
    one = {"header": text_of(header), "signature": text_of(signature), "meta": text_of(bodies[0][2]), "salts": salts, "index": index,
           "stream_version": fields[7], "recorded_at": f"2026-01-01T00:00:{moment // 10**6:02}.{moment % 10**6:06}Z",
           "leaf_hash": f.leaves(entries)[index].hex(), "key_id": f.event.id.hex(), "id": str(UUID(bytes=meta[1])), "stream": meta[2],
           "personal": [], "inclusion": f.inclusion(entries, index)}
    return json.dumps({"events": [one], "checkpoint": f.checkpoint_of(entries).decode(), "anchors": [f.evidence(entries, 0)]}).encode()


def cases(f: Forge, key: str) -> Iterator["corpus.Case"]:
    entries = ledger(f)
    yield corpus.Case("erasure: the whole ledger", f.build(entries), [key], verdict="valid")
    yield from payloads(f, key)
    yield from own_receipts(f, key)
    for name, make in (("erasure", erasure), ("redaction", redaction)):
        yield from certificates(f, name, make(f, entries), [key])
    yield from without_evidence(f, entries, key)
    yield from within(f, entries, key)


def payloads(f: Forge, key: str) -> Iterator["corpus.Case"]:
    """Each own event with its payload altered, in a bundle that is signed anew."""
    for name, (kind, stream, payload) in EVENTS.items():
        data = json.dumps(payload, separators=(",", ":")).encode()
        for what, changed in documents.payloads(data) if name in READ else ():
            entries = ledger(f)
            f.set_data(entries, NUMBER[name], changed)
            yield corpus.Case(f"erasure: {name}, {what}", f.build(entries), [key])
        entries = ledger(f)
        f.append(entries, kind, stream, None)
        yield corpus.Case(f"erasure: {name}, {kind} without data", f.build(entries), [key], sound=kind == "redaction.completed")
        f.append(entries, kind, stream[1:], data)
        yield corpus.Case(f"erasure: {name}, {kind} in another stream", f.build(entries), [key], sound=kind == "redaction.completed")
    for kind in ("leak.forgotten", "subject.other", "key.rotated"):
        entries = ledger(f)
        f.append(entries, kind, "$leaks", b"{}")
        yield corpus.Case(f"erasure: the unknown type {kind}", f.build(entries), [key], verdict="incomplete")


def own_receipts(f: Forge, key: str) -> Iterator["corpus.Case"]:
    for kind, stream, data, verdict in (
            ("hold.placed", "$holds", b"{}", "valid"), ("leak.reported", "$leaks", b"{}", "valid"), ("order.paid", "$holds", None, "valid"),
            ("key.rotated", "$keys", b"{}", "incomplete"), ("leak.forgotten", "$leaks", b"{}", "incomplete"),
            ("ledger.created", "$ledger", b"{}", "tampered"), ("hold.placed", "holds", b"{}", "tampered"), ("leak.forgotten", "leaks", b"{}", "tampered"),
            ("bodies.purged", "purges", b"{}", "tampered"), ("hold.placed", "$holds", None, "tampered"), ("erasure.requested", "$erasures", None, "tampered")):
        entries = ledger(f)
        f.append(entries, kind, stream, data)
        yield corpus.Case(f"erasure: receipt of {kind} in {stream}, {'with' if data else 'no'} data", receipt(f, entries, len(entries) - 1), [key], verdict=verdict)
    for index in range(len(ledger(f))):
        if index not in (1, 2, 3, 7):  # those have personal data, or no public data any more
            yield corpus.Case(f"erasure: receipt of event {index}", receipt(f, ledger(f), index), [key], verdict="valid")


def certificates(f: Forge, name: str, document: Dict[str, Any], keys: List[str]) -> Iterator["corpus.Case"]:
    def signed(one: Any) -> bytes:
        return f.certificate.sign("certificate", encode(one))
    yield corpus.Case(f"erasure: certificate of {name}", signed(document), keys, verdict="valid")
    for what, changed in documents.variants(document):
        if not what.startswith(("anchors", "evidence/0/inclusion")):
            yield corpus.Case(f"erasure: certificate of {name}, {what}", signed(changed), keys)


def without_evidence(f: Forge, entries: List[Entry], key: str) -> Iterator["corpus.Case"]:
    """Certificates that leave out, double or turn round what came of the erasure."""
    def case(what: str, document: Dict[str, Any], **more: Any) -> "corpus.Case":
        return corpus.Case(f"erasure: certificate {what}", f.certificate.sign("certificate", encode(document)), [key], **more)
    for name in FURTHER:
        yield case(f"without {name}", erasure(f, entries, tuple(one for one in FURTHER if one != name)), verdict="tampered")
        yield case(f"with {name} twice", erasure(f, entries, (*FURTHER, name)))
    yield case("of another order", erasure(f, entries, FURTHER[::-1]))
    yield case("with the other kind of leak", {**erasure(f, entries), "clear": {**erasure(f, entries)["clear"], "frozen": [
        {"leak": LEAK, "reported_at": at(1), "events": [1]}]}}, verdict="tampered")
    yield case("of nobody", {**erasure(f, entries), "subjects": []}, verdict="tampered")
    kept = f.certificate.sign("certificate", encode({**erasure(f, entries), "suppression": {"active": True}}))
    yield corpus.Case("erasure: certificate that keeps ids of a living person", kept, [key], verdict="tampered")
    yield from whole_people(f, key)
    yield case("with more", erasure(f, entries, (*FURTHER, "other leak", "nameless leak", "renewed", "rewritten")), verdict="valid")
    for name, member, value in (("files", "request", REDACTION), ("epoch 1", "epoch", 9), ("leak", "positions", [[2, 1], [7, 1]]), ("redacted", "positions", [[2, 1]]),
                                ("withdrawn", "leak", LEAK), ("completed", "retired_epochs", []), ("requested", "recipients", []), ("requested", "already_erased", 0), ("leak", "positions", [[15, 1]]), ("redacted", "positions", [[16, 0]])):
        kind, stream, payload = EVENTS[name]
        changed = ledger(f, {name: (kind, stream, {**payload, member: value})})
        yield case(f"where {name} says {member} {value}", erasure(f, changed), sound=False)


def whole_people(f: Forge, key: str) -> Iterator["corpus.Case"]:
    """Erasures of all categories: what is kept of the id is what was asked for."""
    kind, stream, asked = EVENTS["requested"]
    done = EVENTS["completed"][2]
    asked = {name: value for name, value in asked.items() if name != "categories"}
    kept = {"for ever": ({}, {"active": True}), "for a time": ({"suppression": {"until": at(30)}}, {"active": True, "until": at(30)}),
            "not at all": ({"suppression": "none"}, {"active": False}), "by what nobody knows": ({"suppression": "some"}, {"active": False}),
            "for ever, of a frozen log": ({"origin": "audit.example.com/frozen"}, {"active": True})}
    for what, (said, _) in kept.items():
        entries = ledger(f, {"requested": (kind, stream, {**asked, **said}), "completed": (*EVENTS["completed"][:2], {
            **done, "subjects": subject(keys_destroyed=2, identity_destroyed=True, blocks=4)})})
        document = erasure(f, entries)
        document["subjects"] = subject(keys_destroyed=2, identity_destroyed=True, blocks_sealed=4)
        if "origin" in said:
            document["covers"] = said["origin"]
            document["clear"]["frozen"] = [{"leak": LEAK, "reported_at": at(1), "events": [1]},
                                           {"leak": MISTAKE, "reported_at": at(1), "events": [2], "outcome": "withdrawn", "settled_at": at(2)}]
        for other, (_, stated) in kept.items():
            holds = stated == kept[what][1] and said != {"suppression": "some"}
            yield corpus.Case(f"erasure: certificate of ids kept {what}, that says {other}",
                              f.certificate.sign("certificate", encode({**document, "suppression": stated})), [key],
                              verdict="valid" if holds else None, sound=holds)


def within(f: Forge, entries: List[Entry], key: str) -> Iterator["corpus.Case"]:
    """Certificates in a bundle that has more, less or other than they say."""
    name = f"certificates/{REQUEST}.cbor"

    def signed(document: Any) -> bytes:
        return f.certificate.sign("certificate", encode(document))

    def case(what: str, around: List[Entry], document: Any, further: bytes = b"", **more: Any) -> "corpus.Case":
        bundle = f.build(around, more=[(name, signed(document))], further=encode(further) if further else None)
        return corpus.Case(f"erasure: bundle with {what}", bundle, [key], **more)
    yield case("its certificate", entries, erasure(f, entries), verdict="valid")
    yield case("a certificate of redaction", entries, redaction(f, entries), verdict="tampered")
    yield case("a certificate without two leaks", entries, erasure(f, entries, FURTHER[:4]), verdict="tampered")
    hidden = erasure(f, entries, FURTHER[:4])
    hidden["clear"]["leaks"] = []
    yield case("a certificate that hides leaks", entries, hidden, verdict="tampered")
    longer, note = ledger(f), f.checkpoint_of(entries)
    f.append(longer, "leak.reported", "$leaks", json.dumps({"leak": REQUEST, "positions": [[7, 1]], "handles": [ADA]}).encode())
    yield case("a leak after the certificate", longer, erasure(f, entries), note, verdict="valid")
    yield case("a leak after, and no checkpoint", longer, erasure(f, entries), verdict="incomplete")
    yield case("a certificate of less than it covers", longer, erasure(f, longer), verdict="tampered")
    yield case("another history", ledger(f, {"renewed": ("subject.keys_renewed", "$subjects", {"handle": ADA})}), erasure(f, entries), verdict="tampered")
