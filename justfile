# What people do daily; CONTRIBUTING.md explains when. `just` is a convenience: each line works without it, too.

# List the recipes.
default:
    @just --list

# Compile everything that tests, demo and plane need.
build:
    cargo test --workspace --no-run

# Keep a control plane running until Ctrl-C, for quick and one.
plane:
    cargo plane

# Run the pure tests and the contract of one vendor, on the control plane of `just plane` if it runs.
quick vendor="Pegasus":
    cargo test --lib
    {{running}} cargo test --test it contract:: -- $(printf -- '--skip __%s ' Amani Industrility Ozmap Pegasus Plaspy | sed 's/--skip __{{vendor}} //')

# Run the integration tests whose names contain a text, on the control plane of `just plane` if it runs.
one name:
    {{running}} cargo test --test it {{name}} -- --nocapture

# Run the whole suite.
test:
    cargo test --workspace

# Check format and lints, as .ci/run does.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Show the main job on an embedded control plane.
demo *arguments:
    cargo demo {{arguments}}

# Measure many users at once.
scale *arguments:
    cargo scale {{arguments}}

# Write crds/ anew after a change in src/api.
crds:
    cargo build --bin usher --example demo
    target/debug/usher crds --out crds

running := 'USHER_TEST_PLANE="$(ls target/plane.kubeconfig 2>/dev/null)"'
