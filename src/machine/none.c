/* The empty machine: no CPU, no buses, RAM if somebody asks for it. For programs that want to know what this one can do, or only its
 * block layer. */
#include "machine/board_int.h"

#include <errno.h>

static int refuse(const struct viv_machine_config *cfg, struct viv_err *err)
{
    const char *what = cfg->kernel ? "-kernel" : cfg->bios ? "-bios" : cfg->pflash[0] || cfg->pflash[1] ? "if=pflash" : cfg->initrd ? "-initrd"
                       : cfg->fw_cfg && *cfg->fw_cfg ? "-fw_cfg" : cfg->smbios ? "-smbios" : NULL;

    return what ? viv_fail(err, ENOTSUP, "%s: machine 'none' has nothing that would look at it; pc and q35 have", what) : 0;
}

static int none_build(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    int rc = refuse(cfg, err);

    if (!rc)
        rc = viv_board_check(cfg, board, err);
    return rc || !cfg->ram_bytes ? rc : viv_board_add_flat_ram(cfg, board, err);
}

static int none_powerdown(struct viv_board *board)
{
    return -ENOTSUP;
}

static const struct viv_opt_def none_props[] = {VIV_BOARD_PROPS, VIV_OPT_END};

const struct viv_machine_class viv_machine_none = {
    .name = "none",
    .desc = "empty machine: no CPU, no devices",
    .props = none_props,
    .build = none_build,
    .powerdown = none_powerdown,
};
