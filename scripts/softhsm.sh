#!/usr/bin/env bash
# SoftHSM2, against which the tests run the vault over PKCS#11. Quick when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

have_softhsm() {
    command -v softhsm2-util >/dev/null || return 1
    local found
    found=$(find -L /usr/lib /usr/lib64 /usr/local/lib -maxdepth 4 -name libsofthsm2.so -print -quit 2>/dev/null) || :
    [[ -n $found ]]
}

have_softhsm || install_debian softhsm2 SoftHSM2
have_softhsm || die "softhsm2 is installed but its library libsofthsm2.so was not found"
