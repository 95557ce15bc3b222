#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies. Builds cargo-deny once per machine when it is missing.
# Advisories are not checked: they need a network.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

version=0.20.2
cache=$(cache_dir)
cache=${cache:-$PWD/target}
tools=$cache/tools-$version
export PATH=$tools/bin:$PATH

have() { [[ $(cargo-deny --version 2>/dev/null) == "cargo-deny $version" ]]; }

if ! have; then
    lock "$cache/lock"
    if ! have; then
        say "cargo-deny $version is missing: building it once for this machine, about 5 minutes on two cores."
        cargo install --locked --version "$version" --root "$tools" --target-dir "$cache/build-tools" cargo-deny
        rm -rf "$cache/build-tools"
    fi
fi

cargo deny --locked --all-features check --hide-inclusion-graph licenses bans sources
