#!/usr/bin/env bash
# Measures Sedge beside nginx and others on the same work, with the harness in
# ../shared/bench-peers or where BENCH_PEERS says. Arguments go to its run.sh:
#
#   bench/peers.sh quick -p nginx -w "W2 W3"
#
# Sedge runs with everything on: three visitors with signed cookies and profiles,
# segments by rules, an experiment whose exposures are recorded. RESULTS says where
# the figures go as JSON (bench/results).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

harness=${BENCH_PEERS:-$root/../shared/bench-peers}
if [ ! -x "$harness/run.sh" ]; then
  echo "bench/peers.sh: no harness at $harness; set BENCH_PEERS to its folder" >&2
  exit 1
fi
work=$(mktemp -d)
node=
origin=
cleanup() {
  [ -z "$node" ] || kill "$node" 2>/dev/null || true
  [ -z "$origin" ] || kill "$origin" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# The harness writes beside itself, so it works in a copy.
cp -r "$harness" "$work/harness"
chmod -R u+w "$work/harness"
mkdir -p "$work/harness/.build"
(cd "$work/harness/tools" && go build -o ../.build/peerbench .)
peerbench=$work/harness/.build/peerbench
CGO_ENABLED=0 go build -trimpath -o "$work/sedge" ./cmd/sedge

# port prints a port on which nobody listens.
port() {
  local p
  for p in $(shuf -i 20000-30000 -n 50); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
      echo "$p"
      return
    fi
  done
}

# await waits until an address answers.
await() {
  for _ in $(seq 100); do
    if curl -fs -o /dev/null "$1"; then return; fi
    sleep 0.1
  done
  echo "bench/peers.sh: $1 did not answer:" >&2
  tail -n 5 "$work/prepare.log" >&2
  return 1
}

# The three visitors are made by a node of their own, whose state every measured
# node starts from.
origin_port=$(port)
"$peerbench" origin "$origin_port" 2>/dev/null &
origin=$!
ORIGIN_PORT=$origin_port "$peerbench" render bench/peers.yaml.tmpl >"$work/sedge.yaml"
site=http://127.0.0.1:$(port)
"$work/sedge" serve -c "$work/sedge.yaml" --listen "${site#http://}" --admin-listen "127.0.0.1:$(port)" \
  --data-dir "$work/state" >"$work/prepare.log" 2>&1 &
node=$!
await "$site/raw/small"

# visitor prints the cookie of a new visitor of a segment who is in the arm with all edits.
visitor() {
  local tier=$1 jar=$work/jar
  for _ in $(seq 40); do
    rm -f "$jar"
    curl -fs -o /dev/null -c "$jar" -H 'Accept: text/html' "$site/rw/page"
    curl -fs -o /dev/null -b "$jar" "$site/_sedge/v1/identify" -d "{\"traits\":{\"tier\":\"$tier\"}}"
    if curl -fs -b "$jar" "$site/rw/page" | grep -q "data-variant=\"$tier\""; then
      awk '$6 == "sedge_vid" { print $6 "=" $7 }' "$jar"
      return
    fi
  done
  echo "bench/peers.sh: no visitor of segment $tier saw the edits; see $work/prepare.log" >&2
  return 1
}
PROXY_COOKIE_NEW=$(visitor new)
PROXY_COOKIE_RETURNING=$(visitor returning)
PROXY_COOKIE_VIP=$(visitor vip)
kill "$node" "$origin"
wait "$node" "$origin" 2>/dev/null || true
node='' origin=''

cat >"$work/start" <<START
set -e
"$peerbench" render "$root/bench/peers.yaml.tmpl" >"\$RUN_DIR/sedge.yaml"
cp -r "$work/state" "\$RUN_DIR/state"
exec "$work/sedge" serve -c "\$RUN_DIR/sedge.yaml" --listen "127.0.0.1:\$PORT" \
  --admin-listen 127.0.0.1:0 --data-dir "\$RUN_DIR/state" --log-level error
START

export PROXY_COOKIE_NEW PROXY_COOKIE_RETURNING PROXY_COOKIE_VIP
export PROXY_CMD="exec sh $work/start" PROXY_LABEL=${PROXY_LABEL:-sedge} BASE=${BASE:-nginx}
export RESULTS=${RESULTS:-$root/bench/results}
"$work/harness/run.sh" "$@"
