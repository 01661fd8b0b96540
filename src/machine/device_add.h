/* Devices by what people type: after -device, and device_add while the machine runs. Loop thread, device lock held. */
#ifndef VIV_MACHINE_DEVICE_ADD_H
#define VIV_MACHINE_DEVICE_ADD_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdio.h>

/* Of TPM devices and of -tpmdev. */
#define VIV_NO_TPM                                                                                                                  \
    "there is no TPM yet; leave it out (Windows 11's installer does without it when its registry has HKLM\\SYSTEM\\Setup\\LabConfig " \
    "BypassTPMCheck=1)"

/* What to use instead of a device that QEMU has and we have not, as a clause; NULL: there is no such device. */
const char *viv_device_instead(const char *name);
/* Names that people type without a bus ("virtio-blk") as those of classes, on a machine with or without PCI. */
const char *viv_device_alias(const char *name, bool pci);

/* Takes driver and id out of `r`; the rest are the device's properties. `what` ("-device", "device_add") opens errors. `late`: the
 * machine has been made; the guest is told. */
int viv_device_add(const char *what, struct viv_raw_opts *r, bool late, struct viv_err *err);
/* device_del: by id or by "/machine/peripheral/ID". -ENODEV: there is no such device. */
int viv_device_del(const char *name, struct viv_err *err);

/* The device's properties, or, NULL, what can be added, `late` while the machine runs. False: there is no such device. */
bool viv_device_help(const char *name, bool late, FILE *to);

#endif
