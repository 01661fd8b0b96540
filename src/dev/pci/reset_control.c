#include "bus/vmreq.h"
#include "dev/pci/south.h"

#define RESET_CPU 4

static uint64_t rc_read(void *opaque, uint64_t off, unsigned size)
{
    return *(uint8_t *)opaque;
}

static void rc_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    uint8_t *rc = opaque;
    bool rise = (v & RESET_CPU) && !(*rc & RESET_CPU);

    *rc = v & VIV_RESET_TYPE; /* bit 2 falls again as the machine resets */
    if (rise)
        viv_vm_request(VIV_VM_RESET, 0, "port CF9h");
}

const struct viv_region_ops viv_reset_control_ops = {rc_read, rc_write, 1, 1, false, false};
