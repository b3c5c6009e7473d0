// What runs first in a guest image: the modules it loads and its /init script (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst).

/** What the guest's shell prints when it waits for a command in the root directory. */
export const GUEST_PROMPT = "denovisor:/# ";

/** A kernel module and the virtio device type (virtio 1.2 section 5; 0: any) without which it stays unloaded. */
export interface GuestModule {
  /** Below the kernel's module folder, without `.ko`. */
  readonly path: string;
  readonly virtioType: number;
}

const ANY = 0, NET = 1, BLOCK = 2, ENTROPY = 4, FILES_9P = 9;

/** The modules of a guest image, each after those it depends on. */
export const GUEST_MODULES: readonly GuestModule[] = [
  { path: "drivers/virtio/virtio_mmio", virtioType: ANY },
  { path: "drivers/char/hw_random/virtio-rng", virtioType: ENTROPY },
  { path: "drivers/block/virtio_blk", virtioType: BLOCK },
  { path: "net/core/failover", virtioType: NET },
  { path: "drivers/net/net_failover", virtioType: NET },
  { path: "drivers/net/virtio_net", virtioType: NET },
  { path: "crypto/crc32c_generic", virtioType: BLOCK },
  { path: "lib/crc16", virtioType: BLOCK },
  { path: "fs/mbcache", virtioType: BLOCK },
  { path: "fs/jbd2/jbd2", virtioType: BLOCK },
  { path: "fs/ext4/ext4", virtioType: BLOCK },
  { path: "fs/netfs/netfs", virtioType: FILES_9P },
  { path: "net/9p/9pnet", virtioType: FILES_9P },
  { path: "net/9p/9pnet_virtio", virtioType: FILES_9P },
  { path: "fs/9p/9p", virtioType: FILES_9P },
];

/** `/etc/modules` of the guest, which `/init` reads: a virtio device type and a module's name to a line, in order. */
export function moduleList(modules: readonly GuestModule[] = GUEST_MODULES): string {
  return modules.map(({ path, virtioType }) =>
    `0x${virtioType.toString(16).padStart(4, "0")} ${path.slice(path.lastIndexOf("/") + 1)}\n`
  ).join("");
}

/** `/init` of the guest: mounts, modules, network, disk, then a shell or the command of `denovisor.init=`. */
export const GUEST_INIT = String.raw`#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hostname denovisor
# The shell finds busybox's commands by itself; the hundreds of links for others need not delay the prompt.
busybox --install -s 2> /dev/null &

# From here on only the kernel's errors reach the console, so that nothing breaks into the prompt.
echo 4 > /proc/sys/kernel/printk

# The value of a word of the kernel's command line, quoted if it has spaces.
option() {
  sed -n -E "s/.*(^| )$1=\"([^\"]*)\".*/\2/p; t; s/.*(^| )$1=([^ ]*).*/\2/p" /proc/cmdline
}

# A module waits for its device: without a disk, say, no file system is loaded.
present=0x0000
while read -r device module; do
  case " $present " in *" $device "*) insmod "/lib/modules/$module.ko" ;; esac
  [ "$device" = 0x0000 ] && present="$present $(cat /sys/bus/virtio/devices/*/device 2> /dev/null | tr '\n' ' ')"
done < /etc/modules

# A virtio console is there only now.
exec < /dev/console > /dev/console 2>&1

# The network comes up behind the prompt: by DHCP, or with the address that denovisor.ip= gives.
ip link set lo up
address="$(option denovisor.ip)"
for interface in $(ls /sys/class/net | grep '^eth'); do
  ip link set "$interface" up
  if [ -n "$address" ]; then
    ip address add "$address" dev "$interface"
    address=
  else
    udhcpc -i "$interface" -s /etc/udhcpc.sh -n -q -t 4 -T 1 > /dev/null 2>&1 &
  fi
done

echo
echo "  denovisor: Linux $(uname -r) on $(uname -m), $(nproc) CPU, $(free -m | awk '/^Mem/ { print $2 }') MiB of memory"
if [ -b /dev/vda ]; then
  if mount /dev/vda /mnt 2> /dev/null; then
    echo "  The disk /dev/vda is mounted at /mnt."
  else
    echo "  The disk /dev/vda holds no file system known here. To make one, on the host: mke2fs FILE"
  fi
fi
echo "  Type busybox for the commands that are here, exit to power off."
echo

# What busybox's poweroff, reboot and halt send; it waits until the shell ends, where an alias does not.
trap 'exec /sbin/poweroff' USR2
trap 'exec /sbin/reboot' TERM
trap 'exec /sbin/halt' USR1

# In a session of its own with the console as its terminal, the shell has job control.
export PS1='denovisor:\w# ' ENV=/etc/shrc
cd /
command="$(option denovisor.init)"
if [ -n "$command" ]; then
  setsid cttyhack sh -c "$command"
else
  setsid cttyhack sh
fi
exec /sbin/poweroff
`;

/** `/etc/shrc` of the guest: the shell would take its own poweroff, which asks process 1, before the one in `/sbin`. */
export const GUEST_SHELL_START = "alias poweroff=/sbin/poweroff reboot=/sbin/reboot halt=/sbin/halt\n";

/** `/sbin/poweroff`, `reboot` and `halt` of the guest: process 1 is a script here, not an init that could be asked. */
export const GUEST_POWEROFF = String.raw`#!/bin/sh
umount -a -r 2> /dev/null
sync
exec busybox "$(basename "$0")" -f
`;

/** `/etc/udhcpc.sh` of the guest: what busybox's DHCP client runs when its lease changes. */
export const GUEST_DHCP_SCRIPT = String.raw`#!/bin/sh
case "$1" in
  deconfig)
    ip address flush dev "$interface" scope global
    ;;
  bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    for gateway in $router; do
      ip route replace default via "$gateway" dev "$interface" && break
    done
    : > /etc/resolv.conf
    for server in $dns; do
      echo "nameserver $server" >> /etc/resolv.conf
    done
    ;;
esac
`;
