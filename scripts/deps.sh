#!/usr/bin/env bash
# Prepares what cargo alone cannot: libclang (for the RocksDB bindings) and RocksDB compiled once per machine.
# Quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

command -v cargo >/dev/null || die "cargo not found: install Rust 1.95 or newer, then run this again"
command -v "${CXX:-c++}" >/dev/null || die "no C++ compiler found; run: sudo apt-get install -y g++"

# The crate `clang-sys` searches more places than this; whoever sets LIBCLANG_PATH knows better than we do.
have_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return 0
    local found
    found=$(find -L /usr/lib /usr/lib64 /usr/local/lib -maxdepth 3 -name 'libclang[-.]*so*' ! -name '*-cpp*' -print -quit 2>/dev/null) || :
    [[ -n $found ]] || return 1
    # The library alone is not enough: bindgen needs the compiler's own headers (libclang-common-*-dev on Debian).
    found=$(find -L /usr/lib /usr/lib64 /usr/local/lib -maxdepth 6 -path '*/clang/*/include/stddef.h' -print -quit 2>/dev/null) || :
    [[ -n $found ]]
}

if ! have_libclang; then
    install_debian libclang-dev libclang
    have_libclang || die "libclang-dev is installed but libclang was not found; set LIBCLANG_PATH to its folder"
fi

scripts/rocksdb.sh
