"""Verifies COSE receipts (RFC 9942) with generic libraries, from that RFC and RFC 9162 alone."""

import base64
import hashlib
import json
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_root(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    assert index < size
    fn, sn, result = index, size - 1, leaf
    for step in path:
        assert sn != 0
        if fn & 1 or fn == sn:
            result = node(step, result)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node(result, step)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return result


def consistency_roots(old, new, old_root, path):
    """RFC 9162, section 2.1.4.2: both roots."""
    assert 0 < old <= new
    if old == new:
        assert not path
        return old_root, old_root
    if old & (old - 1) == 0:
        path = [old_root] + path
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for step in path[1:]:
        assert sn != 0
        if fn & 1 or fn == sn:
            fr, sr = node(step, fr), node(step, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, step)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return fr, sr


def read(receipt, kind):
    protected, unprotected, payload, signature = cbor2.loads(receipt)
    header = cbor2.loads(protected)
    assert header[1] == -19 and header[395] == 1 and payload is None, header
    (proof,) = unprotected[396][kind]
    return protected, signature, cbor2.loads(proof)


def is_signed(key, protected, signature, root):
    message = cbor2.dumps(["Signature1", protected, b"", root])
    try:
        key.verify(signature, message)
        return True
    except InvalidSignature:
        return False


given = json.load(sys.stdin)
raw = base64.b64decode(given["vkey"].split("+", 2)[2])
assert raw[0] == 1
key = Ed25519PublicKey.from_public_bytes(raw[1:])
hold = 0
for case in given["receipts"]:
    old_root, new_root = bytes.fromhex(case["from_root"]), bytes.fromhex(case["root"])

    protected, signature, (size, index, path) = read(bytes.fromhex(case["inclusion"]), -1)
    assert (size, index) == (case["size"], case["index"])
    leaf = hashlib.sha256(b"\x00" + bytes.fromhex(case["entry"])).digest()
    root = inclusion_root(leaf, index, size, path)
    assert root == new_root and is_signed(key, protected, signature, root)
    assert not is_signed(key, protected, signature, leaf[::-1])

    protected, signature, (old, new, path) = read(bytes.fromhex(case["consistency"]), -2)
    assert (old, new) == (case["from"], case["size"])
    assert consistency_roots(old, new, old_root, path) == (old_root, new_root)
    assert is_signed(key, protected, signature, new_root)
    hold += 1
print(hold, "hold")
