"""A small ledger, made by the real program over its API: bundles, receipts, certificates and proofs of it as files."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, Optional


class Server:
    """`oubliette serve` on a temporary data directory, until `close`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        data = folder / "data"
        made = json.loads(subprocess.run([program, "init", "--data", data, "--origin", "verifiers.example/main", "--json"],
                                         check=True, capture_output=True).stdout)
        self.api_key, self.vkey = made["api_key"], made["vkey"]
        config = folder / "config.toml"
        (folder / "backups").mkdir()
        config.write_text('erasure_purge = "prompt"\nerasure_purge_delay_seconds = 0\nerasure_horizon_seconds = 2\n'
                          f'backup_dir = "{folder / "backups"}"\n')
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen([program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--config", config],
                                        stdout=subprocess.PIPE, stderr=self.log)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(b"listening on "):
                self.url = line.split()[2].decode() + "/v1/ledgers/main/"
                break
        else:
            raise RuntimeError(f"the server did not start: {(folder / 'log').read_text()[-500:]}")

    def ask(self, path: str, body: Optional[Dict[str, Any]] = None, method: Optional[str] = None) -> bytes:
        url = path if path.startswith("http") else self.url + path.lstrip("/")
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode()}") from error

    def answer(self, path: str, body: Optional[Dict[str, Any]] = None) -> Any:
        return json.loads(self.ask(path, body))

    def bundle(self, **selection: Any) -> bytes:
        export = self.answer("exports", {"format": "bundle", **selection})
        return self.ask(self.at(export["content"]))

    def at(self, path: str) -> str:
        """The address of a path that begins with a slash."""
        return self.url.split("/v1/")[0] + path if path.startswith("/") else path

    def until(self, path: str, state: str) -> Any:
        """Asks until the object has this state, at most a minute."""
        for _ in range(600):
            found = self.answer(path)
            if found["state"] == state:
                return found
            time.sleep(0.1)
        raise RuntimeError(f"{path} is still {found['state']}")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()


def personal(subject: str, name: str) -> Dict[str, Any]:
    return {"subject": subject, "category": "billing", "data": {"name": name}}


def make(program: str) -> Dict[str, bytes]:
    """The objects by name, and under `vkey` the ledger's checkpoint key."""
    with tempfile.TemporaryDirectory(prefix="oubliette-verifiers-") as folder:
        server = Server(program, Path(folder))
        try:
            return objects(server)
        finally:
            server.close()


def objects(server: Server) -> Dict[str, bytes]:
    made: Dict[str, bytes] = {"vkey": server.vkey.encode()}
    first = {"events": [
        {"type": "order.placed", "actor": "web-shop", "tags": ["new"], "data": {"total": 12.5}, "personal": [personal("customer-17", "Ada Example")]},
        {"type": "order.paid", "data": {"total": 12.5}, "personal": [personal("customer-17", "Ada Example"), personal("customer-18", "Bo Example")]}]}
    made["answer.receipt"] = server.ask("streams/order-7/events?proof=each", first)
    second = {"events": [{"type": "order.shipped", "data": {"parcels": 2}}, {"type": "order.noted", "data": "secret"}]}
    made["range.receipt"] = server.ask("streams/order-8/events?proof=range", second)
    made["plain.receipt"] = server.ask("streams/order-9/events?proof=none", {"events": [{"type": "order.placed"}]})
    made["kept.checkpoint"] = server.ask("log/checkpoint")
    made["early.bundle"] = server.bundle()
    event = json.loads(made["answer.receipt"])["events"][1]
    made["anchored.receipt"] = server.ask(f"events/{event['id']}/receipt")
    made["event.tlog-proof"] = server.ask(f"events/{event['id']}/proof")
    noted = json.loads(made["range.receipt"])["events"][1]["index"]
    clear = {"events": [{"index": noted, "bodies": ["data"]}], "subjects": ["customer-17"]}
    server.ask("leaks", clear)
    mistake = server.answer("leaks", clear)
    server.ask(f"leaks/{mistake['id']}", method="DELETE")
    backup = server.answer(server.at("/v1/backups"), {"to": "first"})
    server.until(server.at(f"/v1/backups/{backup['id']}"), "completed")
    redaction = server.answer("redactions", {"events": [{"index": noted, "bodies": ["data"]}], "reason": "secret"})
    erasure = server.answer("erasures", {"subjects": ["customer-17"], "basis": "art17_1_a", "reason": "request", "recipients": ["processors"]})
    made["redaction.certificate"] = server.ask(f"redactions/{redaction['id']}/certificate")
    made["early.certificate"] = server.ask(f"erasures/{erasure['id']}/certificate")
    server.until(f"redactions/{redaction['id']}", "completed")
    settle(server, erasure["id"])
    made["rewritten.certificate"] = server.ask(f"redactions/{redaction['id']}/certificate")
    made["final.certificate"] = server.ask(f"erasures/{erasure['id']}/certificate")
    made["final.page"] = server.ask(f"erasures/{erasure['id']}/certificate?format=html")
    made["whole.bundle"] = server.bundle()
    made["range.selection"] = server.bundle(from_index=2, to_index=6)
    made["stream.selection"] = server.bundle(stream="order-7")
    return made


def settle(server: Server, erasure: str) -> None:
    """Waits until nothing of the erasure is pending, at most a minute."""
    for _ in range(600):
        residues = server.answer(f"erasures/{erasure}").get("residues", [])
        if all(one.get("state") == "removed" for one in residues):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the residues of the erasure stay: {residues}")
