# Sourced by ./dev: libFuzzer on one target, with AddressSanitizer and UBSan.

fuzz_targets() {
    find tests/fuzz -maxdepth 1 -name '*.c' ! -name replay.c -printf '%f\n' | sed 's/\.c$//' | sort
}

fuzz() {
    local minimise=false

    if [ "${1:-}" = --minimise ]; then
        minimise=true
        shift
    fi
    if [ $# = 0 ]; then
        fuzz_targets
        return
    fi
    local name=$1 seconds=${2:-60}
    [ -f "tests/fuzz/$name.c" ] || die "no such target: $name (./dev fuzz lists them)"
    local corpus=tests/fuzz/corpus/$name finds=.dev/fuzz/$name
    mkdir -p "$corpus" "$finds"
    CC=clang configure build-fuzz -Dfuzzer=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Doptimization=2 -Dwerror=false
    ninja -C build-fuzz "tests/fuzz/fuzz_$name" >&2
    if $minimise; then
        fuzz_minimise "$name" "$corpus" "$finds"
        return
    fi
    say "new inputs go to $finds; ./dev fuzz --minimise $name puts the useful ones into $corpus"
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "build-fuzz/tests/fuzz/fuzz_$name" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$finds/" $(fuzz_dictionary "$name") "$finds" "$corpus"
}

fuzz_dictionary() {
    [ ! -f "tests/fuzz/$1.dict" ] || echo "-dict=tests/fuzz/$1.dict"
}

# A target's corpus becomes the inputs with a name that somebody gave them, and the fewest of the
# others, old and found, that add coverage.
fuzz_minimise() {
    local fresh

    fresh=$(mktemp -d .dev/fuzz/minimised.XXXXXX)
    find "$2" -regextype posix-extended -type f ! -regex '.*/[0-9a-f]{40}' -exec cp -t "$fresh" {} +
    "build-fuzz/tests/fuzz/fuzz_$1" -merge=1 "$fresh" "$2" "$3" >&2
    find "$2" -type f -delete
    find "$fresh" -type f -exec mv -t "$2" {} +
    rmdir "$fresh"
    find "$3" -regextype posix-extended -type f -regex '.*/[0-9a-f]{40}' -delete
    say "$(find "$2" -type f | wc -l) inputs in $2"
}
