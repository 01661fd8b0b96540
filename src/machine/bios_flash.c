/* Firmware in flash chips: -drive if=pflash, -machine pflash0= and pflash1=. */
#include "machine/bios.h"
#include "machine/board_int.h"

#include "base/units.h"
#include "block/registry.h"
#include "dev/storage/cfi_flash.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>

#define ALL_MAX (16 * VIV_MIB) /* below are the interrupt controllers and what KVM keeps for itself */

static int one_chip(const char *drive, unsigned unit, uint64_t end, struct viv_board *board, struct viv_dev **out,
                    struct viv_err *err)
{
    g_autofree char *opts = g_strdup_printf("drive=%s,unit=%u,end=%" PRIu64, drive, unit, end);

    return viv_board_add(board, "cfi.pflash01", opts, out, err);
}

int viv_bios_add_flash(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    uint64_t end = 4 * VIV_GIB;

    if (cfg->bios)
        return viv_fail(err, EINVAL, "-bios and pflash exclude each other: the firmware is in the one or in the other");
    if (!cfg->pflash[0])
        return viv_fail(err, EINVAL, "pflash1 needs pflash0: it is the firmware's code that is in the first chip (unit=0), "
                                     "variables are in the second");
    for (unsigned i = 0; i < VIV_FLASH_CHIPS && cfg->pflash[i]; i++) {
        struct viv_dev *d;
        struct viv_ram *ram;
        int rc = one_chip(cfg->pflash[i], i, end, board, &d, err);

        if (rc < 0)
            return rc;
        ram = viv_cfi_flash_ram(d);
        end -= ram->size;
        if (4 * VIV_GIB - end > ALL_MAX)
            return viv_fail(err, EINVAL, "pflash: %" PRIu64 " KiB in all are too much, there is room for %u MiB",
                            (uint64_t)((4 * VIV_GIB - end) / VIV_KIB), (unsigned)(ALL_MAX / VIV_MIB));
        if (!i)
            viv_bios_map_low(board, ram);
    }
    return 0;
}
