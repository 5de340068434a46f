# The trial: what an operator does with the package, from its installation to its removal.
# Prints `ok WHAT` or `FAILED WHAT` a line, and `end`.
export DEBIAN_FRONTEND=noninteractive
pins=/sys/fs/bpf/socketvirt

holds() {
    local what=$1
    shift
    if "$@" >> /told/log 2>&1; then echo "ok $what"; else echo "FAILED $what"; fi
}
fails() { ! "$@"; }
soon() {
    for _ in $(seq 100); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
    "$@"
}
main_process() { systemctl show --property=MainPID --value socketvirt; }
is_another() { local now; now=$(main_process); [ "$now" != 0 ] && [ "$now" != "$1" ]; }
load() {
    setpriv --reuid=nobody --regid=nogroup --clear-groups \
        timeout 60 redis-benchmark -p 7391 -c 4 -n 100000 -t get -q
}
fast() { [ "$(socketvirt status --json | grep -o '"fast":[0-9]*' | head -n 1 | cut -d: -f2)" -gt 1000000 ]; }
# Connections that last for some seconds.
lasting() {
    setpriv --reuid=nobody --regid=nogroup --clear-groups \
        timeout 60 redis-benchmark -p 7391 -c 4 -n 1000000 -t get -q >> /told/log 2>&1
}
accelerates() { [ "$(socketvirt status --json | grep -o '"enrolled":[0-9]*' | head -n 1 | cut -d: -f2)" -ge 4 ]; }
took_over() { journalctl --unit=socketvirt | grep "taking over the data path" | grep -qv "with 0 enrolled"; }
nothing_left() { [ ! -e $pins ] && [ -z "$(find /sys/fs/cgroup -name 'socketvirt*' -not -name '*.service')" ]; }

holds "the package is installed" dpkg -i /trial.deb
holds "the unit is not enabled" fails systemctl is-enabled socketvirt
holds "the unit is not started" fails systemctl is-active socketvirt
holds "nothing is pinned" nothing_left

printf '[[rule]]\nname = "redis"\nserver_port = 7391\naction = "adopt"\n' >> /etc/socketvirt/socketvirt.toml
holds "the unit starts" systemctl start socketvirt
# Without it, nothing below means anything.
systemctl is-active --quiet socketvirt || exit
systemctl status socketvirt --no-pager -l >> /told/log 2>&1
holds "the data path works" socketvirt status --check
holds "the folder of pins is for root alone" test "$(stat -c %a $pins)" = 700
systemctl start redis
soon redis-cli -p 7391 ping
holds "redis is under load" load
soon fast
holds "redis is accelerated" fast
socketvirt status >> /told/log 2>&1

echo '[[rule' >> /etc/socketvirt/socketvirt.toml
holds "a broken policy fails the reload" fails systemctl reload socketvirt
holds "the agent goes on" socketvirt status --check
sed -i '$d' /etc/socketvirt/socketvirt.toml
holds "a policy is read again" systemctl reload socketvirt

killed=$(main_process)
kill -KILL "$killed"
holds "a killed agent is started again" soon is_another "$killed"
holds "its data path works" soon socketvirt status --check
replaced=$(main_process)
lasting &
lasting=$!
holds "connections are accelerated" soon accelerates
holds "the package is upgraded" dpkg -i --force-confold /trial.deb
holds "the agent is the new one" soon is_another "$replaced"
holds "its data path works again" soon socketvirt status --check
holds "it took the connections over" took_over
holds "they ended well" wait "$lasting"
holds "redis is under load again" load

holds "the package is removed" dpkg -r socketvirt
holds "the agent has ended" fails systemctl is-active socketvirt
holds "nothing is left" nothing_left
holds "redis answers" redis-cli -p 7391 ping
holds "the policy stays" test -e /etc/socketvirt/socketvirt.toml
holds "the package is purged" dpkg -P socketvirt
holds "no file is left" fails test -e /etc/socketvirt
echo end
