#!/usr/bin/env bash
# Runs schemathesis (PyPI), a tester of APIs by their OpenAPI document, against a real server on a temporary directory.
# Fails if an answer is not as /openapi.json says. Needs target/debug/oubliette; about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

python_venv schemathesis tests/schemathesis/requirements.txt

oubliette=${OUBLIETTE:-${CARGO_TARGET_DIR:-$PWD/target}/debug/oubliette}
[[ -x $oubliette ]] || die "$oubliette is missing; run: cargo build"
work=$(mktemp -d)
server=
finish() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$work"
}
trap finish EXIT

field() { "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

OUBLIETTE_API_KEY=$("$oubliette" init --json --data "$work/data" | field api_key)
export OUBLIETTE_API_KEY
touch "$work/address"
"$oubliette" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/address" 2>"$work/log" &
server=$!
for _ in {1..300}; do
    grep -q '^listening on ' "$work/address" && break
    kill -0 "$server" 2>/dev/null || die "the server did not start: $(tail -n 3 "$work/log")"
    sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$work/address")
[[ -n $url ]] || die "the server did not say where it listens"

# Something to find: two people, one of them erased, an export and a verification.
ledger=$url/v1/ledgers/main
ask() {
    "$venv/bin/python" -c 'import os, sys, requests
key = os.environ["OUBLIETTE_API_KEY"]
answer = requests.post(sys.argv[1], data=sys.argv[2], headers={"Authorization": "Bearer " + key}, timeout=30)
answer.raise_for_status()
print(answer.text)' "$ledger/$1" "$2"
}
ask streams/order-7/events '{"events": [
    {"id": "0190163d-8694-739b-8aea-966c26f8ad91", "type": "order.placed", "data": {"total": 12.5},
     "personal": [{"subject": "customer-17", "data": {"name": "Ada Example"}}]},
    {"type": "order.paid", "personal": [{"subject": "customer-18", "data": {"name": "Bo Example"}}]}]}' >/dev/null
HANDLE_ACTIVE=$(ask subjects '{"subject": "customer-18"}' | field handle)
HANDLE_ERASED=$(ask subjects '{"subject": "customer-17"}' | field handle)
ERASURE_ID=$(ask erasures '{"subjects": ["customer-17"], "basis": "other", "reason": "request"}' | field id)
EXPORT_ID=$(ask exports '{"format": "ndjson"}' | field id)
VERIFICATION_ID=$(ask verifications '{}' | field id)
export HANDLE_ACTIVE HANDLE_ERASED ERASURE_ID EXPORT_ID VERIFICATION_ID

say "schemathesis against $url"
here=$PWD
cd "$work"
if ! PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/tests/schemathesis timeout 300 "$venv/bin/schemathesis" --config-file "$here/tests/schemathesis/schemathesis.toml" \
    run "$url/openapi.json" "$@"; then
    die "schemathesis found answers that are not as the document says (above)"
fi
kill -0 "$server" 2>/dev/null || die "the server ended: $(tail -n 3 "$work/log")"
