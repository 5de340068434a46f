#!/bin/busybox sh
# The first program of a machine that `cargo xtask vm` boots: prepares it, then hands over to
# `vm guest`, which checks things and answers on the second serial port.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null

# Each may need another one first.
for pass in 1 2 3 4 5; do
    for module in /modules/*.ko; do
        [ -e "$module" ] && insmod "$module" 2>/dev/null && rm "$module"
    done
done

ip link set lo up
stty -F /dev/ttyS1 raw -echo
export SOCKETVIRT_BIN=/release/socketvirt
/release/vm guest </dev/null >/dev/ttyS1
echo "the checks ended with status $?"
poweroff -f
