# SET for $TIME seconds; the rate is counted by the server, because redis-benchmark takes a number of requests, not a time.
commands() { redis-cli info stats | tr -d '\r' | sed -n 's/^total_commands_processed://p'; }

before=$(commands)
# Ended by KILL alone, as it may have TERM blocked.
timeout --signal KILL "$TIME" redis-benchmark -q -c 16 -n 1000000000 -t set -d 512 > /dev/null
echo "rate $(( ($(commands) - before) / TIME ))"
