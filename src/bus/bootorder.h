/* Devices in the order in which firmware is to try them (bootindex=). Device lock held. */
#ifndef VIV_BUS_BOOTORDER_H
#define VIV_BUS_BOOTORDER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* `path`: as firmware names the device ("/pci@i0cf8/scsi@4/disk@0,0"), copied. -EBUSY when the place is taken. */
int viv_bootorder_add(int64_t index, const char *path, struct viv_err *err);
void viv_bootorder_remove(const char *path);
/* The fw_cfg file: one path a line, the smallest index first. `strict`: nothing else is tried. g_free. */
char *viv_bootorder_text(bool strict);

#endif
