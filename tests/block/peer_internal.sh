#!/bin/sh
# Snapshots, dirty bitmaps and other options of qcow2 images, by viv-img and Debian's qemu-img in turns: internal.py.
here=$(cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/functions.sh"
VIV_IO=${VIV_IO:?path of viv-io}
requires qemu-img qemu-io qemu-nbd python3
export VIV_IMG VIV_IO
seed=${SEED:-1}
for i in $(seq "${WALKS:-4}"); do
    python3 "$here/internal.py" $((seed + i)) "${STEPS:-30}" || fail "walk with seed $((seed + i))"
    rm -f ./*.qcow2 ./*.raw
done
