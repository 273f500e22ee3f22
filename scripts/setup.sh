# Sourced by ./dev: what has to be on the machine, and only when it is not there yet.

# The names in a list of packages.
package_names() {
    sed 's/#.*//' "scripts/packages/$1.txt"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "these packages are missing, and neither root nor sudo is at hand: $*"
    fi
}

apt() {
    # The lock is another apt's: it ends. Nothing may ask; services are not started by this.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@" </dev/null >&2
}

install_packages() {
    say "installing: $*"
    apt update
    apt install --yes --no-install-recommends "$@"
}

# Installs what is missing of the lists named. dpkg is asked each time (some 20 ms): it is the only
# record that cannot be out of date.
need_packages() {
    local list missing=()
    local -A state=()

    command -v apt-get >/dev/null || die "no apt-get: this is for Debian 12 and its kin"
    local name status names
    mapfile -t names < <(for list in "$@"; do package_names "$list"; done | sort -u | grep .)
    while read -r name status; do
        state[${name%%:*}]=$status
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${names[@]}" 2>/dev/null || true)
    for name in "${names[@]}"; do
        [ "${state[$name]:-}" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# The tests and the bench unpack packages of mail servers instead of installing them: apt has to know
# where they are.
need_peers() {
    [ -e .dev/peers/postfix/.complete ] || apt-cache show postfix >/dev/null 2>&1 || apt update
}

# need_modules FOLDER WHAT: installs what FOLDER/package-lock.json says. Any Node from 18 on serves;
# Debian's only where there is none.
need_modules() {
    local stamp=$1/node_modules/.postern-lock want

    want=$(cat "$1/package.json" "$1/package-lock.json" | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
    command -v npm >/dev/null || install_packages nodejs npm
    say "installing $2"
    npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2
    echo "$want" >"$stamp"
}

# The corpus of real mail, and what drives a browser.
need_corpus() {
    need_modules . "the test corpus"
}

need_page() {
    need_modules ui "what the console's page is made with"
}
