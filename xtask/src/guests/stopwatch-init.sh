#!/bin/sh
# A userspace that ends as soon as it is there: what it took is read outside.
export PATH=/bin
mount -t devtmpfs dev /dev
echo "userspace of ${name:-a guest} is up"

put() {
    printf "$2" | busybox dd of=/dev/port bs=1 seek="$1" conv=notrunc 2>/dev/null
}
# Switches Bochs off (port 8900h); Skerry and others have nothing there.
for letter in S h u t d o w n; do put 35072 $letter; done
# Ends a VM on Skerry, and QEMU with isa-debug-exit (port f4h).
put 244 '\0'
poweroff -f
