#!/usr/bin/env bash
# Measures what an event costs on disk, by kind of event and kind of data, on throw-away ledgers: the table of
# docs/limits.md. Usage: scripts/bytes-per-event.sh [THOUSANDS OF EVENTS, default 100]. Needs curl and `make build`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

thousands=${1:-100}
program=$PWD/target/debug/oubliette
[[ -x $program ]] || die "$program is missing: make build"
work=$(mktemp -d)
server=
finish() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null && wait "$server" || :; fi
    rm -rf "$work"
}
trap finish EXIT

# serve <data>: sets `server` and `url`.
serve() {
    "$program" serve --data "$1" --listen 127.0.0.1:0 >"$work/listening" 2>"$work/log" &
    server=$!
    for _ in $(seq 300); do
        url=$(sed -n 's/^listening on //p' "$work/listening")
        [[ -z $url ]] || return 0
        sleep 0.1
    done
    die "the server does not start: $(tail -n 3 "$work/log")"
}
stop() { kill "$server" && wait "$server"; server=; }

# batch <form> <number>: a thousand events in 100 streams of 10,000, for people out of 10,000.
batch() {
    awk -v form="$1" -v batch="$2" 'BEGIN {
        srand(batch + 1)
        public = "\"data\":{\"order\":\"A-100%03d\",\"total\":%d.50,\"currency\":\"EUR\",\"items\":[{\"sku\":\"B-7731\",\"count\":2}]},"
        for (i = 0; i < 192; i++) text = text sprintf("%c", 97 + i % 26)
        printf "{\"events\":["
        for (i = 0; i < 1000; i++) {
            printf "%s{\"stream\":\"order-%d\",\"type\":\"order.placed\",", i ? "," : "", int(i / 10) + (batch % 100) * 100
            if (form != "bare") printf public, i, batch
            if (form == "sealed") printf "\"personal\":[{\"subject\":\"customer-%d\",\"category\":\"billing\",\"data\":{\"name\":\"Ada Example\",\"text\":\"%s\"}}],", int(rand() * 10000), text
            printf "\"actor\":\"web-shop\"}"
        }
        printf "]}"
    }'
}

printf '| event | headers | bodies | sealed | tree | indexes | ledger, all | key store a person |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n'
for form in bare public sealed; do
    data=$work/$form
    key=$("$program" init --data "$data" --json | sed 's/.*"api_key":"\([^"]*\)".*/\1/')
    serve "$data"
    for ((number = 0; number < thousands; number++)); do
        batch "$form" "$number" | curl -sS --fail-with-body -o "$work/answer" -H "Authorization: Bearer $key" \
            --data-binary @- "$url/v1/ledgers/main/events?proof=none" || die "refused: $(cat "$work/answer")"
    done
    stop
    # Opening sorts what was only in the log.
    serve "$data"
    curl -sS -H "Authorization: Bearer $key" "$url/metrics" >"$work/metrics"
    stop
    awk -F '[" ]' -v form="$form" -v events="$((thousands * 1000))" -v people="$([[ $form == sealed ]] && echo 10000)" '
        /^oubliette_disk_bytes\{/ { bytes[$2] = $NF }
        END {
            split("headers bodies sealed tree indexes", kinds)
            printf "| %s ", form
            for (i = 1; i <= 5; i++) printf "| %.0f ", bytes[kinds[i]] / events
            all = bytes["headers"] + bytes["bodies"] + bytes["sealed"] + bytes["tree"] + bytes["indexes"] + bytes["other"] + bytes["log"]
            printf "| %.0f | %s |\n", all / events, people ? sprintf("%.0f", bytes["keystore"] / people) : "–"
        }' "$work/metrics"
done
