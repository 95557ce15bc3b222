"""Compares roots and proofs with those of pymerkle. Reads trees as JSON, says how many agree, or fails."""

import json
import sys

from pymerkle import InmemoryTree, verify_consistency, verify_inclusion

agree = 0
for tree in json.load(sys.stdin):
    theirs = InmemoryTree(algorithm="sha256")
    for entry in tree["entries"]:
        theirs.append_entry(bytes.fromhex(entry))
    for ours in tree["proofs"]:
        size, index, since = ours["size"], ours["index"], ours["from"]
        unhex = lambda name: [bytes.fromhex(item) for item in ours[name]]
        root, old_root = bytes.fromhex(ours["root"]), bytes.fromhex(ours["from_root"])
        assert theirs.get_root(size) == root, f"root of {size}"
        assert theirs.get_root(since) == old_root, f"root of {since}"

        # Their paths begin with what ours leave to the verifier: the leaf, counted from 1.
        leaf = theirs.get_leaf(index + 1)
        proof = theirs.prove_inclusion(index + 1, size)
        assert proof.path == [leaf] + unhex("inclusion"), f"{index} in {size}"
        proof.path = [leaf] + unhex("inclusion")
        verify_inclusion(leaf, root, proof, index=index + 1, size=size)

        # Their consistency proofs are of another form; they must hold between our roots.
        proof = theirs.prove_consistency(since, size)
        verify_consistency(old_root, root, proof, prior_size=since, later_size=size)
        agree += 1
print(agree, "agree")
