#include "dev/devices.h"

#define VIV_DEVICE(symbol) extern const struct viv_dev_class symbol;
#include "dev/devices.def"
#undef VIV_DEVICE

const struct viv_dev_class *const viv_devices[] = {
#define VIV_DEVICE(symbol) &symbol,
#include "dev/devices.def"
#undef VIV_DEVICE
    NULL,
};
