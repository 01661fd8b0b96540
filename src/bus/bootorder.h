/* Devices in the order in which firmware is to try them (bootindex=). Device lock held. */
#ifndef VIV_BUS_BOOTORDER_H
#define VIV_BUS_BOOTORDER_H

#include "bus/dev.h"

#include <stdbool.h>
#include <stdint.h>

/* `path`: as firmware names the device ("/pci@i0cf8/scsi@4/disk@0,0"), copied. -EBUSY when the place is taken. */
int viv_bootorder_add(const struct viv_dev *d, int64_t index, const char *path, struct viv_err *err);
/* Another place for a device that has one; -1: none, for now. -ENOENT: it never had one, so nobody knows its path. */
int viv_bootorder_move(const struct viv_dev *d, int64_t index, struct viv_err *err);
int64_t viv_bootorder_index(const struct viv_dev *d); /* -1: none */
void viv_bootorder_remove(const struct viv_dev *d);
/* The fw_cfg file: one path a line, the smallest index first, without devices that are off their bus and not freed yet. `strict`:
 * nothing else is tried. g_free. */
char *viv_bootorder_text(bool strict);

#endif
