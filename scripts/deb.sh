#!/usr/bin/env bash
# Makes target/debian/oubliette_*.deb and checks what is in it: the files, the settings, and that both programs run from it.
# DEB_NO_BUILD takes the programs that are in target/debug.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

version=3.8.0
tools=$(cache_dir)
tools=${tools:-$PWD/target}/cargo-deb-$version
export PATH=$tools/bin:$PATH
if [[ $(cargo-deb --version 2>/dev/null) != "cargo-deb $version" ]]; then
    say "cargo-deb $version is missing: building it once for this machine, a few minutes."
    cargo install --locked --version "$version" --root "$tools" cargo-deb
fi
command -v dpkg-deb >/dev/null || die "dpkg-deb is missing: a .deb is made and checked on Debian or Ubuntu"

if [[ -z ${DEB_NO_BUILD:-} ]]; then cargo build --locked --bins; fi

# Manual pages and completions come from the program itself.
assets=target/deb
rm -rf "$assets"
mkdir -p "$assets/man"
target/debug/oubliette man "$assets/man"
# The offline verifier is a program of its own, and its page bears the name that `oubliette verify` would have.
cp deploy/oubliette-verify.1 "$assets/man/"
gzip -9n "$assets"/man/*
for shell in bash zsh fish; do target/debug/oubliette completions "$shell" >"$assets/$shell"; done

rm -f target/debian/oubliette_*.deb
cargo deb --locked --no-build --profile dev
package=$(ls target/debian/oubliette_*.deb)

say "Checking $package"
dpkg-deb --info "$package"
contents=$(dpkg-deb --contents "$package")
for path in usr/bin/oubliette usr/bin/oubliette-verify etc/oubliette/oubliette.toml usr/lib/systemd/system/oubliette.service \
    usr/lib/sysusers.d/oubliette.conf usr/lib/tmpfiles.d/oubliette.conf usr/share/man/man1/oubliette.1.gz \
    usr/share/bash-completion/completions/oubliette usr/share/zsh/vendor-completions/_oubliette \
    usr/share/fish/vendor_completions.d/oubliette.fish; do
    grep -q " \./$path\$" <<<"$contents" || { printf '%s\n' "$contents"; die "$package lacks /$path"; }
done
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
dpkg-deb --extract "$package" "$root"
"$root/usr/bin/oubliette" --version
"$root/usr/bin/oubliette-verify" --version
# Installed below the temporary root, its scripts make the user and ask the folders of systemd-tmpfiles.
dpkg-deb --ctrl-tarfile "$package" | tar -xO ./postinst | grep -q 'systemd-sysusers.*oubliette.conf' || die "no user is made"
dpkg-deb --ctrl-tarfile "$package" | tar -xO ./postinst | grep -q 'systemd-tmpfiles.*oubliette.conf' || die "no folders are made"
# On the package's own settings, with its folders below the temporary root.
sed "s|\"/var/lib|\"$root/var/lib|g" "$root/etc/oubliette/oubliette.toml" >"$root/oubliette.toml"
install -d "$root"/var/lib/oubliette{,-keystore,-keys,-vault/a,-vault/b}
"$root/usr/bin/oubliette" init --config "$root/oubliette.toml" >/dev/null
"$root/usr/bin/oubliette" serve --config "$root/oubliette.toml" --check-config >/dev/null
"$root/usr/bin/oubliette" fsck --config "$root/oubliette.toml" >/dev/null
say "$package is whole: both programs run from it, and its settings make a ledger that is in order."
