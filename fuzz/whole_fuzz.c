/* The input is an image of the format that the environment's VIV_FUZZ_FORMAT names: it is opened in all ways, read, mapped, written and
 * checked. For formats whose images may be small. */
#include "block/tables_test.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct viv_blk_driver *drv;

    if (!drv)
        drv = viv_blk_driver_find(g_getenv("VIV_FUZZ_FORMAT"));
    if (size <= 4u << 20)
        exercise(drv, data, size);
    return 0;
}
