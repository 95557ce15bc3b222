# Shared by the scripts of this folder; to be sourced.

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# "74 s" or "13 min 20 s" for a number of seconds.
duration() {
    if (($1 < 120)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# Prints the folder for what is built once per machine, or nothing when there is no writable place for it.
cache_dir() {
    local dir=${OUBLIETTE_CACHE:-}
    if [[ -z $dir ]]; then
        dir=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
        [[ -n $dir ]] || return 0
        dir=$dir/oubliette
    fi
    [[ $dir == /* ]] || dir=$PWD/$dir
    mkdir -p "$dir" 2>/dev/null && [[ -w $dir ]] && echo "$dir"
    return 0
}

# lock <file>: one clone builds at a time; held until the script ends.
lock() {
    command -v flock >/dev/null || return 0
    exec 9>"$1"
    flock --nonblock 9 && return 0
    say "Another build on this machine holds the cache; waiting for it to finish."
    flock 9
}

# python_venv <name> <requirements>: sets `venv` to a virtual environment with these packages, made once per machine.
python_venv() {
    local cache
    cache=$(cache_dir)
    cache=${cache:-$PWD/target}
    venv=$cache/$1-$(sha256sum "$2" | cut -c1-12)
    [[ ! -e $venv/complete ]] || return 0
    lock "$cache/lock"
    if [[ ! -e $venv/complete ]]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || install_debian python3-venv "Python 3 with venv"
        say "Installing the Python packages of $1 once for this machine, in $venv."
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" --quiet --disable-pip-version-check install --requirement "$2" ||
            die "the Python packages of $1 could not be installed; is PyPI in reach?"
        touch "$venv/complete"
    fi
    # The lock is not for the run.
    exec 9>&-
}

# install_debian <package> <what is missing>: as root or by sudo without a password; else says the line to run, and ends.
install_debian() {
    local package=$1 missing=$2 as_root=()
    local by_hand="sudo apt-get update && sudo apt-get install -y $package"
    if ((EUID != 0)); then as_root=(sudo -n); fi
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        die "$missing is missing. On Debian or Ubuntu run: $by_hand"
    fi
    say "$missing is missing: installing Debian's $package."
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get -qq update || say "apt-get update failed; trying with the package lists that are here."
    "${as_root[@]}" apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$package" ||
        die "$package could not be installed. By hand: $by_hand"
}
