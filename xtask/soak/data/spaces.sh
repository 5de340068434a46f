# $1 the workload, $2 how the names of namespaces begin, $3 how many pairs of them, $4 rounds.
# Pairs of namespaces with a veth between them and a busy connection in it. One name of each is gone while the
# connection lives, and the namespace once it ends: in every third pair by SIGKILL, in the middle of it.
say() { echo "$*" >&2; exit 1; }
go=$(mktemp) && rm "$go"
export SOCKETVIRT_TEST_GO="$go"
all=$(seq "$3")
trap 'rm -f "$go"' EXIT

for n in $all; do
    a=$2-$n-a b=$2-$n-b
    ip netns add "$a" && ip netns add "$b" && ip -n "$a" link add v type veth peer name v netns "$b" || say "making $a, $b"
    for end in "$a 10.9.0.1" "$b 10.9.0.2"; do
        set -- "$1" "$2" "$3" "$4" $end
        ip -n "$5" addr add "$6/24" dev v && ip -n "$5" link set v up && ip -n "$5" link set lo up || say "setting up $5"
    done
    "$1" --deadline 580 streams --late-accept --io edge --connections 2 --client-netns "$a" --server-netns "$b" \
        --listen 10.9.0.2:0 --phases "pp:20!go,pp:${4}x256" &
    eval "job$n=$!"
done
for n in $all; do
    b=$2-$n-b
    eval "job=\$job$n"
    until [ "$(ss -N "$b" -Htn state established | wc -l)" = 2 ]; do
        kill -0 "$job" 2>/dev/null || say "the workload of $b has ended"
        sleep 0.05
    done
    ip netns del "$b" || say "deleting $b"
    [ $((n % 3)) = 0 ] && kill -KILL "$job"
done
touch "$go"
for n in $all; do
    eval "job=\$job$n"
    wait "$job" || [ $((n % 3)) = 0 ] || say "the workload of $2-$n-b failed"
done
# The namespace that a name was of is gone, and with it the other end of its veth.
gone() {
    for wait in $(seq 1200); do
        ip -n "$1" link show v >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    return 1
}
for n in $all; do
    gone "$2-$n-a" || say "somebody keeps the namespace that was $2-$n-b"
    ip netns del "$2-$n-a"
done
