#!/usr/bin/env bash
# Prints what a newcomer waits for: crates, seconds and seconds of processor time, each in an empty target folder, with the
# crates downloaded. What is measured is the last commit, in a clone of its own; times hold for this machine, when idle.
#
#   bash benches/first_minutes.sh          everything; takes about as long as the tests
#   bash benches/first_minutes.sh crates   only how many crates the first command compiles, without compiling them
#
# Ends 1 if those are more than 40; no time is enforced.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
most_crates=40

# What an example of the package waits for, and the package itself.
crates() {
    cargo tree --manifest-path "$root/Cargo.toml" --package procshare --edges normal,build,dev --prefix none |
        sed 's/ (.*//' | sort -u | wc -l
}

# Runs a command in an empty target folder, and prints how long it took: name, bar, command.
measure() {
    local name="$1" bar="$2" times
    shift 2
    rm -rf "$CARGO_TARGET_DIR"
    TIMEFORMAT='%R %U %S'
    if ! times="$( { time "$@" >"$folder/output" 2>&1; } 2>&1 )"; then
        tail -n 40 "$folder/output"
        exit 1
    fi
    awk -v name="$name" -v bar="$bar" '{ printf "%-44s %6.0f s %6.0f s of processor  bar: %s\n", name, $1, $2 + $3, bar }' <<<"$times"
}

# A program that does nothing with the crate but depend on it: features as in a manifest.
dependent() {
    mkdir -p "$folder/dependent/src"
    cp "$folder/clone/Cargo.lock" "$folder/dependent/"
    echo 'fn main() {}' >"$folder/dependent/src/main.rs"
    printf '[package]\nname = "dependent"\nedition = "2024"\n\n[dependencies]\nprocshare = { path = "../clone"%s }\n\n[workspace]\n' \
        "$1" >"$folder/dependent/Cargo.toml"
    cargo build --offline --manifest-path "$folder/dependent/Cargo.toml"
}

everything() {
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    git clone --quiet "$root" "$folder/clone"
    cd "$folder/clone"
    cargo fetch --quiet
    export CARGO_TARGET_DIR="$folder/target" CARGO_NET_OFFLINE=true
    measure "cargo run --release --example counter_race" "45 s" cargo run --release --example counter_race
    echo "$(grep -c '^ *Compiling' "$folder/output") crates were compiled; bar: $most_crates"
    measure "a dependent, default features, debug" "20 s of processor" dependent ""
    measure "a dependent, no default features, debug" "6 s of processor" dependent ", default-features = false"
    measure "cargo test --all-features" "300 s" cargo test --all-features
}

count="$(crates)"
echo "the first command compiles at most $count crates; bar: $most_crates"
[ "${1:-}" = crates ] || everything
[ "$count" -le "$most_crates" ]
