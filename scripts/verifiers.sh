#!/usr/bin/env bash
# Runs the tests of verifiers/: oubliette-verify, the Python file and, in a headless Chromium, the page must say the same of one
# corpus of good and tampered objects, some of them made by a real server. Needs target/debug; about two minutes.
# CHROMIUM names the browser. Without one the page is not tested, and that is said; with CI set it is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

target=${CARGO_TARGET_DIR:-$PWD/target}/debug
export VERIFIERS_SERVER=${VERIFIERS_SERVER:-$target/oubliette} VERIFIERS_RUST=${VERIFIERS_RUST:-$target/oubliette-verify}
for program in "$VERIFIERS_SERVER" "$VERIFIERS_RUST"; do
    [[ -x $program ]] || die "$program is missing; run: cargo build --bins"
done

python_venv verifiers verifiers/tests/requirements.txt

have_chromium() { (cd verifiers/tests && "$venv/bin/python" -c 'import chromium, sys; sys.exit(chromium.find() is None)'); }
export PYTHONDONTWRITEBYTECODE=1
have_chromium || (install_debian chromium Chromium) || :
if have_chromium; then
    export VERIFIERS_REQUIRE_BROWSER=1
elif [[ -n ${CI:-} ]]; then
    die "Chromium is missing: the page cannot be tested"
else
    printf '\n==> CHROMIUM IS MISSING: verifiers/web/index.html IS NOT TESTED. Everything else is.\n\n' >&2
fi

say "three verifiers, one corpus"
cd verifiers/tests
timeout --kill-after=10 900 "$venv/bin/python" -m unittest --buffer "$@" || die "the verifiers do not agree, or one of them is wrong (above)"
