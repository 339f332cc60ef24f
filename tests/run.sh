#!/usr/bin/env bash
# Everything that CI runs: installs what the tests need and this machine lacks, then checks the whole project.
# Each step runs even when one before it failed. It ends non-zero if any did, after a table of what took how long.
# The services that tests talk to (Redis, PostgreSQL, nginx, Caddy, Chromium) are started and stopped by those tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CARGO_DENY=0.20.2
CARGO_MACHETE=0.9.2
ADVISORIES=https://github.com/RustSec/advisory-db
# Tools live beside cargo's own caches: they survive a fresh clone and `cargo clean`, and replace nobody's own version.
TOOLS="${CARGO_HOME:-$HOME/.cargo}/pinned-tools"

NOT_CHECKED=77

report=()
failed=0

# step NAME COMMAND…: runs the command and notes how it went and how long it took.
step() {
  local name="$1" started="$SECONDS" result=ok code=0
  shift
  printf '\n==> %s\n' "$name"
  "$@" || code=$?
  case "$code" in
    0) ;;
    "$NOT_CHECKED") result="NOT CHECKED" ;;
    *) result=FAILED failed=1 ;;
  esac
  report+=("$(printf '%5ds  %-12s %s' "$((SECONDS - started))" "$result" "$name")")
}

# Ends the run at once: without its tools nothing below can say anything.
stop() {
  printf 'tests/run.sh: %s\n' "$*" >&2
  exit 1
}

# needs COMMAND PACKAGE: remembers the Debian package of a command that is not here.
missing=()
needs() {
  command -v "$1" >/dev/null || missing+=("$2")
}

debian_packages() {
  needs cc build-essential
  needs curl curl
  needs git git
  needs redis-server redis-server
  needs nginx nginx-light
  needs caddy caddy
  # Not on the PATH. Tests start a server of their own; the one that Debian sets up is left alone.
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
  # CHROMIUM names another browser for the browser tests.
  [ -n "${CHROMIUM:-}" ] || needs chromium chromium
  needs node nodejs
  needs npm npm
  # For the check of /openapi.json. Debian has the part that makes environments in a package of its own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || stop "this machine has no apt-get; install these yourself: ${missing[*]}"
  [ "$(id -u)" = 0 ] || stop "not root; run: sudo apt-get install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || stop "apt-get update failed"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || stop "apt-get could not install ${missing[*]}"
}

rust_toolchain() {
  command -v cargo >/dev/null || stop "cargo is missing; install Rust from https://rustup.rs"
  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    rustup component add rustfmt clippy || stop "rustfmt and clippy are missing, and rustup could not add them"
  fi
  cargo --version
}

node_version() {
  local major
  major="$(node --version | sed 's/^v\([0-9]*\).*/\1/')"
  [ "$major" -ge 20 ] || stop "the browser tests need Node.js 20 or later, this is $(node --version)"
}

# cargo_tool NAME VERSION: a debug build takes a good half of a release build's time, and both tools run for seconds.
cargo_tool() {
  local root="$TOOLS/$1-$2"
  PATH="$root/bin:$PATH"
  [ -x "$root/bin/$1" ] && return 0
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$root" --version "$2" "$1"
}

documentation() {
  RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
}

# Vulnerable and yanked crates. The one check that needs a database from the network, so it says so when there is none.
advisories() {
  local trouble
  if trouble="$(GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet "$ADVISORIES" HEAD 2>&1)"; then
    cargo deny --locked check --hide-inclusion-graph advisories
  else
    printf 'ADVISORIES WERE NOT CHECKED: %s is out of reach from here.\n' "$ADVISORIES"
    printf 'git says: %s\n' "${trouble:-nothing within 30 seconds}"
    printf 'On a machine that reaches it: cargo deny check advisories\n'
    return "$NOT_CHECKED"
  fi
}

# /openapi.json, by the tools of others. Their versions are pinned; an environment is made anew when they change.
openapi() {
  local wanted=tests/openapi/requirements.txt tools
  tools="$TOOLS/openapi-$(sha256sum "$wanted" | cut -c 1-16)"
  if [ ! -e "$tools/ready" ]; then
    rm -rf "$tools"
    { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"; } || return
    touch "$tools/ready"
  fi
  cargo build --locked || return
  "$tools/bin/python" tests/openapi/check.py "${CARGO_TARGET_DIR:-$PWD/target}/debug/chatkit-server"
}

browser() {
  local binary="${CARGO_TARGET_DIR:-$PWD/target}/debug/chatkit-server"
  cargo build --locked || return
  (cd tests/browser && npm ci --no-audit --no-fund && CHATKIT_SERVER_BIN="$binary" npm test)
}

step "Debian packages" debian_packages
step "Rust toolchain" rust_toolchain
step "Node.js" node_version
step "cargo-deny $CARGO_DENY" cargo_tool cargo-deny "$CARGO_DENY"
step "cargo-machete $CARGO_MACHETE" cargo_tool cargo-machete "$CARGO_MACHETE"

step "format" cargo fmt --check
step "unused dependencies" cargo machete
step "bans, licences, sources" cargo deny --locked check --hide-inclusion-graph bans licenses sources
step "advisories" advisories
step "clippy" cargo clippy --all-targets --locked -- -D warnings
step "documentation" documentation
step "tests" cargo test --locked --no-fail-fast
step "release profile" cargo test --release --locked --test auth
step "OpenAPI" openapi
step "browser" browser

printf '\n'
printf '%s\n' "${report[@]}"
printf '%5ds  in all\n' "$SECONDS"
exit "$failed"
