/* 82441FX host bridge (PMC): PCI bus 0 with configuration mechanism 1, the shadow RAM registers (PAM0-PAM6), the
 * SMRAM register (shadow.h). (Intel 290549-001.)
 *
 * Left out: the DRAM timing and row registers beyond keeping their bytes, error reporting. */
#include "dev/pci/i440fx.h"

#include "bus/pci.h"
#include "dev/pci/shadow.h"

#include <errno.h>
#include <string.h>

#define PAM   0x59
#define SMRAM 0x72

struct i440fx {
    struct viv_pci_dev pci;
    uint32_t config_addr; /* the bus's, for saved state */
    struct viv_shadow shadow;
};

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    viv_shadow_written(&((struct i440fx *)d)->shadow, off, len);
}

void viv_i440fx_open_shadow(struct viv_dev *d)
{
    viv_shadow_open(&((struct i440fx *)d)->shadow);
}

/* ---- class ---- */

static void free_bus(struct viv_board *board)
{
    viv_pci_bus_free(board->pci);
    board->pci = NULL;
}

static int i440fx_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x1237, 2, 0x060000, 0x1af4, 0x1100};
    struct i440fx *b = (struct i440fx *)d;
    int r;

    d->board->pci = viv_pci_bus_new(d->board, "pci.0");
    viv_pci_bus_add_ports(d->board->pci);
    r = viv_pci_dev_init(&b->pci, &ids, opts, err);
    if (!r) {
        r = viv_shadow_init(&b->shadow, &b->pci, PAM, SMRAM, err);
        if (r < 0)
            viv_pci_dev_fini(&b->pci);
    }
    if (r < 0) {
        free_bus(d->board);
        return r;
    }
    memset(b->pci.wmask + 0x50, 0xff, 0x71 - 0x50); /* DRAM controller, PAM, DRB: kept */
    b->pci.config_written = config_written;
    return 0;
}

static void i440fx_unrealize(struct viv_dev *d)
{
    struct i440fx *b = (struct i440fx *)d;

    viv_shadow_fini(&b->shadow);
    viv_pci_dev_fini(&b->pci);
    free_bus(d->board);
}

static void i440fx_reset(struct viv_dev *d)
{
    struct i440fx *b = (struct i440fx *)d;

    viv_pci_dev_reset(&b->pci);
    viv_shadow_reset(&b->shadow);
    viv_pci_bus_set_config_addr(d->board->pci, 0);
}

static void i440fx_pre_save(void *obj)
{
    struct i440fx *b = obj;

    b->config_addr = viv_pci_bus_config_addr(b->pci.bus);
}

static int i440fx_post_load(void *obj, int version, struct viv_err *err)
{
    struct i440fx *b = obj;

    viv_pci_bus_set_config_addr(b->pci.bus, b->config_addr);
    viv_shadow_load(&b->shadow);
    return 0;
}

static const struct viv_state_table i440fx_state = {
    .name = "i440fx",
    .ctype = "i440fx",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(i440fx, pci, viv_pci_dev_state),
            VIV_F_INT(i440fx, config_addr),
            VIV_F_DERIVED(i440fx, shadow, "PAM and SMRAM registers in configuration space"),
            VIV_F_END,
        },
    .pre_save = i440fx_pre_save,
    .post_load = i440fx_post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_i440fx = {
    .name = "i440FX",
    .desc = "host bridge (82441FX)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct i440fx),
    .props = props,
    .state = &i440fx_state,
    .realize = i440fx_realize,
    .reset = i440fx_reset,
    .unrealize = i440fx_unrealize,
};
