#!/usr/bin/env bash
# How fast is the chat of self-hosted mode, and what does it hold? Against the sandbox's model, with SQLite in a file.
#
#   benches/chat.sh            about 5 minutes, after the release build
#   benches/chat.sh --short    about one and a half; fewer rounds, smaller lists, shorter streams
#   benches/chat.sh NAME…      only these parts: first, streams, busy, relay, messages, lists
#
# The server runs on core 0; the sandbox and the client run on core 1, and are most often what is slow. Everything is on the
# loopback. Servers log as they do by default, to /dev/null; the limits of rate are off. Each figure stands next to what it is
# to be held against: nothing fails here. SERVER and CHAT_LOAD name binaries that are already built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=500 streams=5000 deltas=2 delay=60000 busy_deltas=80 busy_delay=250 relayed=200000 threads=100000 items=10000 pages=500
if [ "${1:-}" = --short ]; then
  shift
  rounds=100 delay=12000 busy_deltas=40 relayed=50000 threads=10000 pages=100
fi
parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(first streams busy relay messages lists)
for part in "${parts[@]}"; do
  case "$part" in
    first | streams | busy | relay | messages | lists) ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
for command in taskset python3 cargo; do
  command -v "$command" >/dev/null || { echo "benches/chat.sh needs $command (Debian: util-linux, python3)" >&2; exit 2; }
done
[ "$(nproc)" -ge 2 ] || { echo "benches/chat.sh needs two cores" >&2; exit 2; }
# Two files for each stream: the client's and the model's.
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge $((2 * streams + 1000)) ] ||
  { echo "benches/chat.sh needs $((2 * streams + 1000)) open files: raise the hard limit (ulimit -Hn)" >&2; exit 2; }

work="$(mktemp -d)"
declare -A address process
tidy() {
  local name
  for name in "${!process[@]}"; do end "$name"; done
  rm -rf "$work"
}
trap tidy EXIT
trap 'exit 130' INT TERM

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
JWT_SECRET="$(random)" CHATKIT_SIGNING_KEY="$(random)"
export JWT_SECRET CHATKIT_SIGNING_KEY

build() {
  if [ -z "${SERVER:-}" ] || [ -z "${CHAT_LOAD:-}" ]; then
    echo "building the release profile ..."
    cargo build --release --locked --message-format=json --bin chatkit-server --bench chat_load >"$work/build.json"
    SERVER="$(built chatkit-server)"
    CHAT_LOAD="$(built chat_load)"
  fi
}

built() {
  python3 -c '
import json, sys
for line in open(sys.argv[2]):
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])
' "$1" "$work/build.json"
}

# start NAME CORE COMMAND…: starts a server; its address is in address[NAME], its process in process[NAME].
start() {
  local name="$1" core="$2"
  shift 2
  mkfifo "$work/$name.out"
  taskset -c "$core" "$@" >"$work/$name.out" 2>/dev/null &
  process[$name]="$!"
  read -r -t 10 "address[$name]" <"$work/$name.out" || { echo "$name did not start: $*" >&2; exit 1; }
  rm "$work/$name.out"
}

end() {
  kill "${process[$1]}" 2>/dev/null || true
  wait "${process[$1]}" 2>/dev/null || true
  unset "process[$1]"
}

# serve DATABASE [VARIABLE=VALUE…]: a fresh server on a database of that name.
serve() {
  local database="$1"
  shift
  start server 0 env HOST=127.0.0.1 PORT=0 LOG_FORMAT=json CHATKIT_MODE=self-hosted OPENAI_API_KEY=sk-bench \
    OPENAI_BASE_URL="http://${address[sandbox]}/v1" DATABASE_URL="sqlite://$work/$database.db" \
    CHATKIT_UPLOADS_DIR="$work/uploads" RATE_LIMIT_IP_PER_MINUTE=0 RATE_LIMIT_USER_PER_MINUTE=0 \
    RATE_LIMIT_READS_PER_MINUTE=0 CHATKIT_MAX_TURNS_PER_USER=0 CONNECTIONS_PER_ADDRESS=0 \
    CHATKIT_MODEL=gpt-5.1 "$@" "$SERVER" serve --print-addr
}

# load COMMAND OPTIONS…: measures the server.
load() {
  local command="$1"
  shift
  taskset -c 1 "$CHAT_LOAD" "$command" --server "${address[server]}" --process "${process[server]}" \
    --sandbox "${address[sandbox]}" --token "$(token busy)" "$@"
}

token() { "$SERVER" token --user "$1" --ttl 1h; }

# seed DATABASE USER PREFIX THREADS ITEMS
seed() {
  "$CHAT_LOAD" seed --database "sqlite://$work/$1.db" --workflow default --user "$2" --prefix "$3" \
    --threads "$4" --items "$5"
}

first() {
  echo "Time to the first event, one client, $rounds rounds:"
  serve first
  load first --rounds "$rounds"
  end server
}

streams() {
  echo "Many streams that say little:"
  serve streams
  load streams --streams "$streams" --deltas "$deltas" --delay-ms "$delay" --over-ms "$delay"
  end server
}

busy() {
  echo "As many streams that say a lot:"
  serve busy
  load streams --streams "$streams" --deltas "$busy_deltas" --delay-ms "$busy_delay" --over-ms 0
  end server
}

relay() {
  echo "Deltas without a pause, $relayed in all:"
  serve relay
  local count
  for count in 4 100 1000; do
    load relay --streams "$count" --deltas "$((relayed / count))"
  done
  end server
}

messages() {
  local budget
  for budget in 2000 100000; do
    echo "A message in a long thread, with $budget tokens of history, $((rounds / 10)) rounds:"
    printf '[agents.default]\nmodel = "gpt-5.1"\nmax_input_tokens = %s\n' "$budget" >"$work/agents.toml"
    seed "messages-$budget" busy short_ "$((rounds / 10))" 10
    seed "messages-$budget" busy of_2000_items_ 1 2000
    seed "messages-$budget" busy "of_${items}_items_" 1 "$items"
    serve "messages-$budget" CHATKIT_MODEL= CHATKIT_AGENTS="$work/agents.toml"
    load messages --rounds "$((rounds / 10))" --short short_ --long of_2000_items_0 --long "of_${items}_items_0"
    end server
  done
}

lists() {
  echo "A page of 20, of $threads threads and of $items items, $pages rounds:"
  seed lists few few_ 100 1
  seed lists few short_ 1 100
  seed lists busy many_ "$threads" 1
  seed lists busy long_ 1 "$items"
  serve lists
  load lists --rounds "$pages" --few "$(token few)" --short short_0 --long long_0
  end server
}

build
start sandbox 1 env RUST_LOG=off HOST=127.0.0.1 "$SERVER" sandbox --port 0 --print-addr
for part in "${parts[@]}"; do
  echo
  "$part"
done
