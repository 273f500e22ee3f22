#!/bin/bash
# Makes the console's page for the build: scripts/page.sh OUT.c FOLDER DEPFILE. What it is made with
# is installed first where it is missing or not what ui/package-lock.json says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
arguments=()
for name in "$@"; do
    arguments+=("$(realpath -m "$name")")
done
cd "$here"

say() {
    printf 'page: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

. scripts/setup.sh

(
    flock 9 # several builds may begin at once
    need_page
) 9>>ui/package-lock.json
exec node ui/build.mjs "${arguments[@]}"
