/* Every device class there is. A program hands the table to viv_dev_set_classes(). */
#ifndef VIV_DEV_DEVICES_H
#define VIV_DEV_DEVICES_H

#include "bus/dev.h"

extern const struct viv_dev_class
    *const viv_devices[]; /* NULL-terminated, in the order of devices.def */

#endif
