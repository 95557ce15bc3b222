#!/usr/bin/env bash
# Builds the container image and starts it once, where a container engine runs. Without one it says so and ends with 0, or
# with 1 if REQUIRE_IMAGE is set. The Dockerfile's stages and paths are checked by tests/first_hour in any case.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if command -v hadolint >/dev/null; then hadolint Dockerfile && say "hadolint finds nothing in the Dockerfile"; fi

engine=
for candidate in docker podman; do
    if command -v "$candidate" >/dev/null && timeout 20 "$candidate" info >/dev/null 2>&1; then
        engine=$candidate
        break
    fi
done
if [[ -z $engine ]]; then
    say "SKIPPED: no container engine runs here (docker, podman). The image was NOT built and NOT started."
    [[ -z ${REQUIRE_IMAGE:-} ]] || die "REQUIRE_IMAGE is set"
    exit 0
fi

tag=oubliette:check
say "Building $tag with $engine"
"$engine" build -t "$tag" .

say "Starting it: read-only root, no capabilities, a fresh ledger"
id=$("$engine" run -d --read-only --cap-drop ALL --security-opt no-new-privileges -e OUBLIETTE_ALLOW_PLAINTEXT=true \
    --entrypoint sh "$tag" -c 'oubliette init >/dev/null && exec oubliette serve')
trap '"$engine" rm -f -v "$id" >/dev/null' EXIT
for _ in $(seq 60); do
    if "$engine" exec "$id" oubliette health; then
        say "The image works."
        exit 0
    fi
    sleep 1
done
"$engine" logs "$id" >&2
die "the server in the image is not ready after a minute"
