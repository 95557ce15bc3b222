#!/usr/bin/env python3
"""Verifies evidence from an Oubliette audit ledger, offline: a bundle, a receipt, a certificate, a .tlog-proof.

Written from docs/spec/ alone, to be independent of the reference implementation. Python 3.9 or newer and the package
`cryptography` (for Ed25519) are all it needs. Chapter numbers in comments are those of docs/spec/.

    python3 oubliette_verify.py ledger.oubliette --key VKEY

Sections: 1 report, 2 encodings, 3 hashes and trees, 4 keys and signatures, 5 notes and checkpoints, 6 events,
7 payloads of own events, 8 the ledger in order, 9 bundles, 10 evidence, 11 certificates, 12 command line.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import datetime
import functools
import hashlib
import json
import re
import sys
import unicodedata
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NoReturn, Optional, Sequence, Set, Tuple

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.exit("this program needs the Python package `cryptography`: pip install cryptography")

U64 = 2**64 - 1
MAX_FILE = 64 * 1024 * 1024
MAX_NOTE = 1_000_000
MAX_ENTRIES = 65_536


class Bad(Exception):
    """The bytes are not what they must be. The text says why."""


# --- 1 The report (11) ----------------------------------------------------------------------------------------------

INCOMPLETE = {
    "signature_unchecked", "missing_unresolved", "unknown_system_event", "checkpoint_unchecked", "checkpoint_absent",
    "key_unavailable", "proof_absent", "truncated", "not_included", "unknown_field", "evidence_absent", "page_unchecked",
}
MAX_FINDINGS = 100


def plain(text: str) -> str:
    """The text with control, separator and format characters spelled out, cut at 256 bytes."""
    def one(c: str) -> str:
        return "\\u{%x}" % ord(c) if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cf") else c
    cut = text.encode("utf-8", "replace")[:256].decode("utf-8", "ignore")
    return "".join(one(c) for c in cut)


class Report:
    """Findings and counts of one object. The verdict follows from the findings alone."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.findings: List[Dict[str, Any]] = []
        self.codes: Dict[str, int] = {}
        self.pinned = False
        self.origin: Optional[str] = None
        self.tree_size = 0
        self.root: Optional[bytes] = None
        self.checked = {"events": 0, "signatures": 0, "bodies": 0, "checkpoints": 0}
        self.bodies = {"present": 0, "erased": 0, "purged": 0, "redacted": 0, "missing": 0, "key_unavailable": 0}
        self.left_out = 0
        self.key: Optional[str] = None
        self.notes: List[str] = []

    def add(self, code: str, field: str, index: Optional[int] = None, expected: Any = "", found: Any = "") -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append({"index": index, "field": plain(field), "code": code,
                                  "expected": plain(str(expected)), "found": plain(str(found))})

    @property
    def verdict(self) -> str:
        if any(code not in INCOMPLETE for code in self.codes):
            return "tampered"
        return "incomplete" if self.codes else "valid"

    def as_json(self) -> Dict[str, Any]:
        found = {
            "verdict": self.verdict, "trust": "pinned" if self.pinned else "self_consistent", "object": self.kind,
            "origin": self.origin, "tree_size": self.tree_size, "root": self.root.hex() if self.root else None,
            "checked": self.checked, "bodies": self.bodies, "findings": self.findings,
            "findings_omitted": sum(self.codes.values()) - len(self.findings), "events_not_included": self.left_out,
            "fast": False, "notes": [plain_note(note) for note in self.notes],
        }
        if self.key:
            found["key"] = self.key
        return found

    def as_text(self) -> str:
        lines = [self.headline(), ""]
        if self.origin:
            lines.append(f"Ledger    {plain(self.origin)}")
        if self.root:
            lines.append(f"Tree      {self.tree_size} events, root {self.root.hex()}")
        lines.append("Checked   " + ", ".join(f"{n} {name}" for name, n in self.checked.items()))
        lines.append("Bodies    " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in self.bodies.items()))
        if self.left_out:
            lines.append(f"Left out  {self.left_out} events: only their leaf hashes are there")
        if self.findings:
            lines += ["", "Findings"]
        for f in self.findings:
            place = f["field"] if f["index"] is None else f"event {f['index']}, {f['field']}"
            lines.append(f"  {f['code']}: {place}: expected {f['expected']}; found {f['found']}")
        omitted = sum(self.codes.values()) - len(self.findings)
        if omitted:
            lines.append(f"  and {omitted} more")
        if not self.pinned:
            lines += ["", "!!! NO TRUSTED KEY: whoever makes a forgery with keys of their own gets the same answer."]
            if self.key:
                lines += ["!!! Compare this key with the one that you know from elsewhere, or pass yours with --key:",
                          f"!!!     {plain(self.key)}"]
        if self.notes:
            lines += ["", "What this does not say"] + [f"  - {plain_note(note)}" for note in self.notes]
        return "\n".join(lines)

    def headline(self) -> str:
        if self.verdict == "valid":
            if self.pinned:
                return f"VALID: this {self.kind} is what the ledger of the given key signed."
            return f"VALID, BUT ONLY CONSISTENT WITH ITSELF: nothing in this {self.kind} contradicts itself."
        if self.verdict == "incomplete":
            return f"INCOMPLETE: nothing in this {self.kind} is wrong, but not all of it could be checked."
        return f"TAMPERED: this {self.kind} is not what it claims to be."


def plain_note(text: str) -> str:
    return "".join("\\u{%x}" % ord(c) if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cf") else c for c in text)


# --- 2 Encodings (01, 02) -------------------------------------------------------------------------------------------


class Cbor:
    """A reader of deterministic CBOR that names the first violation. `document`: text keys, no byte strings (02)."""

    def __init__(self, data: bytes, pos: int = 0, document: bool = False, null: bool = False) -> None:
        self.data, self.pos, self.document, self.null, self.values = data, pos, document, null, 0

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.pos:
            raise Bad("end of input bytes")
        self.pos += n
        return self.data[self.pos - n : self.pos]

    def head(self) -> Tuple[int, int]:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7 or info < 24:
            return major, info
        if info > 27:
            raise Bad("an indefinite length or a reserved head")
        size = 1 << (info - 24)
        value = int.from_bytes(self.take(size), "big")
        if value < (24, 0x100, 0x10000, 0x1_0000_0000)[info - 24]:
            raise Bad("a number that is not in its shortest form")
        return major, value

    def item(self, level: int = 1) -> Any:
        self.values += 1
        if level > 16 or self.values > 1_000_000:
            raise Bad("nested too deeply, or too many values")
        major, n = self.head()
        if major == 0:
            return n
        if major == 1:
            if self.document and n >= 2**63:
                raise Bad("a negative number below -2^63")
            return -1 - n
        if major == 2:
            if self.document:
                raise Bad("a byte string in a document")
            return self.take(n)
        if major == 3:
            return utf8(self.take(n))
        if major == 4:
            if n > len(self.data) - self.pos:
                raise Bad("end of input bytes")
            return [self.item(level + 1) for _ in range(n)]
        if major == 5:
            return self.map(n, level)
        if major == 7 and n in (20, 21):
            return n == 21
        if major == 7 and n == 22 and self.null:
            return None
        raise Bad("a tag, a float, null or another simple value")

    def map(self, n: int, level: int) -> Dict[Any, Any]:
        found: Dict[Any, Any] = {}
        last: Optional[bytes] = None
        for _ in range(n):
            start = self.pos
            self.values -= 1
            key = self.item(level + 1)
            raw = self.data[start : self.pos]
            if isinstance(key, bool) or not isinstance(key, str if self.document else (int, str, bytes)):
                raise Bad("a key of another type")
            if last is not None and raw <= last:
                raise Bad("keys out of order, or twice")
            last = raw
            found[key] = self.item(level + 1)
        return found


def cbor(data: bytes, document: bool = False, null: bool = False) -> Any:
    reader = Cbor(data, 0, document, null)
    value = reader.item()
    if reader.pos != len(data):
        raise Bad("bytes after the structure")
    return value


def cbor_sequence(data: bytes) -> Iterator[Any]:
    pos = 0
    while pos < len(data):
        reader = Cbor(data, pos)
        yield reader.item()
        pos = reader.pos


def cbor_bytes(data: bytes) -> bytes:
    """The encoding of a byte string."""
    n = len(data)
    for info, size, limit in ((24, 1, 0x100), (25, 2, 0x10000), (26, 4, 0x1_0000_0000)):
        if n < 24:
            return bytes([0x40 | n]) + data
        if n < limit:
            return bytes([0x40 | info]) + n.to_bytes(size, "big") + data
    raise Bad("a byte string of 4 GiB")


def utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bad("not UTF-8") from error


class Members(Dict[str, Any]):
    """A JSON object that remembers which names it had twice."""

    twice: Set[str] = set()


def json_value(data: bytes, strict: bool = False) -> Any:
    """JSON text (RFC 8259). `strict`, for receipts: no member twice and nothing that is no plain value, unknown members included."""
    def members(pairs: List[Tuple[str, Any]]) -> Members:
        found = Members(pairs)
        if len(found) != len(pairs):
            seen: Set[str] = set()
            found.twice = {name for name, _ in pairs if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
        return found

    def constant(name: str) -> NoReturn:
        raise Bad(f"{name} is not JSON")

    try:
        value = json.loads(utf8(data), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {error}") from error
    if strict:
        plain_value(value, 1)
    return value


def plain_value(value: Any, level: int) -> None:
    need(level <= 127, "nested too deeply")
    need(not isinstance(value, float) or abs(value) != float("inf"), "a number out of range")
    need(not isinstance(value, str) or is_string(value), "half a surrogate pair")
    if isinstance(value, dict):
        need(not getattr(value, "twice", None), "a member twice")
        plain_value(list(value), level)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        plain_value(one, level + 1)


def from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise Bad("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Bad("base64 of another spelling")
    return data


def to_time(micros: int) -> str:
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} microseconds after 1970"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").zfill(26) + "Z"


def to_uuid(raw: bytes) -> str:
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


# Forms. A form is a function that raises `Bad` for a value that does not have it.
Form = Callable[[Any], None]


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Bad(what)


def is_string(v: Any) -> bool:
    """Text, without half a surrogate pair (which JSON can spell and UTF-8 cannot)."""
    return isinstance(v, str) and not any("\ud800" <= c <= "\udfff" for c in v)


def is_uint(top: int = U64, least: int = 0) -> Form:
    return lambda v: need(type(v) is int and least <= v <= top, f"not an integer from {least} to {top}")


def is_text(rule: str = "", what: str = "text") -> Form:
    pattern = re.compile(rule) if rule else None
    return lambda v: need(is_string(v) and (pattern is None or pattern.fullmatch(v) is not None), f"not a {what}")


def is_one_of(*codes: Any) -> Form:
    return lambda v: need(any(v == code and type(v) is type(code) for code in codes), f"none of {codes}")


def is_list(of: Form, least: int = 0, most: int = 1_000_000) -> Form:
    def check(v: Any) -> None:
        need(isinstance(v, list) and least <= len(v) <= most, "not a list of that length")
        for one in v:
            of(one)
    return check


def is_object(required: Dict[str, Form], optional: Optional[Dict[str, Form]] = None, closed: bool = True,
              no_null: Sequence[str] = ()) -> Form:
    """An optional member may be null, which means absent, but for `no_null`. (Documents have no null at all.)"""
    more = optional or {}

    def check(v: Any) -> None:
        need(isinstance(v, dict), "not an object")
        for name, form in required.items():
            need(name in v, f"no member {name}")
            form(v[name])
        for name, form in more.items():
            if name in v and (v[name] is not None or name in no_null):
                form(v[name])
        for name in v:
            known = name in required or name in more
            need(known or not closed, f"an unknown member {name}")
            need(not known or name not in getattr(v, "twice", ()), f"the member {name} twice")
    return check


def is_time(v: Any) -> None:
    need(isinstance(v, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", v, re.ASCII) is not None, "not a time")
    try:
        datetime.datetime.strptime(v, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError as error:
        raise Bad("not a time") from error
    need(v[17:19] <= "59" and v[:4] >= "1970", "not a time")


def is_base64(size: Optional[int] = None) -> Form:
    def check(v: Any) -> None:
        need(isinstance(v, str), "not base64")
        need(size is None or len(from_base64(v)) == size, "another length")
        from_base64(v)
    return check


def is_origin(v: Any) -> None:
    need(isinstance(v, str) and re.fullmatch(r"[!-*,-~]{1,200}", v) is not None and "://" not in v, "not an origin")


is_bool: Form = is_one_of(True, False)
is_hash = is_text("[0-9a-f]{64}", "hash in hex")
is_handle = is_text("[0-9a-f]{32}", "handle")
is_uuid = is_text("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID")
is_category = is_text("[a-z0-9][a-z0-9._-]{0,63}", "category")
is_event_type = is_text("[A-Za-z0-9._:/-]{1,128}", "event type")
is_ledger_name = is_text("[a-z0-9][a-z0-9-]{0,62}", "ledger name")


def is_stream(v: Any) -> None:
    need(is_string(v) and 1 <= len(v.encode()) <= 256, "not a stream name")
    need(not any(unicodedata.category(c) == "Cc" for c in v), "a control character in a stream name")


def pair_of(first: Form, second: Form) -> Form:
    def check(v: Any) -> None:
        need(isinstance(v, list) and len(v) == 2, "not a pair")
        first(v[0])
        second(v[1])
    return check


# --- 3 Hashes and trees (03, 04) ------------------------------------------------------------------------------------

EMPTY_ROOT = hashlib.sha256(b"").digest()
KINDS = ("meta", "data", "sealed")


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(header: bytes) -> bytes:
    return sha256(b"\x00", header)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01", left, right)


def commitment(kind: int, salt: bytes, body: bytes) -> bytes:
    return sha256(b"oubliette/v1/", KINDS[kind].encode(), b"\x00", salt, len(body).to_bytes(8, "big"), body)


class Tree:
    """The right edge of a Merkle tree: the roots of its full subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: List[bytes] = []

    def push(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf = node(self.edge.pop(), leaf)
            size >>= 1
        self.edge.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.edge:
            return EMPTY_ROOT
        root = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            root = node(left, root)
        return root


def inclusion_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root to which the path leads; the caller compares it."""
    need(index < size, "a leaf beyond the tree")
    fn, sn, x = index, size - 1, leaf
    for p in path:
        need(sn != 0, "a proof that is too long")
        if fn & 1 or fn == sn:
            x = node(p, x)
            while fn & 1 == 0 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            x = node(x, p)
        fn >>= 1
        sn >>= 1
    need(sn == 0, "a proof that is too short")
    return x


def check_consistency(m: int, n: int, old: bytes, new: bytes, proof: Sequence[bytes]) -> None:
    need(0 < m <= n, "no proof between these sizes")
    if m == n:
        need(not proof and old == new, "the same size, another root")
        return
    path = [old, *proof] if m & (m - 1) == 0 else list(proof)
    need(bool(path), "a proof that is too short")
    fn, sn = m - 1, n - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]
    for p in path[1:]:
        need(sn != 0, "a proof that is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(p, fr), node(p, sr)
            while fn & 1 == 0 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node(sr, p)
        fn >>= 1
        sn >>= 1
    need(sn == 0 and fr == old and sr == new, "the proof leads to other roots")


def range_root(first: int, leaves: Sequence[bytes], size: int, proof: Sequence[bytes]) -> bytes:
    end = first + len(leaves)
    need(len(leaves) > 0 and end <= size, "no leaves, or leaves beyond the tree")
    rest = iter(proof)

    def walk(lo: int, hi: int) -> bytes:
        if hi <= first or end <= lo:
            one = next(rest, None)
            if one is None:
                raise Bad("a proof that is too short")
            return one
        if hi - lo == 1:
            return leaves[lo - first]
        k = 1 << ((hi - lo - 1).bit_length() - 1)
        left = walk(lo, lo + k)
        return node(left, walk(lo + k, hi))

    root = walk(0, size)
    need(next(rest, None) is None, "a proof that is too long")
    return root


# --- 4 Keys and signatures (05) -------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
Point = Tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add_points(a: Point, b: Point) -> Point:
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    c = 2 * a[3] * b[3] * D % P
    d = 2 * a[2] * b[2] % P
    g, h, i, j = f - e, d - c, d + c, f + e
    return (g * h % P, i * j % P, h * i % P, g * j % P)


def times(k: int, point: Point) -> Point:
    found = NEUTRAL
    while k:
        if k & 1:
            found = add_points(found, point)
        point = add_points(point, point)
        k >>= 1
    return found


def is_neutral(point: Point) -> bool:
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def decode_point(data: bytes) -> Point:
    """The point of a canonical encoding (RFC 8032, 5.1.3)."""
    raw = int.from_bytes(data, "little")
    sign, y = raw >> 255, raw & (2**255 - 1)
    need(y < P, "not a canonical point")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    need((x * x - square) % P == 0, "not a point of the curve")
    need(not (x == 0 and sign), "not a canonical point")
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


class Key:
    """An Ed25519 public key, strict: canonical, neither of small order nor with a torsion component."""

    def __init__(self, public: bytes) -> None:
        need(len(public) == 32, "a key has 32 bytes")
        point = decode_point(public)
        need(not is_neutral(times(8, point)), "a key of small order")
        need(is_neutral(times(L, point)), "a key with a torsion component")
        self.public = public
        self.id = sha256(bytes.fromhex("a301012006215820"), public)
        self.key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Strict: `cryptography` recomputes R and compares its bytes; what remains are S and a small R."""
        if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L or signature[:32] in SMALL_ORDER:
            return False
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@functools.lru_cache(maxsize=256)
def read_key(public: bytes) -> Key:
    """The key; checking it takes some milliseconds, so the last ones are kept."""
    return Key(public)


def small_order() -> Set[bytes]:
    """The canonical encodings of the eight points whose order divides 8."""
    found = set()
    ys = [0, 1, P - 1, int("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)]
    for y in ys + [P - ys[3]]:
        for sign in (0, 1):
            data = (y | sign << 255).to_bytes(32, "little")
            try:
                need(is_neutral(times(8, decode_point(data))), "of large order")
            except Bad:
                continue
            found.add(data)
    return found


SMALL_ORDER = small_order()
assert len(SMALL_ORDER) == 8


def frame(kind: str, key_id: bytes) -> Tuple[bytes, bytes]:
    """Protected header, and everything of a detached signature that stands before its 64 bytes."""
    content_type = f"application/vnd.oubliette.{kind}+cbor".encode()
    protected = bytes.fromhex("a301320378") + bytes([len(content_type)]) + content_type + b"\x04\x58\x20" + key_id
    return protected, b"\x84\x58" + bytes([len(protected)]) + protected + b"\xa0\xf6\x58\x40"


def check_signature(kind: str, key: Key, payload: bytes, cose: bytes) -> Optional[Tuple[str, str]]:
    """None if the detached signature is by this key, else a finding code and what was found."""
    protected, before = frame(kind, key.id)
    claimed = signature_key_id(kind, cose)
    if claimed is None:
        return "signature_malformed", "not a signature of this kind"
    if claimed != key.id or cose[: len(before)] != before:
        return "signature_unknown_key", f"signed by the unknown key {claimed.hex()}"
    message = b"\x84\x6aSignature1" + cbor_bytes(protected) + b"\x4coubliette/v1" + cbor_bytes(payload)
    if not key.verify(cose[len(before) :], message):
        return "signature_invalid", "the signature does not verify"
    return None


def signature_key_id(kind: str, cose: bytes) -> Optional[bytes]:
    """The key id in a detached signature of the one form."""
    _, before = frame(kind, bytes(32))
    start = len(before) - 4 - 32
    found = cose[start : start + 32]
    if len(cose) != len(before) + 64 or cose[: len(before)] != frame(kind, found)[1]:
        return None
    return found


def take_apart(cose: bytes) -> Tuple[bytes, bytes]:
    """A COSE_Sign1 with its payload inside: the payload, and the same signature detached."""
    parts = cbor(cose)
    need(isinstance(parts, list) and len(parts) == 4, "not a COSE_Sign1")
    protected, unprotected, payload, signature = parts
    need(isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes), "not a COSE_Sign1")
    need(unprotected == {} and isinstance(unprotected, dict), "an unprotected header")
    need(isinstance(cbor(protected), dict), "not a protected header")
    return payload, b"\x84" + cbor_bytes(protected) + b"\xa0\xf6" + cbor_bytes(signature)


def open_document(cose: bytes) -> Tuple[bytes, bytes, Any]:
    """As `take_apart`, and the document, whoever signed it."""
    payload, detached = take_apart(cose)
    return payload, detached, cbor(payload, document=True)


# --- 5 Notes and checkpoints (04) -----------------------------------------------------------------------------------


def is_key_name(name: str) -> bool:
    return bool(name) and not any(c.isspace() or c == "+" or ord(c) < 0x20 for c in name)


def note_key_id(name: str, kind: int, public: bytes) -> bytes:
    return sha256(name.encode(), b"\n", bytes([kind]), public)[:4]


class NoteKey:
    """A key that signs notes, in its text form (vkey)."""

    def __init__(self, name: str, kind: int, key: Key) -> None:
        self.name, self.kind, self.key = name, kind, key
        self.id = note_key_id(name, kind, key.public)

    @staticmethod
    def parse(vkey: str) -> "NoteKey":
        parts = vkey.split("+", 2)
        need(len(parts) == 3 and is_key_name(parts[0]), "not a key: name+id+base64")
        raw = from_base64(parts[2])
        need(len(raw) == 33 and raw[0] in (1, 4), "not a key of a known type")
        found = NoteKey(parts[0], raw[0], read_key(raw[1:]))
        need(parts[1] == found.id.hex(), "the key id is not that of the key")
        return found

    @property
    def text(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.key.public).decode()}"

    def signed(self, text: bytes, signature: bytes) -> bool:
        if self.kind == 1:
            return self.key.verify(signature, text)
        seconds = int.from_bytes(signature[:8], "big")
        message = b"cosignature/v1\ntime %d\n" % seconds + text
        return len(signature) == 72 and seconds < 2**63 and self.key.verify(signature[8:], message)


class Note:
    """A signed note, taken apart: its text and its signature lines as (name, key id, signature)."""

    def __init__(self, data: bytes) -> None:
        need(len(data) <= MAX_NOTE, "a note of more than 1,000,000 bytes")
        whole = utf8(data)
        need(not any(b < 0x20 and b != 0x0A for b in data), "a control character")
        cut = whole.rfind("\n\n")
        need(cut >= 0, "no empty line")
        self.text, rest = whole[: cut + 1], whole[cut + 2 :]
        need(rest.endswith("\n"), "a signature line without its end")
        lines = rest[:-1].split("\n")
        need(len(lines) <= 100, "more than 100 signatures")
        self.signatures = [self.line(line) for line in lines]

    @staticmethod
    def line(text: str) -> Tuple[str, bytes, bytes]:
        need(text.startswith("\u2014 "), "not a signature line")
        name, space, signature = text[2:].partition(" ")
        need(space == " " and is_key_name(name), "not a signature line")
        raw = from_base64(signature)
        need(len(raw) >= 5, "a signature without bytes")
        return name, raw[:4], raw[4:]

    def open(self, keys: Sequence[NoteKey]) -> List[NoteKey]:
        """The known keys that signed. A known line that does not verify spoils the whole note."""
        known: Dict[Tuple[str, bytes], NoteKey] = {}
        for key in keys:
            other = known.setdefault((key.name, key.id), key)
            need(other.key.public == key.key.public and other.kind == key.kind, "two keys with one name and id")
        found = []
        for name, key_id, signature in self.signatures:
            key_of_line = known.get((name, key_id))
            if key_of_line is None:
                continue
            need(key_of_line.signed(self.text.encode(), signature), f"the signature of {name} does not verify")
            found.append(key_of_line)
        need(bool(found), "no known key signed the note")
        return found


class Checkpoint:
    """A signed note of exactly three lines."""

    def __init__(self, data: bytes) -> None:
        self.note = Note(data)
        lines = self.note.text.split("\n")
        need(len(lines) == 4 and lines[3] == "", "not three lines")
        is_origin(lines[0])
        need(re.fullmatch("0|[1-9][0-9]{0,19}", lines[1]) is not None and int(lines[1]) <= U64, "not a size")
        self.origin, self.size, self.root = lines[0], int(lines[1]), from_base64(lines[2])
        need(len(self.root) == 32, "not a root")
        need(self.size > 0 or self.root == EMPTY_ROOT, "a root of the empty tree that is another")

    def signed_by(self, keys: Sequence[NoteKey]) -> Optional[str]:
        """None if a key of type 1 that is named as the origin signed, and no known line is bad; else why not."""
        try:
            signers = self.note.open(keys)
        except Bad as error:
            return str(error)
        if not any(key.kind == 1 and key.name == self.origin for key in signers):
            return "signed by no key that is named as the origin"
        return None


# --- 6 Events (03, 07) ----------------------------------------------------------------------------------------------

RESERVED = ("ledger.", "key.", "epoch.", "erasure.", "bodies.", "hold.", "leak.", "restriction.", "subject.", "retention.")


def fields(value: Any, required: Dict[int, Callable[[Any], bool]], optional: Dict[int, Callable[[Any], bool]]) -> None:
    """The form of a fixed structure: a map with these keys and no other."""
    need(isinstance(value, dict), "not a map")
    for key, holds in required.items():
        need(key in value and holds(value[key]), f"field {key} is absent or not of its form")
    for key, one in value.items():
        need(key in required or (key in optional and optional[key](one)), f"field {key} is unknown or not of its form")


def uint(least: int = 0, top: int = U64) -> Callable[[Any], bool]:
    return lambda v: type(v) is int and least <= v <= top


def raw(size: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, bytes) and len(v) == size


def formed(form: Form) -> Callable[[Any], bool]:
    def holds(v: Any) -> bool:
        try:
            form(v)
        except Bad:
            return False
        return True
    return holds


U32 = 2**32 - 1


class Header:
    def __init__(self, data: bytes) -> None:
        need(len(data) <= 16_384, "a header of more than 16,384 bytes")
        map_ = cbor(data)
        if isinstance(map_, dict) and type(map_.get(1)) is int and map_[1] != 1:
            raise Bad(f"suite {map_[1]}")
        fields(map_, {1: uint(1, 1), 2: formed(is_origin), 3: uint(), 5: raw(16), 6: raw(16), 7: uint(1),
                      8: formed(is_event_type), 9: uint(1, U32), 10: uint(), 11: lambda v: isinstance(v, list)}, {4: raw(32)})
        self.origin: str = map_[2]
        self.index: int = map_[3]
        self.previous: Optional[bytes] = map_.get(4)
        self.stream: bytes = map_[6]
        self.version: int = map_[7]
        self.type: str = map_[8]
        self.recorded_at: int = map_[10]
        self.bodies: List[List[Any]] = map_[11]
        need((self.previous is None) == (self.index == 0), "previous is absent at index 0 and nowhere else")
        need(1 <= len(self.bodies) <= 258, "1 to 258 bodies")
        for one in self.bodies:
            need(isinstance(one, list) and len(one) == 2 and uint(0, 2)(one[0]) and raw(32)(one[1]), "not a commitment")
        kinds = [one[0] for one in self.bodies]
        need(kinds == sorted(kinds) and kinds.count(0) == 1 and kinds.count(1) <= 1, "bodies in another order")

    @property
    def reserved(self) -> bool:
        return self.type.startswith(RESERVED)

    def name(self, ordinal: int) -> str:
        kind = self.bodies[ordinal][0]
        return KINDS[kind] if kind < 2 else f"sealed/{ordinal}"


class Meta:
    def __init__(self, data: bytes) -> None:
        map_ = cbor(data)
        fields(map_, {1: raw(16), 2: formed(is_stream)},
               {3: uint(), 4: lambda v: is_string(v) or raw(16)(v), 5: is_string, 6: is_string, 7: is_string,
                8: lambda v: isinstance(v, list) and bool(v) and all(map(is_string, v))})
        self.id = to_uuid(map_[1])
        self.stream: str = map_[2]
        self.correlation: Optional[str] = map_.get(5)


def padded_length(n: int) -> int:
    m = max(n + 1, 64)
    e = m.bit_length() - 1
    s = e.bit_length()
    z = (1 << (e - s)) - 1
    return (m + z) & ~z


def check_sealed_block(data: bytes) -> None:
    map_ = cbor(data)
    fields(map_, {1: uint(1, 1), 2: raw(16), 3: formed(is_category), 4: uint(1, U32), 5: raw(32), 6: raw(32),
                  7: lambda v: isinstance(v, bytes)}, {})
    length = len(map_[7]) - 16
    need(length >= 64 and padded_length(length - 1) == length, "a ciphertext of a length that no padding gives")


Body = Tuple[int, bytes, bytes]  # ordinal, salt, bytes


class Event:
    """One event checked alone (11, step 2): what could be read of it, and whether anything was wrong."""

    def __init__(self, report: Report, at: Optional[int], prefix: str, header: bytes) -> None:
        self.report, self.at, self.prefix = report, at, prefix
        self.leaf = leaf_hash(header)
        self.raw = header
        self.ok = True
        self.trusted = False
        self.header: Optional[Header] = None
        self.meta: Optional[Meta] = None
        self.data: Optional[bytes] = None
        self.claimed: Optional[bytes] = None  # the data that is there, whether its commitment holds or not
        self.absent: List[int] = []
        self.own_absent: List[int] = []
        self.payload: Any = None
        try:
            self.header = Header(header)
        except Bad as error:
            self.fail("header_invalid", "header", "a canonical header", error)

    def fail(self, code: str, field: str, expected: Any, found: Any) -> None:
        self.ok = False
        self.report.add(code, self.prefix + field, self.at, expected, found)

    def note(self, code: str, field: str, expected: Any, found: Any) -> None:
        """A finding about the event's place, which leaves it its authority."""
        self.report.add(code, self.prefix + field, self.at, expected, found)

    def check_signature(self, key: Optional[Key], cose: bytes) -> None:
        """Without a key nothing is said here, and the event is trusted with nothing."""
        if key is None:
            self.ok = False
            return
        wrong = check_signature("header", key, self.raw, cose)
        if wrong:
            self.fail(wrong[0], "signature", f"a signature by key {key.id.hex()}", wrong[1])
        else:
            self.trusted = True
            self.report.checked["signatures"] += 1

    def check_bodies(self, bodies: Sequence[Body], excusable: bool = True) -> None:
        """`excusable`: absent bodies may be excused later. Else those of an own event are missing, others ignored."""
        header = self.header
        if header is None:
            return
        rest = list(bodies)
        for ordinal in range(len(header.bodies)):
            if rest and rest[0][0] == ordinal:
                self.check_body(ordinal, rest[0][1], rest[0][2])
                rest.pop(0)
            elif header.reserved and header.bodies[ordinal][0] < 2:
                self.fail("missing", header.name(ordinal), "present: of Oubliette's own events it is never removed", "absent")
                self.own_absent.append(ordinal)
                self.report.bodies["missing"] += 1
            elif excusable or header.bodies[ordinal][0] < 2:
                self.absent.append(ordinal)
        if rest:
            self.fail("body_unexpected", "bodies", f"the {len(header.bodies)} bodies of the header, each once and in order",
                      f"body {rest[0][0]} here")

    def check_body(self, ordinal: int, salt: bytes, body: bytes) -> None:
        assert self.header is not None
        kind, expected = self.header.bodies[ordinal]
        if kind == 1:
            self.claimed = body
        found = commitment(kind, salt, body)
        if found != expected:
            self.fail("body_mismatch", self.header.name(ordinal), expected.hex(), found.hex())
            return
        try:
            if kind == 0:
                self.meta = Meta(body)
            elif kind == 1:
                self.data = body
            else:
                check_sealed_block(body)
        except Bad as error:
            self.fail("body_invalid", self.header.name(ordinal), "the format of its kind", error)
            return
        self.report.checked["bodies"] += 1
        self.report.bodies["present"] += 1

    def check_own(self) -> None:
        """What an event of a reserved type must be (08)."""
        if self.header is None or not self.header.reserved:
            return
        kind = self.header.type
        if self.meta is not None and not self.meta.stream.startswith("$"):
            self.fail("authority_invalid", "meta", "a stream of Oubliette's own ($...)", f"{kind} in the stream {self.meta.stream}")
            return
        if kind not in PAYLOADS:
            self.fail("unknown_system_event", "type", "a type that this version knows", kind)
            return
        if kind == "ledger.created" and self.header.index != 0:
            self.fail("ledger_created_invalid", "type", "at index 0 and nowhere else", self.header.index)
            return
        if self.claimed is None and any(one[0] == 1 for one in self.header.bodies):
            return  # that it is absent is said elsewhere; a receipt has none
        try:
            need(self.claimed is not None, "no data")
            payload = self.read_payload(PAYLOADS[kind], self.claimed or b"")
            late = [one for one in (payload or {}).get("positions", ()) if one[0] >= self.header.index]
            need(not late, f"a position that is not before this event: {late[:1]}")
            self.payload = payload
        except Bad as error:
            self.fail("authority_invalid", "data", f"a payload of {kind}", error)

    @staticmethod
    def read_payload(form: Optional[Form], data: bytes) -> Any:
        """The payload of a type that binds a verifier, in its form; of others nothing is read."""
        if form is None:
            return None
        payload = json_value(data)
        form(payload)
        return payload

    @property
    def authority(self) -> bool:
        """Nothing is wrong with the event alone. Its place, its links and proofs are another matter."""
        return self.ok and self.trusted and self.payload is not None


# --- 7 Payloads of own events (06, 08, 13) --------------------------------------------------------------------------

BASES = is_one_of("art17_1_a", "art17_1_b", "art17_1_c", "art17_1_d", "art17_1_e", "art17_1_f", "retention", "other")
REASONS = is_one_of("request", "objection", "unlawful", "legal_duty", "retention", "other")
POSITIONS = is_list(pair_of(is_uint(), is_uint(65_535)), 1, 10_000)
DERIVED = is_list(is_object({"store": is_text(), "state": is_text()}, {"at": is_time}))
SUBJECTS = is_list(is_object({"handle": is_handle}, closed=False))
EPOCHS = is_object({"from": is_uint(U32), "to": is_uint(U32)})
is_until = is_object({"until": is_time})


def is_suppression(v: Any) -> None:
    if v != "none":
        is_until(v)


is_requested = is_object(
    {"request": is_uuid, "subjects": SUBJECTS},
    {"categories": is_list(is_category), "basis": BASES, "reason": REASONS, "due_at": is_time, "submitted_at": is_time,
     "recipients": is_list(is_category), "suppression": is_suppression, "already_erased": is_uint(), "by": is_text(), "roles": is_list(is_text()), "origin": is_origin}, closed=False)
is_recovered = is_object({"origin": is_origin, "index": is_uint(), "request": is_uuid, "subjects": SUBJECTS},
                         {"categories": is_list(is_category)}, closed=False)
is_completed = is_object(
    {"request": is_uuid, "subjects": is_list(is_object(
        {"handle": is_handle}, {"keys_destroyed": is_uint(), "identity_destroyed": is_bool, "blocks": is_uint()}, closed=False))},
    {"fenced_at": is_time, "keys_destroyed_at": is_time, "epoch_key_due_at": is_time, "key_bits": is_uint(65_535), "epochs": EPOCHS,
     "retired_epochs": is_list(is_uint(U32)), "algorithms": is_list(is_text()), "pending": is_list(is_text()),
     "verification": is_object({}, {"sampled": is_uint(), "opened": is_uint(), "identity_resolves": is_bool, "keys_left": is_uint()},
                               closed=False)},
    closed=False, no_null=("retired_epochs",))
is_residue_removed = is_object(
    {"request": is_uuid, "residue": is_text(), "at": is_time},
    {"purges": is_list(is_uint()), "alone": is_bool, "derived": DERIVED}, closed=False)
is_epoch_destroyed = is_object({"epoch": is_uint(U32), "destroyed_at": is_time}, closed=False)
is_leak_reported = is_object({"leak": is_uuid, "positions": POSITIONS}, {"handles": is_list(is_handle)}, closed=False)
is_leak_withdrawn = is_object({"leak": is_uuid}, closed=False)
is_redacted = is_object({"ground": is_text(), "positions": POSITIONS})


def is_purged(v: Any) -> None:
    is_object({"ground": is_one_of("erasure", "retention"), "positions": POSITIONS}, {"requests": is_list(is_uuid, 1, 1000)})(v)
    need((v["ground"] == "erasure") == (v.get("requests") is not None), "requests if and only if the ground is erasure")


# What a verifier reads of each known own type; None: it only takes note.
PAYLOADS: Dict[str, Optional[Form]] = {
    "ledger.created": None, "erasure.requested": is_requested, "erasure.completed": is_completed,
    "erasure.recovered": is_recovered, "erasure.residue_removed": is_residue_removed, "bodies.purged": is_purged,
    "bodies.redacted": is_redacted, "epoch.changed": None, "epoch.destroyed": is_epoch_destroyed,
    "erasure.submitted": None, "erasure.approved": None, "erasure.cancellation_requested": None, "erasure.cancelled": None,
    "leak.reported": is_leak_reported, "leak.withdrawn": is_leak_withdrawn,
    "hold.placed": None, "hold.released": None, "restriction.placed": None, "restriction.lifted": None,
    "subject.reopened": None, "subject.keys_renewed": None, "retention.started": None, "retention.completed": None,
}


class LedgerKeys:
    """The keys that a `ledger.created` announces (06)."""

    def __init__(self, data: bytes, origin: str) -> None:
        value = json_value(data)
        one = is_object({"role": is_one_of("event", "checkpoint", "certificate"), "algorithm": is_one_of("ed25519"),
                         "public_key": is_hash, "key_id": is_hash})
        continued = is_object({"origin": is_origin, "last_known": is_text(),
                               "restored": is_object({"tree_size": is_uint(), "root": is_hash})})
        is_object({"ledger": is_ledger_name, "origin": is_origin, "keys": is_list(one, 3, 3), "recovery_key_hash": is_hash},
                  {"continues": is_list(continued)})(value)
        need(value["origin"] == origin, "another origin than the header's")
        keys: Dict[str, Key] = {}
        for announced in value["keys"]:
            key = read_key(bytes.fromhex(announced["public_key"]))
            need(announced["key_id"] == key.id.hex(), "a key id that is not the key's")
            need(announced["role"] not in keys, "two keys of one role")
            keys[announced["role"]] = key
        self.check_continues(value.get("continues") or [], origin)
        self.origin = origin
        self.event, self.certificate = keys["event"], keys["certificate"]
        self.checkpoint = NoteKey(origin, 1, keys["checkpoint"])

    @staticmethod
    def check_continues(continues: List[Dict[str, Any]], origin: str) -> None:
        seen = {origin}
        for one in continues:
            need(one["origin"] not in seen, "a frozen log named twice, or the ledger's own")
            seen.add(one["origin"])
            last, size = Checkpoint(one["last_known"].encode()), one["restored"]["tree_size"]
            root = bytes.fromhex(one["restored"]["root"])
            need(last.origin == one["origin"] and last.size >= size, "a last checkpoint of another log, or a smaller one")
            need(last.size != size or last.root == root, "another root at the same size")
            need(size != 0 or root == EMPTY_ROOT, "a root of the empty tree that is another")

    def pinned_by(self, keys: Sequence[NoteKey]) -> bool:
        own = (self.checkpoint.key.public, self.event.public)
        return any(key.kind == 1 and key.name == self.origin and key.key.public in own for key in keys)


def created_keys(event: Event) -> LedgerKeys:
    """The keys of a first event. Whether its data holds to its commitment is a finding of the event itself."""
    header = event.header
    need(header is not None and header.index == 0 and header.type == "ledger.created", "another event")
    need(event.at == 0 and event.claimed is not None, "not at index 0, or without data")
    return LedgerKeys(event.claimed or b"", header.origin if header else "")


class Reader:
    """What the reader brings (11)."""

    def __init__(self, keys: Sequence[str] = (), against: Sequence[bytes] = (), origin: Optional[str] = None,
                 data: Optional[bytes] = None, selection: bool = False) -> None:
        self.keys = [NoteKey.parse(key) for key in keys]
        self.against, self.origin, self.data, self.selection = against, origin, data, selection


def check_pins(report: Report, reader: Reader, keys: Optional[LedgerKeys]) -> None:
    if not reader.keys:
        return
    if keys is not None and keys.pinned_by(reader.keys):
        report.pinned = True
    else:
        report.add("key_not_pinned", "keys", None, ", ".join(key.text for key in reader.keys),
                   keys.checkpoint.text if keys else "no valid keys")


# --- 8 The ledger in order (11, steps 1 and 3 to 6) -----------------------------------------------------------------


class Waiting:
    """A checkpoint that waits until the tree has its size."""

    def __init__(self, field: str, point: Checkpoint, kept: bool) -> None:
        self.field, self.point, self.kept = field, point, kept


class Runs:
    """Runs of indexes, ascending and apart from each other, however they come."""

    def __init__(self) -> None:
        self.firsts: List[int] = []
        self.ends: List[int] = []

    def add(self, first: int, end: int) -> None:
        """Takes the indexes from `first` up to, without, `end`; runs that touch become one."""
        low, high = bisect.bisect_left(self.ends, first), bisect.bisect_right(self.firsts, end)
        if low < high:
            first, end = min(first, self.firsts[low]), max(end, self.ends[high - 1])
        self.firsts[low:high], self.ends[low:high] = [first], [end]

    def __contains__(self, index: int) -> bool:
        at = bisect.bisect_right(self.firsts, index)
        return at > 0 and index < self.ends[at - 1]

    def __iter__(self) -> Iterator[Tuple[int, int]]:
        return iter(zip(self.firsts, self.ends))


class Ledger:
    """Takes entries in the order of their indexes. Its memory grows with streams and absent bodies, not with events."""

    def __init__(self, report: Report, reader: Reader) -> None:
        self.report, self.reader = report, reader
        self.keys: Optional[LedgerKeys] = None
        self.tree = Tree()
        self.next = 0
        self.previous: Optional[bytes] = None
        self.in_order = True
        self.recorded_at = 0
        self.streams: Dict[bytes, Tuple[int, int]] = {}
        self.unseen = 0  # events left out, skipped or unreadable so far
        self.holes = Runs()  # indexes whose events were left out or unreadable
        self.gaps = Runs()  # indexes that were left out
        self.absent: Dict[Tuple[int, int], str] = {}  # (index, ordinal) -> field
        self.states: Dict[Tuple[int, int], str] = {}
        self.own_absent: Set[Tuple[int, int]] = set()  # absent meta and data of own events, never excused
        self.own_events: Dict[int, bytes] = {}  # of reserved types: index -> hash of header and signature
        self.leaks: List[Tuple[int, List[str]]] = []  # reports that name people: index and handles
        self.own_roots: Dict[int, bytes] = {}  # sizes and roots of the ledger's own checkpoints that hold
        self.requests: Set[str] = set()
        self.waiting: Dict[int, List[Waiting]] = {}  # by size
        self.whole: Optional[Checkpoint] = None
        self.events = 0
        for number, data in enumerate(reader.against, 1):
            self.expect(f"--against {number}", data, kept=True)

    # Checkpoints

    def expect(self, field: str, data: bytes, kept: bool = False) -> Optional[Checkpoint]:
        try:
            point = Checkpoint(data)
        except Bad as error:
            self.report.add("checkpoint_malformed", field, None, "a signed checkpoint", error)
            return None
        self.waiting.setdefault(point.size, []).append(Waiting(field, point, kept))
        return point

    def meet(self) -> None:
        """Checks the checkpoints of the size that the tree has now."""
        if self.tree.size not in self.waiting or not self.in_order or self.keys is None:
            return
        root = self.tree.root()
        for one in self.waiting.pop(self.tree.size):
            self.compare(one, root)

    def compare(self, one: Waiting, root: bytes) -> None:
        if not self.signed(one):
            return
        if one.point.root != root:
            self.report.add("root_mismatch", f"{one.field}, root at size {one.point.size}", None, one.point.root.hex(), root.hex())
            return
        self.report.checked["checkpoints"] += 1
        if not one.kept:
            self.own_roots[one.point.size] = root
        elif one.point.size > 0:
            self.report.pinned = True

    def signed(self, one: Waiting) -> bool:
        assert self.keys is not None
        key = self.keys.checkpoint
        why = one.point.signed_by([key]) if one.point.origin == self.keys.origin else f"a checkpoint of {one.point.origin}"
        if why:
            self.report.add("checkpoint_signature", one.field, None, f"a checkpoint signed by {key.text}", why)
        return why is None

    # Entries

    def gap(self, first: int, leaves: Sequence[bytes]) -> None:
        if self.tree.size == 0:
            self.report.add("ledger_created_invalid", "first event", 0,
                            "ledger.created at index 0 with the ledger's keys", "it is left out")
        self.place(first)
        self.next = first + len(leaves)
        self.unseen += len(leaves)
        self.report.left_out += len(leaves)
        self.holes.add(first, first + len(leaves))
        self.gaps.add(first, first + len(leaves))
        for leaf in leaves:
            self.join(leaf)

    def event(self, index: int, raw_header: bytes, cose: bytes, bodies: Sequence[Body]) -> None:
        first = self.tree.size == 0
        event = Event(self.report, index, "", raw_header)
        self.events += 1
        self.report.checked["events"] += 1
        event.check_bodies(bodies)
        if first:
            self.take_keys(event, index)
        event.check_signature(self.keys.event if self.keys else None, cose)
        event.check_own()
        self.follow(event, index)
        self.excuse(event, index, cose)
        self.join(event.leaf)

    def take_keys(self, event: Event, index: int) -> None:
        try:
            need(index == 0, "not at index 0")
            self.keys = created_keys(event)
        except Bad as error:
            self.report.add("ledger_created_invalid", "first event", index,
                            "ledger.created at index 0 with the ledger's keys", error)
            return
        self.report.origin, self.report.key = self.keys.origin, self.keys.checkpoint.text
        if self.reader.origin is not None and self.reader.origin != self.keys.origin:
            self.report.add("origin_mismatch", "origin", None, self.reader.origin, self.keys.origin)
        self.meet()

    def place(self, index: int) -> bool:
        """Whether the entry stands where the one before says."""
        expected, self.next = self.next, index + 1
        if index == expected:
            return True
        self.in_order = False
        self.report.add("index_mismatch", "index", index, expected, index)
        if index > expected:
            self.unseen += index - expected
            self.holes.add(expected, index)
        self.previous = None
        return False

    def follow(self, event: Event, index: int) -> None:
        in_place = self.place(index)
        header = event.header
        if header is None:
            self.unseen += 1
            self.holes.add(index, index + 1)
            return
        if header.index != index:
            event.note("index_mismatch", "index", index, header.index)
        if in_place and self.tree.size and header.previous != self.previous:
            event.note("previous_mismatch", "previous", (self.previous or b"").hex(), (header.previous or b"").hex())
        if self.keys and header.origin != self.keys.origin:
            event.note("origin_mismatch", "origin", self.keys.origin, header.origin)
        if header.recorded_at < self.recorded_at:
            event.note("time_decreased", "recorded_at", to_time(self.recorded_at) + " or later", to_time(header.recorded_at))
        self.recorded_at = max(self.recorded_at, header.recorded_at)
        self.follow_stream(event, header)

    def follow_stream(self, event: Event, header: Header) -> None:
        last, seen = self.streams.get(header.stream, (0, 0))
        if not last + 1 <= header.version <= last + 1 + self.unseen - seen:
            event.note("stream_version_mismatch", "stream_version", last + 1, header.version)
        self.streams[header.stream] = (max(last, header.version), self.unseen)

    def join(self, leaf: bytes) -> None:
        self.previous = leaf
        self.tree.push(leaf)
        self.meet()

    # Authorities

    def excuse(self, event: Event, index: int, cose: bytes) -> None:
        header = event.header
        if header is None:
            return
        for ordinal in event.absent:
            self.absent[index, ordinal] = header.name(ordinal)
        if header.reserved:
            self.own_absent.update((index, ordinal) for ordinal in event.own_absent)
            self.own_events.setdefault(index, sha256(sha256(event.raw), sha256(cose)))
        if not event.authority:
            return
        if header.type == "erasure.requested":
            self.requests.add(event.payload["request"])
        elif header.type == "erasure.residue_removed" and event.payload["request"] not in self.requests:
            event.fail("authority_invalid", "data", "the request of an erasure.requested before", event.payload["request"])
        elif header.type in ("bodies.purged", "bodies.redacted"):
            self.remove(event, header, index)
        elif header.type == "leak.reported" and event.payload.get("handles"):
            self.leaks.append((index, event.payload["handles"]))

    def remove(self, event: Event, header: Header, index: int) -> None:
        requests = event.payload.get("requests") or []
        unknown = [request for request in requests if request not in self.requests]
        if unknown:
            event.fail("authority_invalid", "data", "requests before it", unknown[0])
            return
        for at, ordinal in event.payload["positions"]:
            self.remove_one(event, header, at, ordinal, index)

    def remove_one(self, event: Event, header: Header, at: int, ordinal: int, index: int) -> None:
        position = (at, ordinal)
        field = self.absent.get(position)
        if field is None:
            if at not in self.holes and position not in self.own_absent:
                self.report.add("purged_but_present", f"body {ordinal}", at,
                                f"absent, since event {index} records its removal", "present, or never there")
            return
        state = "redacted" if header.type == "bodies.redacted" else "purged"
        if event.payload["ground"] == "erasure" and state == "purged" and field.startswith("sealed/"):
            state = "erased"
        if state == "erased" or position not in self.states:
            self.states[position] = state

    # The end

    def finish(self, truncated: bool) -> None:
        """The checkpoints that are left, absent bodies, and pins."""
        report, size = self.report, self.tree.size
        report.tree_size, report.root = size, self.tree.root() if self.in_order else None
        if size == 0 and not truncated:
            report.add("ledger_created_invalid", "events", None, "ledger.created at index 0", "no events")
        if self.whole is None and not truncated:
            report.add("checkpoint_absent", "checkpoint", None, "a signed checkpoint of the whole", "none")
        if self.whole is not None and size > self.whole.size:
            report.add("too_many_events", "events", None, f"{self.whole.size} events", f"{size} events")
        for one in [one for due in self.waiting.values() for one in due]:
            self.leave(one, truncated)
        for position, field in sorted(self.absent.items()):
            state = self.states.get(position, "missing")
            report.bodies[state] += 1
            if state == "missing":
                report.add("missing_unresolved" if truncated else "missing", field, position[0],
                           "present, or removed by an event that names it", "absent")
        if not (truncated and self.tree.size == 0):
            check_pins(report, self.reader, self.keys)
        if report.left_out and not self.reader.selection:
            report.add("not_included", "selection", None, "all events, unless a selection was asked for",
                       f"{self.events} events; of {report.left_out} only the leaf hashes")

    def leave(self, one: Waiting, truncated: bool) -> None:
        size = self.tree.size
        if self.in_order and not truncated and one.point.size > size:
            code = "rolled_back" if one.kept else "too_few_events"
            self.report.add(code, one.field, None, f"{one.point.size} events or more", f"{size} events")
            return
        self.report.add("checkpoint_unchecked", one.field, None, f"root {one.point.root.hex()}", "no root to compare it with")


# --- 9 Bundles (10) -------------------------------------------------------------------------------------------------

BLOCK = 512


def archive_header(name: bytes, size: int) -> bytes:
    """The one header that a member of this name and size has."""
    head = bytearray(BLOCK)
    head[0 : len(name)] = name
    head[100:157] = b"0000644\0" b"0000000\0" b"0000000\0" + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + b"0"
    head[257:265] = b"ustar\x0000"
    head[329:345] = b"0000000\0" * 2
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


class Truncated(Exception):
    """The file ends before its end."""


class Stop(Exception):
    """Nothing after this point can be read."""


class Bundle:
    """Reads a bundle once, member by member. At most one member is in memory."""

    def __init__(self, source: BinaryIO, reader: Reader) -> None:
        self.source, self.reader = source, reader
        self.report = Report("bundle")
        self.ledger = Ledger(self.report, reader)
        self.at = 0
        self.where = "the start"
        self.members: List[Tuple[str, int, str]] = []
        self.stage = 0
        self.last_name = ""
        self.manifest: Optional[bytes] = None
        self.events_seen = False

    def read(self, n: int) -> bytes:
        data = self.source.read(n)
        self.at += len(data)
        if len(data) < n:
            raise Truncated
        return data

    def compare(self, what: str, found: bytes, expected: bytes) -> None:
        if found != expected:
            other = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
            self.report.add("archive_invalid", what, None, "the canonical archive", f"another byte at {self.at - len(found) + other}")

    def verify(self) -> Report:
        truncated = False
        try:
            while self.member():
                pass
            self.end()
        except Truncated:
            truncated = True
            self.report.add("truncated", "archive", None, "a complete archive", f"the end of the file at byte {self.at}, in {self.where}")
        except Stop:
            truncated = True  # in effect: what follows cannot be read
        if not truncated:
            self.absent_members()
        self.check_manifest(truncated)
        self.ledger.finish(truncated)
        self.add_notes()
        return self.report

    def member(self) -> bool:
        block = self.read(BLOCK)
        if block == bytes(BLOCK):
            return False
        raw_name = block[:100].split(b"\0", 1)[0]
        digits = block[124:135]
        name = raw_name.decode("ascii", "replace") if re.fullmatch(b"[!-~]+", raw_name) else ""
        if not name or re.fullmatch(b"[0-7]{11}", digits) is None:
            self.report.add("archive_invalid", f"the header after {self.where if self.members else 'the first header'}", None, "a header",
                            f"at byte {self.at - BLOCK} one without name and size; nothing after it can be read")
            raise Stop
        size = int(digits, 8)
        self.compare(f"the header of {name}", block, archive_header(raw_name, size))
        self.where = name
        if size > MAX_FILE:
            self.report.add("member_invalid", name, None, "at most 64 MiB", f"{size} bytes")
            raise Stop
        content = self.read(size)
        self.members.append((name, size, hashlib.sha256(content).hexdigest()))
        self.take(name, content)
        padding = self.read(-size % BLOCK)
        self.compare(f"the padding of {name}", padding, bytes(len(padding)))
        return True

    def end(self) -> None:
        self.where = "the end blocks"
        self.compare("the end blocks", self.read(BLOCK), bytes(BLOCK))
        if self.source.read(1):
            self.report.add("trailing_bytes", "archive", None, "the end of the file", "more bytes")

    # Members

    def take(self, name: str, content: bytes) -> None:
        stage = self.stage_of(name)
        in_order = stage is not None and (stage > self.stage or (stage == self.stage and stage in (4, 5) and name > self.last_name))
        if stage is None or not in_order:
            self.report.add("member_unexpected", name, None, f"a member that comes after {self.last_name or 'the start'}", name)
            return
        for missing, what in ((1, "README.txt"), (2, "checkpoint")):
            if self.stage < missing < stage:
                self.report.add("member_unexpected", what, None, f"before {name}", "absent")
        if stage == 6 and not self.events_seen:
            self.report.add("member_unexpected", "events/", None, f"before {name}", "absent")
        self.stage, self.last_name = stage, name
        try:
            self.read_member(stage, name, content)
        except Bad as error:
            self.report.add("member_invalid", name, None, "the format of this member", error)

    @staticmethod
    def stage_of(name: str) -> Optional[int]:
        fixed = {"README.txt": 1, "checkpoint": 2, "checkpoints.cbor": 3, "manifest.cbor": 6}
        if re.fullmatch("events/[0-9]{20}[.]cbor", name):
            return 4
        if re.fullmatch("certificates/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[.]cbor", name):
            return 5
        return fixed.get(name)

    def read_member(self, stage: int, name: str, content: bytes) -> None:
        if stage == 1:
            return  # for people; the manifest has its hash
        elif stage == 2:
            self.ledger.whole = self.ledger.expect("checkpoint", content)
        elif stage == 3:
            self.read_checkpoints(content)
        elif stage == 4:
            self.events_seen = True
            self.read_events(name, content)
        elif stage == 5:
            check_certificate_within(self.report, name, content, self.ledger)
        else:
            self.manifest = content

    def read_checkpoints(self, content: bytes) -> None:
        for number, note in enumerate(cbor_sequence(content), 1):
            need(number <= MAX_ENTRIES, "more than 65,536 notes")
            need(isinstance(note, bytes), "not a byte string")
            self.ledger.expect(f"checkpoints.cbor, note {number}", note)

    def read_events(self, name: str, content: bytes) -> None:
        count, first = 0, True
        for entry in cbor_sequence(content):
            count += 1
            need(count <= MAX_ENTRIES, "more than 65,536 entries")
            need(isinstance(entry, list) and len(entry) >= 2 and type(entry[0]) is int and uint()(entry[1]), "not an entry")
            if first and int(name[7:27]) != entry[1]:
                self.report.add("member_invalid", name, None, f"leaf {int(name[7:27])} first", f"leaf {entry[1]}")
            first = False
            if entry[0] == 0 and len(entry) == 5:
                self.read_event(entry)
            else:
                need(entry[0] == 1 and len(entry) == 3 and isinstance(entry[2], bytes), "not an entry")
                need(len(entry[2]) >= 32 and len(entry[2]) % 32 == 0, "not a list of hashes")
                self.ledger.gap(entry[1], [entry[2][i : i + 32] for i in range(0, len(entry[2]), 32)])
        need(count > 0, "no entry")

    def read_event(self, entry: List[Any]) -> None:
        _, index, header, signature, bodies = entry
        need(isinstance(header, bytes) and isinstance(signature, bytes) and isinstance(bodies, list), "not an event")
        need(len(bodies) <= 258, "more than 258 bodies")
        for body in bodies:
            need(isinstance(body, list) and len(body) == 3 and uint(0, 65_535)(body[0]) and raw(32)(body[1])
                 and isinstance(body[2], bytes), "not a body")
        self.ledger.event(index, header, signature, [(o, salt, data) for o, salt, data in bodies])

    def absent_members(self) -> None:
        for stage, what in ((1, "README.txt"), (2, "checkpoint")):
            if self.stage < stage:
                self.report.add("member_unexpected", what, None, "in the bundle", "absent")
        if self.manifest is None:
            self.report.add("member_unexpected", "manifest.cbor", None, "in the bundle", "absent")

    # Manifest

    def check_manifest(self, truncated: bool) -> None:
        if self.manifest is None:
            return
        name, keys = "manifest.cbor", self.ledger.keys
        manifest = signed_document(self.report, "manifest", name, self.manifest, keys.certificate if keys else None, is_manifest)
        if manifest is None:
            return
        tree = self.ledger.tree
        self.fact("format", manifest["format"], "oubliette/bundle/v1")
        if self.ledger.keys:
            self.fact("origin", manifest["origin"], self.ledger.keys.origin)
        self.compare_members(manifest["members"])
        selection = manifest.get("selection")
        if not truncated:
            self.fact("tree_size", manifest["tree_size"], tree.size)
            self.fact("events", manifest["events"], self.ledger.events)
            if self.ledger.in_order:
                self.fact("root", manifest["root"], tree.root().hex())
            self.check_gaps(selection)
        if selection and "filter" in selection:
            self.report.notes.append(f"The manifest says of the selection: {selection['filter']}. That cannot be checked.")

    def fact(self, field: str, stated: Any, found: Any) -> None:
        if stated != found:
            self.report.add("fact_mismatch", f"manifest.cbor, {field}", None, stated, found)

    def compare_members(self, listed: List[Dict[str, Any]]) -> None:
        here = [one for one in self.members if one[0] != "manifest.cbor"]
        for stated, (name, size, digest) in zip(listed, here):
            if stated["name"] != name:
                self.report.add("member_mismatch", name, None, stated["name"], name)
                return
            if (stated["size"], stated["sha256"]) != (size, digest):
                self.report.add("member_mismatch", name, None, f"{stated['size']} bytes, SHA-256 {stated['sha256']}",
                                f"{size} bytes, SHA-256 {digest}")
        if len(listed) != len(here):
            self.report.add("member_mismatch", "manifest.cbor", None, f"{len(listed)} members", f"{len(here)} members")

    def check_gaps(self, selection: Optional[Dict[str, Any]]) -> None:
        """The first leaf that was left out although the manifest does not say so."""
        if selection is not None and "filter" in selection:
            return
        inside = (0, U64) if selection is None else (selection["first"], selection["end"])
        undeclared = [max(first, inside[0]) for first, end in self.ledger.gaps if max(first, inside[0]) < min(end, inside[1])]
        if undeclared:
            self.report.add("undeclared_gap", "event", undeclared[0],
                            "every event that the manifest does not declare as left out", "its leaf hash alone")

    def add_notes(self) -> None:
        self.report.notes += [
            f"Events after the first {self.report.tree_size} are not covered, and neither is whether others were shown "
            "another history: compare the root with a checkpoint from elsewhere.",
            "Recorded times are the server's own; they never decrease, but no outside clock confirms them.",
            "Sealed blocks were compared with their commitments, not opened.",
            "Whether event ids are unique was not looked at.",
            "Witness cosignatures and timestamps were not looked at.",
        ]
        if self.report.left_out:
            self.report.notes.append(f"{self.report.left_out} events are left out: nothing is said about their signatures, "
                                     "streams, times and bodies.")


is_manifest = is_object(
    {"format": is_text(), "origin": is_origin, "tree_size": is_uint(), "root": is_hash, "events": is_uint(),
     "members": is_list(is_object({"name": is_text(), "size": is_uint(), "sha256": is_hash}))},
    {"selection": is_object({"first": is_uint(), "end": is_uint()}, {"filter": is_text()})})


def signed_document(report: Report, kind: str, field: str, cose: bytes, key: Optional[Key], form: Form) -> Any:
    """The document of a COSE_Sign1 by this key, or None: a document is read only after its signature holds."""
    try:
        payload, detached = take_apart(cose)
    except Bad as error:
        report.add("signature_malformed", field, None, f"a signed {kind}", error)
        return None
    if key is None:
        report.add("signature_unchecked", field, None, "the ledger's certificate key", "no valid keys")
        return None
    wrong = check_signature(kind, key, payload, detached)
    if wrong:
        report.add(wrong[0], field, None, f"a {kind} signed by key {key.id.hex()}", wrong[1])
        return None
    report.checked["signatures"] += 1
    try:
        document = cbor(payload, document=True)
        form(document)
    except Bad as error:
        report.add("document_invalid", field, None, f"a {kind}", error)
        return None
    return document


# --- 10 Evidence (09) -----------------------------------------------------------------------------------------------

is_inclusion = is_object({"leaf_index": is_uint(), "tree_size": is_uint(), "hashes": is_list(is_hash)})
is_evidence = is_object({"header": is_base64(), "signature": is_base64(), "inclusion": is_inclusion,
                         "bodies": is_list(is_object({"ordinal": is_uint(65_535), "salt": is_base64(32), "bytes": is_base64()}))})


class Proofs:
    """One checkpoint, the keys that vouch for it, and proofs under it."""

    def __init__(self, report: Report, reader: Reader, note: bytes, anchors: Sequence[Dict[str, Any]], anchored: bool) -> None:
        self.report, self.reader = report, reader
        self.keys: Optional[LedgerKeys] = None
        self.point: Optional[Checkpoint] = None
        if anchored:
            self.take_keys(anchors)
        self.take_checkpoint(note)
        self.compare_kept()
        if anchored:
            check_pins(report, reader, self.keys) if self.keys else None
        self.anchors = [self.evidence(f"anchors/{i}", one) for i, one in enumerate(anchors)]

    def take_keys(self, anchors: Sequence[Dict[str, Any]]) -> None:
        if not anchors:
            return
        trial = Report("trial")
        event = read_evidence(trial, "", anchors[0])
        try:
            self.keys = created_keys(event)
        except Bad as error:
            self.report.add("ledger_created_invalid", "anchors", None, "ledger.created first", error)
            return
        self.report.key = self.keys.checkpoint.text

    def take_checkpoint(self, note: bytes) -> None:
        report = self.report
        try:
            self.point = Checkpoint(note)
        except Bad as error:
            report.add("checkpoint_malformed", "checkpoint", None, "a signed checkpoint", error)
            return
        point = self.point
        report.origin, report.tree_size, report.root = point.origin, point.size, point.root
        if self.reader.origin is not None and self.reader.origin != point.origin:
            report.add("origin_mismatch", "origin", None, self.reader.origin, point.origin)
        keys = [self.keys.checkpoint] if self.keys else self.reader.keys
        if not keys:
            report.add("signature_unchecked", "checkpoint", None, "anchors, or a key passed with --key", "neither")
            return
        why = point.signed_by(keys)
        if why is None:
            report.checked["checkpoints"] += 1
            report.pinned = report.pinned or self.keys is None
        else:
            report.add("checkpoint_signature", "checkpoint", None,
                       f"a checkpoint signed by {self.keys.checkpoint.text if self.keys else 'a pinned key'}", why)

    def compare_kept(self) -> None:
        for number, data in enumerate(self.reader.against, 1):
            field = f"--against {number}"
            try:
                kept = Checkpoint(data)
            except Bad as error:
                self.report.add("checkpoint_malformed", field, None, "a signed checkpoint", error)
                continue
            keys = [self.keys.checkpoint] if self.keys else self.reader.keys
            why = kept.signed_by(keys) if keys else None
            if why:
                self.report.add("checkpoint_signature", field, None, "a checkpoint of this ledger", why)
            elif not keys or self.point is None or kept.size != self.point.size or kept.origin != self.point.origin:
                self.report.add("checkpoint_unchecked", field, None, f"root {kept.root.hex()}", "no root to compare it with")
            elif kept.root != self.point.root:
                self.report.add("root_mismatch", f"{field}, root at size {kept.size}", None, kept.root.hex(), self.point.root.hex())
            elif kept.size > 0:
                self.report.pinned = True

    def check_event(self, event: Event, cose: bytes) -> None:
        """Signature, own form and origin of an event whose bodies were looked at."""
        key = self.event_key(cose)
        if key is None:
            event.ok = False
            self.report.add("signature_unchecked", "signature", event.at, "anchors, or the event key passed with --key", "neither")
        else:
            event.check_signature(key, cose)
        event.check_own()
        if self.point and event.header and event.header.origin != self.point.origin:
            event.note("origin_mismatch", "origin", self.point.origin, event.header.origin)

    def event_key(self, cose: bytes) -> Optional[Key]:
        if self.keys:
            return self.keys.event
        claimed = signature_key_id("header", cose)
        return next((one.key for one in self.reader.keys if one.kind == 1 and one.key.id == claimed), None)

    def check_inclusion(self, event: Event, field: str, index: int, inclusion: Dict[str, Any]) -> None:
        if self.point is None:
            return
        path = [bytes.fromhex(one) for one in inclusion["hashes"]]
        point = self.point
        try:
            need((inclusion["leaf_index"], inclusion["tree_size"]) == (index, point.size),
                 f"leaf {inclusion['leaf_index']} in a tree of {inclusion['tree_size']}")
            root = inclusion_root(event.leaf, index, point.size, path)
            need(root == point.root, f"the proof leads to root {root.hex()}")
        except Bad as error:
            self.report.add("proof_invalid", f"{field}, inclusion", event.at, f"leaf {index} in a tree of {point.size}", error)

    def evidence(self, field: str, one: Dict[str, Any]) -> Event:
        event = read_evidence(self.report, field + ", ", one)
        self.report.checked["events"] += 1
        self.check_event(event, from_base64(one["signature"]))
        index = one["inclusion"]["leaf_index"]
        if event.header and event.header.index != index:
            event.note("fact_mismatch", "index", event.header.index, index)
        self.check_inclusion(event, field, index, one["inclusion"])
        return event


def read_evidence(report: Report, prefix: str, one: Dict[str, Any]) -> Event:
    header = from_base64(one["header"])
    event = Event(report, one["inclusion"]["leaf_index"], prefix, header)
    event.check_bodies([(b["ordinal"], from_base64(b["salt"]), from_base64(b["bytes"])) for b in one["bodies"]], False)
    for ordinal in event.absent:
        event.report.add("evidence_absent", prefix[:-2], event.at, "the public bodies of the event", f"no body {ordinal}")
    return event


is_personal = is_object({"ordinal": is_uint(65_535)},
                        {"handle": is_handle, "category": is_category, "generation": is_uint(U32)})
RECEIPT_EVENT = {
    "header": is_base64(), "signature": is_base64(), "meta": is_base64(),
    "index": is_uint(), "stream_version": is_uint(), "recorded_at": is_time, "leaf_hash": is_hash, "key_id": is_hash,
    "id": is_uuid, "stream": is_stream, "salts": is_object({"meta": is_base64(32)}, {"data": is_base64(32)}),
}
RECEIPT_EVENT_MORE = {"inclusion": is_inclusion, "personal": is_list(is_personal)}
is_receipt_event = is_object(RECEIPT_EVENT, RECEIPT_EVENT_MORE, closed=False, no_null=("personal",))
RECEIPT = {"events": is_list(is_receipt_event), "checkpoint": is_text()}
RECEIPT_MORE = {"anchors": is_list(is_evidence),
                "range": is_object({"first": is_uint(), "count": is_uint(), "tree_size": is_uint(), "hashes": is_list(is_hash)})}
is_receipt = is_object(RECEIPT, RECEIPT_MORE, closed=False, no_null=("anchors",))


def verify_receipt(data: bytes, reader: Reader) -> Report:
    report = Report("receipt")
    try:
        receipt = json_value(data, strict=True)
        is_receipt(receipt)
    except Bad as error:
        report.add("document_invalid", "receipt", None, "a receipt: events and a checkpoint in JSON", error)
        return report
    anchors = receipt.get("anchors")
    proofs = Proofs(report, reader, receipt["checkpoint"].encode(), anchors or [], bool(anchors))
    for name in receipt:
        if name not in RECEIPT and name not in RECEIPT_MORE:
            report.add("unknown_field", name, None, "the fields of this version", "one more")
    if not receipt["events"]:
        report.add("evidence_absent", "events", None, "at least one event", "none")
    leaves = [check_receipt_event(proofs, one, bool(receipt.get("range"))) for one in receipt["events"]]
    if receipt.get("range") and receipt["events"]:
        check_range(proofs, receipt["range"], receipt["events"], leaves)
    if reader.data is not None:
        compare_data(report, reader.data, receipt["events"])
    report.notes += [
        "It proves that these events are in the tree of this checkpoint, not what came after it.",
        "Recorded times are the server's own; no outside clock confirms them.",
        "Sealed blocks are not in a receipt: their number and places are proved, their handles, categories and generations are not.",
    ]
    if reader.data is None:
        report.notes.append("The events' data is not in a receipt: pass what you sent with --data FILE to compare it.")
    return report


def check_receipt_event(proofs: Proofs, one: Dict[str, Any], ranged: bool) -> bytes:
    report, index = proofs.report, one["index"]
    event = Event(report, index, "event, ", from_base64(one["header"]))
    report.checked["events"] += 1
    cose = from_base64(one["signature"])
    header = event.header
    for name in one:
        if name not in RECEIPT_EVENT and name not in RECEIPT_EVENT_MORE:
            report.add("unknown_field", name, index, "the fields of this version", "one more")
    if header:
        event.check_body(0, from_base64(one["salts"]["meta"]), from_base64(one["meta"]))
    proofs.check_event(event, cose)
    receipt_facts(report, event, one, cose)
    if one.get("inclusion"):
        proofs.check_inclusion(event, "event", index, one["inclusion"])
    elif not ranged:
        report.add("proof_absent", "inclusion", index, "an inclusion proof", "none")
    return event.leaf


def receipt_facts(report: Report, event: Event, one: Dict[str, Any], cose: bytes) -> None:
    def fact(field: str, found: Any, stated: Any) -> None:
        if found != stated:
            report.add("fact_mismatch", field, one["index"], found, stated)

    header, meta = event.header, event.meta
    if header:
        fact("event, index", header.index, one["index"])
        fact("stream_version", header.version, one["stream_version"])
        fact("recorded_at", to_time(header.recorded_at), one["recorded_at"])
        sealed = [o for o, body in enumerate(header.bodies) if body[0] == 2]
        fact("personal", sealed, [p["ordinal"] for p in one.get("personal", [])])
        fact("salts, data", any(b[0] == 1 for b in header.bodies), one["salts"].get("data") is not None)
    fact("leaf_hash", event.leaf.hex(), one["leaf_hash"])
    claimed = signature_key_id("header", cose)
    if claimed is not None:
        fact("key_id", claimed.hex(), one["key_id"])
    if meta:
        fact("id", meta.id, one["id"])
        fact("stream", meta.stream, one["stream"])


def check_range(proofs: Proofs, claimed: Dict[str, Any], events: Sequence[Dict[str, Any]], leaves: Sequence[bytes]) -> None:
    point = proofs.point
    if point is None:
        return
    try:
        need((claimed["count"], claimed["tree_size"]) == (len(leaves), point.size)
             and all(one["index"] == claimed["first"] + i for i, one in enumerate(events)),
             f"{claimed['count']} leaves from {claimed['first']} on in a tree of {claimed['tree_size']}")
        root = range_root(claimed["first"], leaves, point.size, [bytes.fromhex(one) for one in claimed["hashes"]])
        need(root == point.root, f"the proof leads to root {root.hex()}")
    except Bad as error:
        proofs.report.add("proof_invalid", "range", None, f"the {len(leaves)} events of this receipt in a tree of {point.size}", error)


def compare_data(report: Report, data: bytes, events: Sequence[Dict[str, Any]]) -> None:
    """The reader's data must be that of one of the events, as it is or without a final line break."""
    shorter = data[:-2] if data.endswith(b"\r\n") else data[:-1] if data.endswith(b"\n") else data
    found: List[Tuple[int, bytes, bytes]] = []
    report.checked["bodies"] += 1
    report.bodies["present"] += 1
    for one in events:
        salt = one["salts"].get("data")
        try:
            commitments = [c for kind, c in Header(from_base64(one["header"])).bodies if kind == 1]
        except Bad:
            continue
        if salt is None or not commitments:
            continue
        made = [commitment(1, from_base64(salt), d) for d in (data, shorter)]
        if commitments[0] in made:
            return
        found.append((one["index"], commitments[0], made[0]))
    report.checked["bodies"] -= 1
    report.bodies["present"] -= 1
    if len(events) == 1 and found:
        report.add("data_mismatch", "data", found[0][0], found[0][1].hex(), found[0][2].hex())
    else:
        report.add("data_mismatch", "data", None, "the data of an event of this receipt", "the data of none")


def verify_proof(data: bytes, reader: Reader) -> Report:
    report = Report("proof")
    try:
        extra, index, hashes, note = parse_proof(data)
    except Bad as error:
        report.add("document_invalid", "proof", None, "a c2sp.org/tlog-proof@v1", error)
        return report
    proofs = Proofs(report, reader, note, [], False)
    event = Event(report, index, "", extra)
    if event.header is None:
        report.findings[-1]["field"] = "extra"
    else:
        report.checked["events"] += 1
        if event.header.index != index:
            report.add("fact_mismatch", "index", index, event.header.index, index)
        if proofs.point and event.header.origin != proofs.point.origin:
            event.note("origin_mismatch", "origin", proofs.point.origin, event.header.origin)
    if proofs.point:
        proofs.check_inclusion(event, "event", index, {
            "leaf_index": index, "tree_size": proofs.point.size, "hashes": [one.hex() for one in hashes]})
    report.notes += ["It proves that this header is in the tree of this checkpoint. It has no signature of the event and no bodies.",
                     "Recorded times are the server's own; no outside clock confirms them."]
    return report


def parse_proof(data: bytes) -> Tuple[bytes, int, List[bytes], bytes]:
    text = utf8(data)
    head, empty, note = text.partition("\n\n")
    need(bool(empty), "no empty line")
    lines = head.split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "the first line is not c2sp.org/tlog-proof@v1")
    extra = b""
    if lines and lines[0].startswith("extra"):
        need(lines[0].startswith("extra ") and len(lines[0]) > 6, "an extra line with nothing")
        extra = from_base64(lines.pop(0)[6:])
    need(bool(lines) and re.fullmatch("index (0|[1-9][0-9]{0,19})", lines[0]) is not None, "no index")
    index = int(lines.pop(0)[6:])
    need(index <= U64 and len(lines) <= 64, "an index beyond 64 bits, or more than 64 hashes")
    hashes = [from_base64(line) for line in lines]
    need(all(len(one) == 32 for one in hashes), "not a hash")
    Note(note.encode())
    return extra, index, hashes, note.encode()


# --- 11 Certificates of erasure and of redaction (09) ---------------------------------------------------------------

TIMES = {name: is_time for name in ("t1", "t2", "t3", "t4", "t5")}
COMMON: Dict[str, Form] = {
    "format": is_text(), "origin": is_origin, "reason": is_text(), "role": is_text(), "limits": is_list(is_text()),
    "evidence": is_list(is_evidence), "anchors": is_list(is_evidence), "checkpoint": is_text(),
}
is_certified_subject = is_object({"handle": is_handle, "identity_destroyed": is_bool, "blocks_sealed": is_uint()},
                                 {"categories": is_list(is_category), "keys_destroyed": is_uint()})
is_destruction_check = is_object({"sampled": is_uint(), "opened": is_uint(), "identity_resolves": is_bool},
                                 {"keys_left": is_uint(), "epoch": is_uint(U32), "text": is_text()})
is_disclosure = is_object({"what": is_one_of("revealed", "exported"), "key": is_text(), "roles": is_list(is_text()),
                           "times": is_uint(), "first_at": is_time, "last_at": is_time})
is_recipients = is_object({"named": is_list(is_category), "disclosed": is_list(is_disclosure), "omitted": is_uint(),
                           "unreadable": is_uint(), "text": is_text()})
is_certified_leak = is_object({"leak": is_uuid, "reported_at": is_time, "events": is_list(is_uint()),
                               "outcome": is_one_of("redacted", "withdrawn"), "settled_at": is_time})
is_frozen_leak = is_object({"leak": is_uuid, "reported_at": is_time, "events": is_list(is_uint())},
                           {"outcome": is_one_of("redacted", "withdrawn"), "settled_at": is_time})
is_clear = is_object({"examined": is_bool, "leaks": is_list(is_certified_leak), "nameless": is_uint(), "text": is_text()},
                     {"frozen": is_list(is_frozen_leak, 1)})
is_erasure_certificate = is_object(
    {**COMMON, "status": is_one_of("provisional", "final"), "request": is_uuid, "basis": BASES, "reason": REASONS,
     "requested_at": is_time, "subjects": is_list(is_certified_subject), "times": is_object({}, TIMES), "algorithms": is_list(is_text()),
     "verification": is_destruction_check, "residues": is_list(is_object({"code": is_text(), "text": is_text()})),
     "recipients": is_recipients, "clear": is_clear, "suppression": is_object({"active": is_bool}, {"until": is_time, "basis": is_text()}),
     "other_ledgers_examined": is_bool, "tree_size_before": is_uint(), "tree_size_after": is_uint()},
    {"by": is_object({"key": is_text(), "roles": is_list(is_text())}), "submitted_at": is_time, "completed_at": is_time,
     "already_erased": is_uint(), "due_at": is_time, "covers": is_origin, "epochs": EPOCHS, "epoch_key_due_at": is_time,
     "key_copies": is_list(is_object({"epoch": is_uint(U32)}, {"destroyed_at": is_time}), 1), "key_bits": is_uint(65_535),
     "derived": is_list(is_object({"store": is_text(), "state": is_text()}, {"at": is_time}), 1)})
is_redaction_certificate = is_object(
    {**COMMON, "redaction": is_uuid, "redacted_at": is_time, "positions": is_list(pair_of(is_uint(), is_uint(65_535))), "tree_size": is_uint(),
     "backups": is_object({"known": is_list(is_object({"id": is_uuid, "started_at": is_time, "index": is_uint()})), "text": is_text()})},
    {"files_rewritten_at": is_time})


def is_certificate(v: Any) -> None:
    form = is_redaction_certificate if isinstance(v, dict) and "redacted_at" in v else is_erasure_certificate
    form(v)


class Leaks:
    """What events tell of leaks: reports, and what settled them (08)."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.reported: List[Event] = []
        self.redacted: Dict[Tuple[int, int], int] = {}
        self.withdrawn: Dict[str, int] = {}
        for event in events:
            if event.authority and event.header:
                self.take(event, event.header.type, event.header.recorded_at)

    def take(self, event: Event, kind: str, recorded_at: int) -> None:
        if kind == "leak.reported":
            self.reported.append(event)
        elif kind == "leak.withdrawn":
            self.withdrawn.setdefault(event.payload["leak"], recorded_at)
        elif kind == "bodies.redacted":
            for index, ordinal in event.payload["positions"]:
                self.redacted.setdefault((index, ordinal), recorded_at)

    def about(self, handles: Set[str]) -> List[Event]:
        return [event for event in self.reported if handles.intersection(event.payload.get("handles") or ())]

    def certified(self, event: Event) -> Optional[Dict[str, Any]]:
        """The report as a certificate lists it; None: it is not settled."""
        said = event.payload
        outcome, at = "withdrawn", self.withdrawn.get(said["leak"])
        if at is None:
            gone = [self.redacted.get((index, ordinal)) for index, ordinal in said["positions"]]
            known = [one for one in gone if one is not None]
            if len(known) < len(gone):
                return None
            outcome, at = "redacted", max(known)
        return {"leak": said["leak"], "reported_at": to_time(event.header.recorded_at) if event.header else "",
                "events": sorted({index for index, _ in said["positions"]}), "outcome": outcome, "settled_at": to_time(at)}


class Certificate:
    """The facts of a certificate against the events that it holds."""

    def __init__(self, report: Report, document: Dict[str, Any], proofs: Proofs) -> None:
        self.report, self.document, self.proofs = report, document, proofs
        self.evidence = [proofs.evidence(f"evidence/{i}", one) for i, one in enumerate(document["evidence"])]
        self.unstated: List[str] = []

    def fact(self, field: str, event: Optional[Event], expected: Any, stated: Any) -> None:
        if json.dumps(expected, sort_keys=True) != json.dumps(stated, sort_keys=True):
            self.report.add("fact_mismatch", field, event.at if event else None,
                            "absent" if expected is None else expected, "absent" if stated is None else stated)

    def authority(self, place: int, kind: str, absent: bool = True) -> Optional[Event]:
        event = self.evidence[place] if place < len(self.evidence) else None
        if event is not None and event.authority and event.header and event.header.type == kind:
            return event
        if absent:
            self.report.add("evidence_absent", f"evidence/{place}", None, f"a valid {kind}", "none")
        return None

    def verify(self) -> None:
        point = self.proofs.point
        if "redacted_at" in self.document:
            self.fact("format", None, "oubliette/redaction/v1", self.document["format"])
            self.redaction()
        else:
            self.fact("format", None, "oubliette/certificate/v1", self.document["format"])
            self.erasure()
        if point:
            self.fact("origin", None, point.origin, self.document["origin"])
        if self.unstated:
            self.report.notes.append("On the word of the certificate alone: " + "; ".join(self.unstated) + ".")
        self.report.notes += [f"The certificate says: {text}" for text in self.document["limits"]]

    # Erasure

    def erasure(self) -> None:
        document = self.document
        requested = self.authority(0, "erasure.requested")
        completed = self.authority(1, "erasure.completed")
        for one in self.evidence[2:]:
            if one.authority and one.header and one.header.type == "erasure.residue_removed":
                self.fact("request", one, one.payload["request"], document["request"])
        if requested:
            self.as_requested(requested)
        if completed:
            self.as_completed(completed)
            self.aftermath(completed)
        if self.proofs.point:
            self.fact("tree_size_after", None, self.proofs.point.size, document["tree_size_after"])
        self.fact("other_ledgers_examined", None, False, document["other_ledgers_examined"])
        if requested:
            self.suppression(requested, completed)
        self.leaks()
        self.contradictions()
        self.unstated += ["role", "recipients, disclosed", "clear, nameless"] + ["clear, frozen"] * ("covers" in document)
        self.report.notes.append("It shows that the ledger recorded this erasure and that its operator signed what was done; "
                                 "that every copy of a key is gone cannot be seen from here.")
        if document["status"] == "provisional":
            self.report.notes.append("It is provisional: the residues that it lists are still to go.")
        self.report.notes += [f"Possible residue, {one['code']}: {one['text']}" for one in document["residues"]]

    def as_requested(self, event: Event) -> None:
        document, said, header = self.document, event.payload, event.header
        assert header is not None
        self.fact("request", event, said["request"], document["request"])
        self.fact("requested_at", event, to_time(header.recorded_at), document["requested_at"])
        self.fact("tree_size_before", event, event.at, document["tree_size_before"])
        for name in ("basis", "reason"):
            self.as_stated(name, event, said.get(name), document[name])
        for name in ("due_at", "submitted_at"):
            self.fact(name, event, said.get(name), document.get(name))
        self.fact("covers", event, said.get("origin"), document.get("covers"))
        by = document.get("by") or {}
        self.as_stated("by, key", event, said.get("by"), by.get("key"))
        self.as_stated("by, roles", event, said.get("roles"), by.get("roles"))
        self.fact("recipients, named", event, said.get("recipients") or [], document["recipients"]["named"])
        if said.get("already_erased") != 0 or "already_erased" in document:
            self.as_stated("already_erased", event, said.get("already_erased"), document.get("already_erased"))
        self.same_subjects(event)
        for subject in document["subjects"]:
            self.fact("categories", event, said.get("categories"), subject.get("categories"))

    def suppression(self, requested: Event, completed: Optional[Event]) -> None:
        """What is kept of the ids of people who were erased as a whole."""
        asked, stated = requested.payload.get("suppression"), self.document["suppression"]
        destroyed = [one.get("identity_destroyed") for one in completed.payload["subjects"]] if completed else [None]
        if asked == "none" or requested.payload.get("categories") is not None or False in destroyed:
            kept: Tuple[bool, Optional[str]] = (False, None)
        elif None in destroyed:
            self.unstated.append("suppression")
            return
        else:
            kept = (True, asked["until"] if asked else None)
        self.fact("suppression", requested, kept, (stated["active"], stated.get("until")))

    def same_subjects(self, event: Event) -> None:
        known = {one["handle"] for one in event.payload["subjects"]}
        stated = [one["handle"] for one in self.document["subjects"]]
        if known != set(stated) or len(stated) != len(set(stated)):
            self.report.add("fact_mismatch", "subjects", event.at, ", ".join(sorted(known)), ", ".join(stated))

    def as_stated(self, field: str, event: Event, said: Any, stated: Any) -> None:
        """A fact that the event may leave unsaid; then it stays on the word of the certificate."""
        if said is not None:
            self.fact(field, event, said, stated)
        elif stated is not None:
            self.unstated.append(field)

    def as_completed(self, event: Event) -> None:
        document, said, header = self.document, event.payload, event.header
        assert header is not None
        self.fact("request", event, said["request"], document["request"])
        self.fact("completed_at", event, to_time(header.recorded_at), document.get("completed_at"))
        self.same_subjects(event)
        stated = {one["handle"]: one for one in document["subjects"]}
        for one in said["subjects"]:
            other = stated.get(one["handle"], None)
            for name, ours in (("keys_destroyed", "keys_destroyed"), ("identity_destroyed", "identity_destroyed"), ("blocks", "blocks_sealed")):
                if other is not None:
                    self.as_stated(ours, event, one.get(name), other.get(ours))
        self.as_stated("times, t1", event, said.get("fenced_at"), document["times"].get("t1"))
        self.as_stated("times, t2", event, said.get("keys_destroyed_at"), document["times"].get("t2"))
        for name in ("epochs", "key_bits"):
            self.as_stated(name, event, said.get(name), document.get(name))
        said_algorithms = said.get("algorithms")
        self.as_stated("algorithms", event, sorted(set(said_algorithms)) if said_algorithms is not None else None,
                       sorted(set(document["algorithms"])))
        self.fact("epoch_key_due_at", event, said.get("epoch_key_due_at"), document.get("epoch_key_due_at"))
        for name in ("sampled", "opened", "identity_resolves", "keys_left"):
            self.as_stated(f"verification, {name}", event, (said.get("verification") or {}).get(name), document["verification"].get(name))
        self.as_stated("verification, epoch", event, (said.get("epochs") or {}).get("to"), document["verification"].get("epoch"))

    def aftermath(self, completed: Event) -> None:
        """What the further evidence, after the completion, says of times, residues and derived stores."""
        document, said = self.document, completed.payload
        assert completed.header is not None
        later = [one for one in self.evidence[2:] if one.authority and (one.at or 0) > (completed.at or 0)]
        removed: Dict[str, Event] = {}
        for one in later:
            if one.header and one.header.type == "erasure.residue_removed":
                removed.setdefault(one.payload["residue"], one)
        pending = said.get("pending")
        for name, code in (("t3", "key_store_files"), ("t4", "ciphertext")):
            if code in removed:
                self.fact(f"times, {name}", completed, removed[code].payload["at"], document["times"].get(name))
            elif pending is not None and code in pending:
                self.fact(f"times, {name}", completed, None, document["times"].get(name))
            elif name in document["times"]:
                self.unstated.append(f"times, {name}")
        gone = self.epoch_keys_gone(completed, later)
        derived = [one.payload["derived"] for one in removed.values() if one.payload.get("derived") is not None]
        if derived:
            self.fact("derived", completed, derived[0], document.get("derived"))
        elif "derived" in document:
            self.unstated.append("derived")
        if pending is not None:
            left = {code for code in pending if not (gone if code == "epoch_key" else code in removed)}
            stated = {one["code"] for one in document["residues"]}
            if left != stated:
                self.report.add("fact_mismatch", "residues", completed.at, ", ".join(sorted(left)), ", ".join(sorted(stated)))

    def epoch_keys_gone(self, completed: Event, later: Sequence[Event]) -> bool:
        """Checks the copies of keys in backups and t5, and tells whether t5 is shown."""
        said, stated = completed.payload, self.document["times"].get("t5")
        ends: Dict[int, str] = {}
        for one in later:
            if one.header and one.header.type == "epoch.destroyed":
                ends.setdefault(one.payload["epoch"], one.payload["destroyed_at"])
        retired = said.get("retired_epochs") or []
        copies = [{"epoch": epoch, "destroyed_at": ends[epoch]} if epoch in ends else {"epoch": epoch} for epoch in retired]
        self.fact("key_copies", completed, copies or None, self.document.get("key_copies"))
        due = said.get("epoch_key_due_at")
        if (due is None) != (not retired):
            self.report.add("authority_invalid", "epoch_key_due_at", completed.at, "an end of the retired epochs, or none and no end",
                            f"end {due}, epochs {retired}")
        if said.get("epochs") is None:
            if stated is not None:
                self.unstated.append("times, t5")
            return False
        expected: Optional[str] = None
        if due is None and not retired:
            expected = said.get("keys_destroyed_at")
        elif due is not None and retired and all(epoch in ends for epoch in retired):
            expected = max(ends[epoch] for epoch in retired)
        self.fact("times, t5", completed, expected, stated)
        return expected is not None

    def leaks(self) -> None:
        """Every report in the evidence that names one of its people is settled, and listed."""
        told, stated = Leaks(self.evidence[2:]), self.document["clear"]
        about = told.about({one["handle"] for one in self.document["subjects"]})
        ends = [told.certified(event) for event in about]
        for event, end in zip(about, ends):
            if end is None:
                self.report.add("erasure_not_shown", "clear, leaks", event.at, "redacted, or withdrawn", "open: it names people of this certificate")
        if None not in ends:
            self.fact("clear, leaks", None, ends, stated["leaks"])
        self.fact("clear, examined", None, False, stated["examined"])

    def contradictions(self) -> None:
        document = self.document
        for name, good in (("opened", 0), ("identity_resolves", False), ("keys_left", 0)):
            if document["verification"].get(name, good) != good:
                self.report.add("erasure_not_shown", f"verification, {name}", None, good, document["verification"][name])
        if not document["subjects"]:
            self.report.add("erasure_not_shown", "subjects", None, "one or more", 0)
        frozen = document["clear"].get("frozen", [])
        if frozen and "covers" not in document:
            self.report.add("erasure_not_shown", "clear, frozen", None, "none: the people are not those of a frozen log", len(frozen))
        at = document["times"]
        t2 = at.get("t2")
        late = t2 is not None and any(at[name] < t2 for name in ("t3", "t4", "t5") if name in at)
        if late or (t2 is not None and at.get("t1", t2) > t2):
            self.report.add("erasure_not_shown", "times", None, "t1, then t2, then the others", at)
        copies = all("destroyed_at" in one for one in document.get("key_copies", []))
        done = all(f"t{i}" in at for i in (2, 3, 4, 5)) and copies and "completed_at" in document
        if document["status"] == "final" and (document["residues"] or not done):
            self.report.add("erasure_not_shown", "status", None, "a completed erasure with T2 to T5, every copy of the keys destroyed, and no residue", "final")

    # Redaction

    def redaction(self) -> None:
        document = self.document
        event = self.authority(0, "bodies.redacted")
        if event:
            assert event.header is not None
            self.fact("reason", event, event.payload["ground"], document["reason"])
            self.fact("positions", event, event.payload["positions"], document["positions"])
            self.fact("redacted_at", event, to_time(event.header.recorded_at), document["redacted_at"])
            if event.meta and event.meta.correlation is not None:
                self.fact("redaction", event, event.meta.correlation, document.get("redaction"))
            else:
                self.unstated.append("redaction")
            done = self.rewritten()
            self.fact("files_rewritten_at", event, done, document.get("files_rewritten_at"))
        if self.proofs.point:
            self.fact("tree_size", None, self.proofs.point.size, document["tree_size"])
        self.unstated += ["role", "backups"]

    def rewritten(self) -> Optional[str]:
        """When the files were written anew, as a `redaction.completed` of this redaction says."""
        for one, document in zip(self.evidence[1:], self.document["evidence"][1:]):
            header, bodies = one.header, {body["ordinal"]: from_base64(body["bytes"]) for body in document["bodies"]}
            if header is None or not one.trusted or header.type != "redaction.completed":
                continue
            try:
                meta, payload = Meta(bodies.get(0, b"")), json_value(bodies.get(1, b""))
                is_object({"redaction": is_uuid, "at": is_time}, closed=False)(payload)
            except Bad:
                continue
            if meta.stream == "$redactions" and payload["redaction"] == self.document.get("redaction"):
                return payload["at"]
        return None


def verify_certificate(data: bytes, reader: Reader) -> Report:
    report = Report("certificate")
    check_certificate(report, data, reader, is_certificate)
    return report


PAGE_BEGIN, PAGE_END = b'<script type="application/json" id="oubliette-certificate">', b"</script>"
is_signed_certificate = is_object({"format": is_one_of("oubliette/signed-certificate/v1"), "document": is_base64()})


def is_certificate_page(data: bytes) -> bool:
    return data[:15].lower() == b"<!doctype html>" and PAGE_BEGIN in data


def verify_certificate_page(data: bytes, reader: Reader) -> Report:
    """The data in a page. What the page shows is the renderer's affair, which is no part of the specification (12)."""
    report = Report("certificate")
    block, end, _ = data.partition(PAGE_BEGIN)[2].partition(PAGE_END)
    try:
        need(bool(end), "no block of data")
        embedded = json_value(block)
        is_signed_certificate(embedded)
    except Bad as error:
        report.add("document_invalid", "page", None, "the signed certificate that the page was made from", error)
        return report
    if check_certificate(report, from_base64(embedded["document"]), reader, is_certificate):
        report.add("page_unchecked", "page", None, "a verifier that has the page's renderer",
                   "only the data in it is checked, not what the page shows")
    return report


def check_certificate(report: Report, cose: bytes, reader: Reader, form: Form, ledger: Optional[LedgerKeys] = None) -> Optional[Certificate]:
    """Checks a certificate by itself, under the keys of its anchors and those of a ledger that holds it. None if it is none."""
    try:
        payload, detached, document = open_document(cose)
        form(document)
    except Bad as error:
        report.add("document_invalid", "certificate", None, "a signed certificate", error)
        return None
    anchors = document["anchors"]
    if not anchors and ledger is None:
        report.add("evidence_absent", "anchors", None, "ledger.created", "none")
    proofs = Proofs(report, reader, document["checkpoint"].encode(), anchors, bool(anchors))
    if proofs.keys is None:
        report.add("signature_unchecked", "signature", None, "anchors that name the certificate key", "none")
        if ledger is not None:
            check_pins(report, reader, None)
    named = proofs.keys.certificate if proofs.keys else None
    for key in {one.id: one for one in (named, ledger and ledger.certificate) if one}.values():
        wrong = check_signature("certificate", key, payload, detached)
        if wrong:
            report.add(wrong[0], "signature", None, f"a signature by key {key.id.hex()}", wrong[1])
        elif key is named:
            report.checked["signatures"] += 1
    found = Certificate(report, document, proofs)
    found.verify()
    return found


class Within(Report):
    """Findings about a member of a bundle, under its name."""

    def __init__(self, report: Report, name: str) -> None:
        super().__init__(report.kind)
        self.whole, self.name = report, name

    def add(self, code: str, field: str, index: Optional[int] = None, expected: Any = "", found: Any = "") -> None:
        self.whole.add(code, self.name if code == "document_invalid" else f"{self.name}, {field}", index, expected, found)


def check_certificate_within(report: Report, name: str, content: bytes, ledger: Ledger) -> None:
    """A certificate of erasure in a bundle: by itself, under the keys of the bundle, and against its events and checkpoints."""
    if ledger.keys is None:
        report.add("signature_unchecked", name, None, "the ledger's certificate key", "no valid keys")
        return
    reader, part = Reader(), Within(report, name)
    reader.keys = [ledger.keys.checkpoint]
    certificate = check_certificate(part, content, reader, is_erasure_certificate, ledger.keys)
    if certificate is None:
        return
    report.checked["signatures"] += part.checked["signatures"]
    document, request = certificate.document, name[13:-5]
    if document["request"] != request:
        part.add("fact_mismatch", "request", None, request, document["request"])
    same_events(part, document, ledger)
    same_leaks(part, document, ledger)
    same_checkpoint(part, certificate.proofs.point, ledger)


def same_events(part: Report, document: Dict[str, Any], ledger: Ledger) -> None:
    """Every event of the certificate is the bundle's, header and signature to the byte."""
    for place in ("anchors", "evidence"):
        for number, one in enumerate(document[place]):
            index = one["inclusion"]["leaf_index"]
            found = sha256(sha256(from_base64(one["header"])), sha256(from_base64(one["signature"])))
            if ledger.own_events.get(index) != found:
                part.add("fact_mismatch", f"{place}/{number}", index, "the bundle's event at this index", "another")


def same_leaks(part: Report, document: Dict[str, Any], ledger: Ledger) -> None:
    """The certificate has every report of the bundle that names its people and that its checkpoint covers."""
    handles = {one["handle"] for one in document["subjects"]}
    told = {one["inclusion"]["leaf_index"] for one in document["evidence"]}
    for index, named in ledger.leaks:
        if index < document["tree_size_after"] and index not in told and handles.intersection(named):
            part.add("erasure_not_shown", "clear, leaks", index, "this leak.reported among the evidence", "none: it names people of this certificate")


def same_checkpoint(part: Report, point: Optional[Checkpoint], ledger: Ledger) -> None:
    """The certificate's checkpoint is of the size and root of one of the bundle's own that holds."""
    if point is None:
        return
    root = ledger.own_roots.get(point.size)
    if point.size > ledger.tree.size:
        part.add("too_few_events", "checkpoint", None, f"{point.size} events or more", f"{ledger.tree.size} events")
    elif root is None:
        part.add("checkpoint_absent", "checkpoint", None, f"a checkpoint of size {point.size}", "none")
    elif root != point.root:
        part.add("root_mismatch", "checkpoint", None, point.root.hex(), root.hex())


# --- 12 Command line ------------------------------------------------------------------------------------------------


def verify_stream(source: BinaryIO, reader: Reader) -> Report:
    """Recognises the object by its first bytes. Raises `Bad` if it is none of the known ones."""
    start = source.read(2 * BLOCK)
    if start[257:262] == b"ustar" or start.startswith(b"README.txt") or start[BLOCK:].startswith(b"Oubliette bundle, "):
        return Bundle(Rewound(start, source), reader).verify()
    data = start + source.read(MAX_FILE + 1 - len(start))
    need(len(data) <= MAX_FILE, "more than 64 MiB, and not a bundle")
    if data.startswith(b"c2sp.org/tlog-proof@"):
        return verify_proof(data, reader)
    if data.startswith(b"\x84"):
        return verify_certificate(data, reader)
    if is_certificate_page(data):
        return verify_certificate_page(data, reader)
    if data.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        need(b'"document"' not in data[:200_000] or b'"events"' in data, "a compliance report, which this program does not verify")
        return verify_receipt(data, reader)
    raise Bad("neither a bundle, nor a receipt, a certificate or a .tlog-proof of Oubliette")


class Rewound:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self.start, self.rest = start, rest

    def read(self, n: int) -> bytes:
        data, self.start = self.start[:n], self.start[n:]
        return data + self.rest.read(n - len(data)) if len(data) < n else data


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description="Checks evidence from an Oubliette ledger, offline: a bundle, a receipt, a certificate or a .tlog-proof.",
        epilog="Exit: 0 valid; 1 tampered or incomplete; 2 wrong usage, or a file that is none of these; 3 a file that cannot be read.")
    parser.add_argument("file", metavar="FILE", help="the bundle, receipt, certificate or .tlog-proof, as received")
    parser.add_argument("--key", metavar="VKEY", action="append", default=[], help="a key of the ledger that you know from elsewhere; repeatable")
    parser.add_argument("--origin", help="the origin that the ledger must have")
    parser.add_argument("--against", metavar="FILE", action="append", default=[], help="a signed checkpoint that you kept; repeatable")
    parser.add_argument("--data", metavar="FILE", help="for a receipt: the exact public data that you sent")
    parser.add_argument("--selection", action="store_true", help="you asked for a selection of events")
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    asked = parser.parse_args(arguments)
    try:
        against = [read_file(name) for name in asked.against]
        data = read_file(asked.data) if asked.data else None
        reader = Reader(asked.key, against, asked.origin, data, asked.selection)
        with open(asked.file, "rb") as source:
            report = verify_stream(source, reader)
    except Bad as error:
        print(f"oubliette_verify: {plain_note(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"oubliette_verify: {plain_note(str(error))}", file=sys.stderr)
        return 3
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2) if asked.json else report.as_text())
    return 0 if report.verdict == "valid" else 1


def read_file(name: str) -> bytes:
    with open(name, "rb") as file:
        data = file.read(MAX_FILE + 1)
    need(len(data) <= MAX_FILE, f"{name} is larger than 64 MiB")
    return data


if __name__ == "__main__":
    sys.exit(main())
