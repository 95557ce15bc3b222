#!/usr/bin/env bash
# What a change must pass. The tests come last, so that the log ends with their results.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

times=()
step() {
    local name=$1 start=$SECONDS
    shift
    say "$name: $*"
    "$@" || die "check failed: $name, after $(duration $((SECONDS - start)))"
    times+=("$name $(duration $((SECONDS - start)))")
    say "${times[-1]}"
    echo
}

# The offline verifier must build from the pure layer alone.
verifier_is_pure() {
    local tree seen
    tree=$(cargo tree --no-default-features -e normal --prefix none) || return
    seen=$(grep -E '^(librocksdb-sys|tokio|actix-[a-z]+|rand) ' <<<"$tree" | sort -u)
    [[ -n $seen ]] || return 0
    printf 'without the feature `server`, oubliette must not depend on:\n%s\n' "$seen" >&2
    return 1
}

step format cargo fmt --all --check
step lints cargo clippy --locked --workspace --all-targets -- -D warnings
step otel-lints cargo clippy --locked --features otel --lib --bins --test otel -- -D warnings
step licences scripts/cargo-deny.sh
step verifier-purity verifier_is_pure
step verifier-build cargo build --no-default-features --bin oubliette-verify
step verifier-tests cargo test --no-default-features --lib --bin oubliette-verify
step otel-tests cargo test --features otel --test otel
step tests make --no-print-directory test
say "check passed in $(duration $SECONDS): $(printf '%s, ' "${times[@]}" | sed 's/, $//')"
