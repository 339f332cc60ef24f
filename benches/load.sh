#!/usr/bin/env bash
# How fast is the service, next to the sandbox alone and next to a bare axum+reqwest proxy of the same stack?
#
#   benches/load.sh            4 to 6 minutes, 16 at the very most, after the release build
#   benches/load.sh --quick    about 40 s; the figures are rough, and the memory runs are short
#
# The server under test runs on core 0; wrk and the sandbox run on core 1. Everything is on the loopback. Servers log as they do
# by default, to /dev/null. Rounds alternate between the two servers, and the median of them counts, because a shared
# machine is never quiet. "CPU" is the server's own time for a request: it says the same with less noise.
# SERVER and BARE_PROXY name binaries that are already built. Ends non-zero when a target is missed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=7 seconds=6 memory=("100000 1000 120" "1000000 50000 600")
case "${1:-}" in
  "") ;;
  --quick) rounds=3 seconds=2 memory=("20000 1000 10") ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
for command in wrk taskset python3 cargo; do
  command -v "$command" >/dev/null || { echo "benches/load.sh needs $command (Debian: wrk, util-linux, python3)" >&2; exit 2; }
done
[ "$(nproc)" -ge 2 ] || { echo "benches/load.sh needs two cores" >&2; exit 2; }

# What the server may cost more than the proxy, and what it may hold.
LEAST_RATIO=0.9 MOST_EXTRA_US=60 MOST_READY_MS=50
declare -A MOST_RSS_MIB=([100000]=30 [1000000]=150)
CONNECTIONS=32

work="$(mktemp -d)"
declare -A address process
tidy() {
  local name
  for name in "${!process[@]}"; do end "$name"; done
  rm -rf "$work"
}
trap tidy EXIT
trap 'exit 130' INT TERM

JWT_SECRET="$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')"
export JWT_SECRET
missed=0

build() {
  if [ -z "${SERVER:-}" ] || [ -z "${BARE_PROXY:-}" ]; then
    echo "building the release profile ..."
    cargo build --release --locked --message-format=json --bin chatkit-server --bench bare_proxy >"$work/build.json"
    SERVER="$(built chatkit-server)"
    BARE_PROXY="$(built bare_proxy)"
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

# tokens USERS: a wrk script whose requests go through the tokens of that many users. `chatkit-server token` prints the first
# of them, so that the server's own command is the judge of what the rest should look like.
tokens() {
  local first
  first="$("$SERVER" token --user user-0 --ttl 1h)"
  python3 - "$1" "$first" >"$work/tokens-$1" <<'PY'
import base64, hashlib, hmac, json, os, sys
users, first = int(sys.argv[1]), sys.argv[2]
key = os.environ["JWT_SECRET"].encode()
head, claims, _ = first.split(".")
def encoded(raw): return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
def signed(text): return text + "." + encoded(hmac.new(key, text.encode(), hashlib.sha256).digest())
if signed(head + "." + claims) != first:
    sys.exit("`chatkit-server token` is not signed with HS256 and JWT_SECRET")
claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
for user in range(users):
    claims["sub"] = f"user-{user}"
    print(signed(head + "." + encoded(json.dumps(claims).encode())))
PY
  cat >"$work/users-$1.lua" <<LUA
local requests, next_one, sent = {}, 0, 0
local most = tonumber(os.getenv("MOST_REQUESTS") or "0")
function init()
  for token in io.lines("$work/tokens-$1") do
    local headers = { Authorization = "Bearer " .. token, ["Content-Type"] = "application/json" }
    requests[#requests + 1] = wrk.format("POST", "/api/chatkit/session", headers, "{}")
  end
end
function request()
  sent = sent + 1
  if sent == most then
    io.open("$work/enough", "w"):close()
    wrk.thread:stop()
  end
  next_one = next_one % #requests + 1
  return requests[next_one]
end
LUA
}

# The sandbox itself, with the body that the servers send it.
cat >"$work/direct.lua" <<'LUA'
local body = '{"workflow":{"id":"wf_sandbox"},"user":"bare","expires_after":{"anchor":"created_at","seconds":600}}'
local headers = { Authorization = "Bearer sk-bench", ["OpenAI-Beta"] = "chatkit_beta=v1", ["Content-Type"] = "application/json" }
function init() wrk.path = "/v1/chatkit/sessions" end
function request() return wrk.format("POST", wrk.path, headers, body) end
LUA

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

# serve NAME VARIABLE=VALUE…: the service, with limits off unless told otherwise.
serve() {
  local name="$1"
  shift
  start "$name" 0 env HOST=127.0.0.1 PORT=0 LOG_FORMAT=json OPENAI_API_KEY=sk-bench CHATKIT_WORKFLOW_ID=wf_sandbox \
    CHATKIT_API_BASE="http://${address[sandbox]}" RATE_LIMIT_IP_PER_MINUTE=0 RATE_LIMIT_USER_PER_MINUTE=0 "$@" \
    "$SERVER" serve --print-addr
}

# cpu_ticks PID: user and system time so far.
cpu_ticks() {
  awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# load NAME SCRIPT CONNECTIONS SECONDS: prints "requests/s p50-in-µs CPU-in-µs-per-request share-of-a-core".
load() {
  local name="$1" before after
  before="$(cpu_ticks "${process[$name]}")"
  taskset -c 1 wrk -t1 -c"$3" -d"$4" --latency -s "$2" "http://${address[$name]}" >"$work/wrk" 2>&1 &
  process[wrk]="$!"
  # wrk sleeps to the end of its time even when its thread has stopped; an interrupt wakes it.
  while [ -n "${MOST_REQUESTS:-}" ] && [ ! -e "$work/enough" ] && kill -0 "$!" 2>/dev/null; do sleep 0.2; done
  [ ! -e "$work/enough" ] || kill -INT "$!" 2>/dev/null || true
  wait "$!" || true
  unset 'process[wrk]'
  rm -f "$work/enough"
  after="$(cpu_ticks "${process[$name]}")"
  if grep -E 'Non-2xx|Socket errors' "$work/wrk" >&2; then
    echo "$name: not every request was answered with 200" >&2
    exit 1
  fi
  awk -v ticks="$((after - before))" -v hertz="$(getconf CLK_TCK)" '
    function unit(text) { return text ~ /us$/ ? 1 : text ~ /ms$/ ? 1e3 : text ~ /m$/ ? 6e7 : 1e6 }
    $1 == "50%" { p50 = ($2 + 0) * unit($2) }
    $2 == "requests" { total = $1; took = ($4 + 0) * unit(substr($4, 1, length($4) - 1)) / 1e6 }
    $1 == "Requests/sec:" { rate = $2 }
    END {
      if (!total) { print "no requests" > "/dev/stderr"; exit 1 }
      printf "%.0f %.0f %.1f %.2f\n", rate, p50, ticks / hertz * 1e6 / total, ticks / hertz / took
    }' "$work/wrk"
}

# median FILE COLUMN
median() {
  sort -n -k "$2,$2" "$1" | awk -v column="$2" '{ value[NR] = $column } END { print value[int((NR + 1) / 2)] }'
}

# verdict WHAT VALUE at-least|at-most TARGET UNIT
verdict() {
  local word=pass
  if ! awk -v value="$2" -v how="$3" -v target="$4" \
    'BEGIN { exit !(how == "at-least" ? value >= target : value <= target) }'; then
    word=MISSED missed=1
  fi
  printf '%-6s  %-62s %8s %s (%s %s)\n' "$word" "$1" "$2" "$5" "${3/-/ }" "$4"
}

# compare CONNECTIONS: rounds of the service and the proxy in turn, into $work/NAME-CONNECTIONS.
compare() {
  local round name
  for round in $(seq "$rounds"); do
    for name in service bare; do
      load "$name" "$work/users-1000.lua" "$1" "$seconds" >>"$work/$name-$1"
    done
  done
}

row() {
  local name="$1" file="$2"
  printf '        %-28s %8s req/s   p50 %6s µs   CPU %6s µs/request   %s of a core\n' \
    "$name" "$(median "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" "$(median "$file" 4)"
}

rss_mib() {
  awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"
}

# memory_run REQUESTS USERS SECONDS: a fresh server mints that often, within that time.
memory_run() {
  local name="memory-$1" limit="$3" fresh held done_requests
  tokens "$2"
  serve "$name"
  fresh="$(rss_mib "${process[$name]}")"
  MOST_REQUESTS="$1" load "$name" "$work/users-$2.lua" "$CONNECTIONS" "$limit" >"$work/$name"
  done_requests="$(awk '$2 == "requests" { print $1 }' "$work/wrk")"
  held="$(rss_mib "${process[$name]}")"
  printf '        %s mints by %s users: %s MiB before, %s MiB after\n' "$done_requests" "$2" "$fresh" "$held"
  # The last answers of the last requests may be cut off by the end of the run.
  [ "$done_requests" -ge "$(($1 - 2 * CONNECTIONS))" ] || { echo "$1 mints did not fit into $limit s" >&2; missed=1; }
  verdict "resident memory after $1 mints by $2 users" "$held" at-most "${MOST_RSS_MIB[$1]:-30}" MiB
  end "$name"
}

# From exec to the first 200 of /readyz, in milliseconds: the median of eleven starts.
ready() {
  env HOST=127.0.0.1 PORT=0 LOG_FORMAT=json OPENAI_API_KEY=sk-bench CHATKIT_WORKFLOW_ID=wf_sandbox \
    CHATKIT_API_BASE="http://${address[sandbox]}" python3 - taskset -c 0 "$SERVER" serve --print-addr <<'PY'
import http.client, statistics, subprocess, sys, time
def start():
    began = time.perf_counter()
    server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = server.stdout.readline().strip()
        while True:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return (time.perf_counter() - began) * 1000
            if time.perf_counter() - began > 10:
                sys.exit("the server does not become ready")
            time.sleep(0.001)
    finally:
        server.terminate()
        server.wait()
print(f"{statistics.median(start() for _ in range(11)):.1f}")
PY
}

build
tokens 1000
start sandbox 1 env RUST_LOG=off HOST=127.0.0.1 "$SERVER" sandbox --port 0 --print-addr
start bare 0 "$BARE_PROXY" "http://${address[sandbox]}"
serve service
for name in bare service; do
  load "$name" "$work/users-1000.lua" "$CONNECTIONS" 1 >/dev/null
done

echo
echo "throughput, $CONNECTIONS connections, $rounds rounds of $seconds s each:"
compare "$CONNECTIONS"
load sandbox "$work/direct.lua" "$CONNECTIONS" "$seconds" >"$work/sandbox-$CONNECTIONS"
row "the sandbox, asked directly" "$work/sandbox-$CONNECTIONS"
row "bare proxy" "$work/bare-$CONNECTIONS"
row "chatkit-server" "$work/service-$CONNECTIONS"
paste "$work/service-$CONNECTIONS" "$work/bare-$CONNECTIONS" | awk '{ printf "%.3f %.3f\n", $1 / $5, $7 / $3 }' >"$work/ratios"
verdict "throughput, to the bare proxy's" "$(median "$work/ratios" 1)" at-least "$LEAST_RATIO" times
printf '        by CPU time a request, to the bare proxy'"'"'s: %s times\n' "$(median "$work/ratios" 2)"
printf '        throughput, to the sandbox asked directly: %s times\n' \
  "$(awk -v ours="$(median "$work/service-$CONNECTIONS" 1)" '{ printf "%.3f", ours / $1 }' "$work/sandbox-$CONNECTIONS")"
end service

serve service-limited RATE_LIMIT_IP_PER_MINUTE=1000000 RATE_LIMIT_IP_BURST=1000000 \
  RATE_LIMIT_USER_PER_MINUTE=1000000 RATE_LIMIT_USER_BURST=1000000
load service-limited "$work/users-1000.lua" "$CONNECTIONS" "$seconds" >"$work/limited"
row "chatkit-server, limits on" "$work/limited"
printf '        CPU time a request with limits on, to limits off: %s times\n' \
  "$(awk -v off="$(median "$work/service-$CONNECTIONS" 3)" '{ printf "%.3f", $3 / off }' "$work/limited")"
end service-limited

echo
echo "latency, 1 connection, $rounds rounds of $seconds s each:"
serve service
compare 1
row "bare proxy" "$work/bare-1"
row "chatkit-server" "$work/service-1"
paste "$work/service-1" "$work/bare-1" | awk '{ print $2 - $6 }' >"$work/extra"
verdict "p50 above the bare proxy's" "$(median "$work/extra" 1)" at-most "$MOST_EXTRA_US" µs
end service
end bare

echo
echo "memory and start:"
for run in "${memory[@]}"; do
  read -r mints users limit <<<"$run"
  memory_run "$mints" "$users" "$limit"
done
verdict "ready, from exec to 200 of /readyz" "$(ready)" at-most "$MOST_READY_MS" ms
exit "$missed"
