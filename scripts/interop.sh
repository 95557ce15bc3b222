#!/usr/bin/env bash
# What tests/interop need beside Go: ssh-agent, which holds a witness's key, and Python 3 with venv. Quick when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

command -v ssh-agent >/dev/null || install_debian openssh-client ssh-agent
python3 -c 'import ensurepip, venv' 2>/dev/null || install_debian python3-venv "Python 3 with venv"
command -v go >/dev/null || say "Go 1.25 or newer is missing: the tests with Go programs will say so and do nothing (in CI they fail)."
