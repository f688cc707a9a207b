#!/bin/sh
# The first process in the namespaces that machine.py made: from the bare system $1 and the folder $2 to systemd.
set -eu
base=$1 root=$2/root
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$base,upperdir=$2/upper,workdir=$2/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
ip link set lo up
hostname posthouse-test
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
# Shared, as on a machine that systemd booted: what it mounts for a unit must reach the unit.
exec chroot . sh -c 'umount -l /run/old && rmdir /run/old && mount --make-rshared / &&
  exec env -i container=posthouse-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd'
