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
# others, old and found, that reach a line the named ones do not. All others stay among the finds,
# where the next run starts from.
fuzz_minimise() {
    local fresh hashed='.*/[0-9a-f]{40}'

    fresh=$(mktemp -d .dev/fuzz/minimised.XXXXXX)
    find "$2" -regextype posix-extended -type f ! -regex "$hashed" -exec cp -t "$fresh" {} +
    "build-fuzz/tests/fuzz/fuzz_$1" -set_cover_merge=1 -use_counters=0 "$fresh" "$2" "$3" >&2
    find "$2" -regextype posix-extended -type f -regex "$hashed" -exec mv -t "$3" {} +
    find "$fresh" -regextype posix-extended -type f -regex "$hashed" -exec mv -t "$2" {} +
    rm -r "$fresh"
    say "$(find "$2" -type f | wc -l) inputs in $2"
}
