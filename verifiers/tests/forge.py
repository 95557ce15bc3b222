"""Takes bundles apart and puts them together again: for tests that know what a tampered one looks like, keys and all."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BLOCK = 512


def head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | info]) + n.to_bytes(size, "big")
    raise ValueError(n)


def encode(value: Any) -> bytes:
    """Deterministic CBOR."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    pairs = sorted((encode(key), encode(one)) for key, one in value.items())
    return head(5, len(pairs)) + b"".join(key + one for key, one in pairs)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Signer:
    """A test key: 32 equal bytes as seed, as docs/spec/vectors/README.md says."""

    def __init__(self, seed: bytes) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(bytes.fromhex("a301012006215820"), self.public)

    def sign(self, kind: str, payload: bytes, attached: bool = True, algorithm: bytes = b"\x32") -> bytes:
        """A COSE_Sign1 over the payload."""
        content_type = f"application/vnd.oubliette.{kind}+cbor"
        protected = b"\xa3\x01" + algorithm + b"\x03" + encode(content_type) + b"\x04" + encode(self.id)
        message = b"\x84" + encode("Signature1") + encode(protected) + encode(b"oubliette/v1") + encode(payload)
        signature = encode(self.key.sign(message))
        return b"\x84" + encode(protected) + b"\xa0" + (encode(payload) if attached else b"\xf6") + signature

    def note(self, origin: str, size: int, root: bytes, extra: str = "") -> bytes:
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n{extra}".encode()
        key_id = sha256(origin.encode(), b"\n\x01", self.public)[:4]
        line = base64.b64encode(key_id + self.key.sign(text)).decode()
        return text + f"\n\u2014 {origin} {line}\n".encode()


def archive(members: Iterable[Tuple[str, bytes]]) -> bytes:
    """The canonical archive."""
    found = b""
    for name, content in members:
        block = bytearray(BLOCK)
        for at, text in ((0, name.encode()), (100, b"0000644\0" + b"0000000\0" * 2), (124, b"%011o\0" % len(content)),
                         (136, b"0" * 11 + b"\0" + b" " * 8 + b"0"), (257, b"ustar\x0000"), (329, b"0000000\0" * 2)):
            block[at : at + len(text)] = text
        block[148:156] = b"%06o\0 " % sum(block)
        found += bytes(block) + content + bytes(-len(content) % BLOCK)
    return found + bytes(2 * BLOCK)


def members(bundle: bytes) -> List[Tuple[str, bytes]]:
    found, at = [], 0
    while bundle[at]:
        name, size = bundle[at : at + 100].rstrip(b"\0").decode(), int(bundle[at + 124 : at + 135], 8)
        found.append((name, bundle[at + BLOCK : at + BLOCK + size]))
        at += BLOCK + size + -size % BLOCK
    return found


def root_of(leaves: List[bytes]) -> bytes:
    """MTH of RFC 6962, by its definition."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01", root_of(leaves[:k]), root_of(leaves[k:]))


def path_of(leaves: List[bytes], index: int) -> List[bytes]:
    """PATH of RFC 6962, by its definition: the leaf's sibling first."""
    if len(leaves) <= 1:
        return []
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < k:
        return path_of(leaves[:k], index) + [root_of(leaves[k:])]
    return path_of(leaves[k:], index - k) + [root_of(leaves[:k])]


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


LABELS = ("meta", "data", "sealed")
Entry = List[Any]  # [0, index, header, signature, [[ordinal, salt, bytes], …]] or [1, first, leaves]


def commitment(kind: int, salt: bytes, body: bytes) -> bytes:
    return sha256(b"oubliette/v1/", LABELS[kind].encode(), b"\0", salt, len(body).to_bytes(8, "big"), body)


class Forge:
    """The ledger of the vectors with its keys, in the hands of somebody who can sign whatever they like."""

    def __init__(self, bundle: bytes, decode: Callable[[bytes], Iterable[Any]], signers: Dict[bytes, Signer], public: Dict[str, bytes]) -> None:
        self.parts = members(bundle)
        self.decode = decode
        self.event, self.checkpoint, self.certificate = (signers[public[role]] for role in ("event", "checkpoint", "certificate"))
        self.origin = dict(self.parts)["checkpoint"].split(b"\n")[0].decode()

    def entries(self) -> List[Entry]:
        return [entry for name, content in self.parts if name.startswith("events/") for entry in self.decode(content)]

    def leaves(self, entries: List[Entry]) -> List[bytes]:
        found: List[bytes] = []
        for entry in entries:
            if entry[0] == 0:
                found.append(sha256(b"\0", entry[2]))
            else:
                found += [entry[2][i : i + 32] for i in range(0, len(entry[2]), 32)]
        return found

    def edit(self, entries: List[Entry], index: int, change: Callable[[Dict[int, Any], List[List[Any]]], None], commit: bool = True) -> None:
        """Changes header and bodies of one event, signs it again and, with `commit`, links all that follow anew."""
        header = next(iter(self.decode(entries[index][2])))
        change(header, entries[index][4])
        if commit:
            for ordinal, salt, body in entries[index][4]:
                header[11][ordinal][1] = commitment(header[11][ordinal][0], salt, body)
        self.put(entries, index, header)
        if commit:
            self.link(entries, index + 1)

    def put(self, entries: List[Entry], index: int, header: Dict[int, Any]) -> None:
        entries[index][2] = encode(header)
        entries[index][3] = self.event.sign("header", entries[index][2], attached=False)

    def link(self, entries: List[Entry], first: int) -> None:
        for at in range(first, len(entries)):
            header = next(iter(self.decode(entries[at][2])))
            header[4] = sha256(b"\0", entries[at - 1][2])
            self.put(entries, at, header)

    def append(self, entries: List[Entry], kind: str, stream: str, data: Optional[bytes], correlation: Optional[str] = None) -> None:
        """One more event at the end, a microsecond after the one before."""
        index = len(entries)
        before = [next(iter(self.decode(entry[2]))) for entry in entries]
        ref = sha256(stream.encode())[:16]
        meta: Dict[int, Any] = {1: sha256(b"event %d" % index)[:16], 2: stream}
        if correlation is not None:
            meta[5] = correlation
        bodies = [[0, sha256(b"salt %d" % index), encode(meta)]] + ([[1, sha256(b"other salt %d" % index), data]] if data is not None else [])
        header = {1: 1, 2: self.origin, 3: index, 4: sha256(b"\0", entries[-1][2]), 5: sha256(b"ref %d" % index)[:16], 6: ref,
                  7: 1 + sum(one[6] == ref for one in before), 8: kind, 9: 1, 10: before[-1][10] + 1,
                  11: [[kind_, commitment(kind_, salt, body)] for kind_, (_, salt, body) in enumerate(bodies)]}
        entries.append([0, index, b"", b"", bodies])
        self.put(entries, index, header)

    def checkpoint_of(self, entries: List[Entry]) -> bytes:
        leaves = self.leaves(entries)
        return self.checkpoint.note(self.origin, len(leaves), root_of(leaves))

    def inclusion(self, entries: List[Entry], index: int) -> Dict[str, Any]:
        leaves = self.leaves(entries)
        return {"leaf_index": index, "tree_size": len(leaves), "hashes": [one.hex() for one in path_of(leaves, index)]}

    def evidence(self, entries: List[Entry], index: int) -> Dict[str, Any]:
        """Evidence of an event with its public bodies, under the checkpoint of all entries."""
        _, _, header, signature, bodies = entries[index]
        public = len([one for one in next(iter(self.decode(header)))[11] if one[0] < 2])
        return {"header": text_of(header), "signature": text_of(signature), "inclusion": self.inclusion(entries, index),
                "bodies": [{"ordinal": o, "salt": text_of(salt), "bytes": text_of(body)} for o, salt, body in bodies if o < public]}

    def set_data(self, entries: List[Entry], index: int, data: bytes) -> None:
        def change(_: Dict[int, Any], bodies: List[List[Any]]) -> None:
            bodies[1][2] = data
        self.edit(entries, index, change)

    def build(self, entries: List[Entry], note: Optional[bytes] = None, manifest: Optional[Dict[str, Any]] = None, more: Iterable[Tuple[str, bytes]] = (),
              further: Optional[bytes] = None, signer: Optional[Signer] = None) -> bytes:
        """A bundle of these entries under a fresh checkpoint and manifest, or the given ones."""
        parts = [("README.txt", dict(self.parts)["README.txt"]),
                 ("checkpoint", self.checkpoint_of(entries) if note is None else note)]
        if further is not None:
            parts.append(("checkpoints.cbor", further))
        first = f"{entries[0][1]:020}" if entries else "0" * 20
        parts.append((f"events/{first}.cbor", b"".join(map(encode, entries))))
        return self.seal(parts + list(more), entries, manifest, signer)

    def seal(self, parts: List[Tuple[str, bytes]], entries: List[Entry], changes: Optional[Dict[str, Any]] = None, signer: Optional[Signer] = None) -> bytes:
        """The archive of these members with a manifest that fits them, but for `changes`."""
        leaves = self.leaves(entries)
        manifest: Dict[str, Any] = {
            "format": "oubliette/bundle/v1", "origin": self.origin, "tree_size": len(leaves), "root": root_of(leaves).hex(),
            "events": sum(entry[0] == 0 for entry in entries),
            "members": [{"name": name, "size": len(content), "sha256": sha256(content).hex()} for name, content in parts]}
        manifest.update(changes or {})
        manifest = {name: value for name, value in manifest.items() if value is not None}
        signed = (signer or self.certificate).sign("manifest", encode(manifest))
        return archive([*parts, ("manifest.cbor", signed)])
