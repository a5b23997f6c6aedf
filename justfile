# Shortcuts; `just` lists them. scripts/test runs everything that has to hold.

default:
    @just --list

# The demo dashboard.
demo:
    cargo run --release

# All tests, lints and checks.
test:
    ./scripts/test

# Format and lint.
lint:
    cargo fmt
    cargo clippy --workspace --all-targets -- -D warnings

# Rewrites the snapshots of screens; read the diff.
screens:
    INSTA_UPDATE=always UPDATE_SCREENS=1 cargo nextest run --test screens --test fleet_screens

# Rewrites the summaries of all recordings; read the diff.
goldens:
    UPDATE_GOLDENS=1 cargo nextest run --workspace --test golden

# Counts of plain language, with their bounds.
prose:
    cargo test --test prose -- --nocapture

# Benchmarks.
bench:
    cargo bench
