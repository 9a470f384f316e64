#!/bin/sh
# A worker with nothing but sh, curl and python3 (to read JSON): runs the jobs of kind `shout`, one at a time.
#
#   sh examples/worker.sh                     until Ctrl-C or SIGTERM
#   JOBQUEUE_HTTP=http://10.0.0.7:8080 sh examples/worker.sh
set -eu

server=${JOBQUEUE_HTTP:-http://127.0.0.1:8080}
work=$(mktemp -d)

# call PATH BODY: the answer, or an end with what the server said is wrong.
call() {
    curl --silent --show-error --fail-with-body --header 'content-type: application/json' \
        --data-binary "$2" "$server/v1/$1"
}

# field PATH: one value of the JSON on stdin, such as jobs.0.id; nothing where it is not there.
field() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."):
    try:
        value = value[int(name) if name.isdigit() else name]
    except (KeyError, IndexError):
        sys.exit()
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# The handler: takes the payload on stdin, writes the output, both JSON. It may take as long as it likes.
shout() {
    python3 -c '
import json, sys, time
payload = json.load(sys.stdin)
time.sleep(payload.get("seconds", 0))
print(json.dumps({"text": payload["text"].upper()}))'
}

leave() {
    kill "${handler:-}" 2>/dev/null || :
    # What is still held goes back at once, uncharged; without this it would when the session's ttl ends.
    call sessions:close "{\"session_token\": \"$token\"}" >"$work/closed" && echo "left" || :
    rm -rf "$work"
}

token=$(call sessions "{
    \"worker\": \"sh-$$\",
    \"session_ttl\": \"15s\",
    \"subscriptions\": [{\"kinds\": [\"shout\"]}]
}" | field session_token)
[ -n "$token" ] || exit 1
trap leave EXIT
trap 'exit 0' INT TERM
echo "ready"

while :; do
    # `held` says that it holds nothing: a job that an answer carried which got lost goes back, and comes again.
    call jobs:claim "{\"session_token\": \"$token\", \"wait\": \"10s\", \"held\": {\"leases\": []}}" >"$work/claimed" &
    wait $!
    id=$(field jobs.0.id <"$work/claimed")
    [ -n "$id" ] || continue
    attempt=$(field jobs.0.attempt <"$work/claimed")
    lease="\"job_id\": \"$id\", \"attempt\": $attempt"
    echo "job $id, attempt $attempt"

    field jobs.0.payload <"$work/claimed" >"$work/payload"
    shout <"$work/payload" >"$work/output" 2>"$work/error" &
    handler=$!
    outcome=
    # While it runs, heartbeats keep the session alive and bring the news of a cancel.
    while kill -0 "$handler" 2>/dev/null && [ -z "$outcome" ]; do
        sleep 1
        controls=$(call sessions:heartbeat "{\"session_token\": \"$token\", \"held\": {\"leases\": [{$lease}]}}")
        if [ -n "$(printf %s "$controls" | field controls.0.cancel)" ]; then
            kill "$handler" 2>/dev/null || :
            outcome='"cancellation": {}'
        fi
    done
    if wait "$handler" && [ -z "$outcome" ]; then
        outcome="\"success\": {\"output\": $(cat "$work/output")}"
    elif [ -z "$outcome" ]; then
        outcome="\"failure\": {\"error\": $(tail -n 1 "$work/error" | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().strip()))')}"
    fi
    handler=
    settled=$(call jobs:settle "{\"session_token\": \"$token\", \"outcomes\": [{$lease, $outcome}]}")
    echo "  $(printf %s "$settled" | field results.0.verdict) $(printf %s "$settled" | field results.0.status)"
done
