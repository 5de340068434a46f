# $1 what is full, $2 the workload, $3 how the names of files begin that are made, $4 connections of a storm, $5 a name.
# Begins below `socketvirt exec`, whose maps it fills with keys of nobody: connections go on, nothing of them is
# accelerated, and that is counted. Then there is room again, and what connects is accelerated.
streams="$2 streams --late-accept --io edge"
keys=$3.keys
export SOCKETVIRT_TEST_GO="$3.go"
trap 'rm -f "$keys" "$SOCKETVIRT_TEST_GO"' EXIT
rm -f "$SOCKETVIRT_TEST_GO"
pins=$(echo /sys/fs/bpf/socketvirt/exec-$PPID-*)
receives=$(bpftool map dump pinned "$pins/sv_config" | sed -n 's/.*"receive_mode": "\(.*\)".*/\1/p')
case "$1 $receives" in
    # It is the map of one mode.
    "sv_next Unified") ;;
    *" TableOnly" | "sv_next "*)
        $streams --phases pp:100
        exit
        ;;
esac

# A number as eight bytes, the lowest first.
bytes() { printf '%016x' "$1" | sed 's/\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)/\8 \7 \6 \5 \4 \3 \2 \1/'; }

# The next places that were never used: $1 is how many are left.
places() {
    all=$(bpftool map show pinned "$pins/sv_watched" | sed -n 's/.*max_entries \([0-9]*\).*/\1/p')
    bpftool map update pinned "$pins/sv_fresh" key hex 00 00 00 00 value hex $(bytes $((all - $1)))
}

# $1 a map: writes commands for `bpftool batch`. The keys are no cookies and no numbers of a handshake.
foreign() {
    bpftool map show pinned "$pins/$1" |
        sed -n 's/.*key \([0-9]*\)B *value \([0-9]*\)B *max_entries \([0-9]*\).*/\1 \2 \3/p' |
        awk -v map="$pins/$1" '{
            for (at = 7; at <= $1; at++) key = key (at == 8 ? " 01" : " 00")
            for (at = 1; at <= $2; at++) value = value " 00"
            for (n = 0; n < $3; n++)
                printf "map update pinned %s key hex %02x %02x %02x 00 00 00%s value hex%s\n", map, n % 256,
                    int(n / 256) % 256, int(n / 65536) % 256, key, value
        }'
}

fill() {
    foreign "$1" >"$keys"
    # It stops where there is no room.
    bpftool batch file "$keys" >"$keys.said" 2>&1
    rm -f "$keys.said"
}

# Takes away what was put in.
empty() {
    foreign "$1" | sed 's/^map update/map delete/; s/ value hex.*//' | head -n 1000 >"$keys"
    bpftool batch file "$keys" >/dev/null
}

# Waits until the counter $1 has counted.
counted() {
    for wait in $(seq 1200); do
        bpftool map dump pinned "$pins/sv_stats" | grep -q "\"$1\": [1-9]" && return
        sleep 0.1
    done
    echo "$1 counts nothing" >&2
    exit 1
}

# Waits until a connection finds room.
room() {
    for wait in $(seq 600); do
        before=$(bpftool map dump pinned "$pins/sv_stats" | grep '"pairs_full"')
        $streams --connections 2 --phases pp:1 || exit 1
        [ "$before" = "$(bpftool map dump pinned "$pins/sv_stats" | grep '"pairs_full"')" ] && return
        sleep 0.1
    done
    echo "there is no room again" >&2
    exit 1
}

# A connection that goes on until it was refused.
refused() {
    $streams --connections 2 --phases pp:4@200!go,pp:20 &
    counted "$1"
    touch "$SOCKETVIRT_TEST_GO"
    wait $! || exit 1
}

case "$1" in
    sv_watched)
        places 16 || exit 1
        $streams --connections 64 --total "$4" --phases pp:2 || exit 1
        room
        ;;
    storage)
        # What a socket's options and storage may take is a limit of a namespace.
        trap 'rm -f "$SOCKETVIRT_TEST_GO"; ip netns del "$5"' EXIT
        ip netns add "$5" && ip -n "$5" link set lo up || exit 1
        ip netns exec "$5" sysctl -q net.core.optmem_max=64 || exit 1
        streams="$streams --client-netns $5 --server-netns $5"
        refused storage_full
        ip netns exec "$5" sysctl -q net.core.optmem_max=131072 || exit 1
        ;;
    *)
        fill "$1"
        refused pairs_full
        empty "$1"
        ;;
esac
$streams --connections 2 --phases fast@200,pp:20
