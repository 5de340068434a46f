#!/bin/sh
# Process 1 of namespaces of its own: boots the systemd of this machine on a copy of its root that
# forgets everything. $1 is an empty folder, $2 the package, $3 the folder of the other files, $4
# a folder that what is told goes to.
set -eu
work=$1 package=$2 data=$3 told=$4

mount -t tmpfs -o mode=755 work "$work"
mkdir "$work/upper" "$work/other" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/other" root "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t sysfs sys sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount --rbind /dev dev
# Of the cgroup namespace: nothing outside is touched.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
ip link set lo up

cp "$package" trial.deb
cp "$data/inside.sh" trial.sh
# Services of this machine stay out of it.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
cp "$data/trial.service" "$data/redis.service" etc/systemd/system/
mkdir -p old told etc/systemd/system/trial.target.wants
cp "$data/trial.target" etc/systemd/system/
ln -s ../trial.service etc/systemd/system/trial.target.wants/trial.service
mount --bind "$told" told
mkdir etc/systemd/system/socketvirt.service.d
printf '[Service]\nStandardError=append:/told/log\n' > etc/systemd/system/socketvirt.service.d/told.conf

pivot_root . old
cd /
umount -l /old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=trial \
    /lib/systemd/systemd --system --unit=trial.target --log-target=console --log-level=warning
