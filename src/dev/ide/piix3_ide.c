/* PIIX3 function 1: two IDE channels at the ports and lines of the AT, and their bus master. (Intel 290550-002, 4.2; SFF-8038i.) */
#include "dev/ide/ide.h"

#include "bus/isa.h"
#include "bus/pci.h"

#include <glib.h>

enum { IDETIM = 0x40, IDETIM_DECODE = 0x80 /* in the high byte */ };

static const struct {
    uint16_t command, control;
    uint8_t irq;
} places[2] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};

struct piix3_ide {
    struct viv_pci_dev pci;
    struct ide_channel ch[2];
    struct viv_region *command[2], *control[2];
};

/* ---- ports ---- */

static uint64_t command_read(void *opaque, uint64_t off, unsigned size)
{
    return ide_read(opaque, (unsigned)off, size);
}

static void command_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    ide_write(opaque, (unsigned)off, (uint32_t)v, size);
}

static uint64_t control_read(void *opaque, uint64_t off, unsigned size)
{
    return ide_alternate_status(opaque);
}

static void control_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    ide_control_write(opaque, (uint8_t)v);
}

static uint64_t bm_read(void *opaque, uint64_t off, unsigned size)
{
    struct piix3_ide *p = opaque;

    return ide_bm_read(&p->ch[off >> 3 & 1], off & 7);
}

static void bm_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct piix3_ide *p = opaque;

    ide_bm_write(&p->ch[off >> 3 & 1], off & 7, (uint8_t)v);
}

static void set_irq(void *opaque, unsigned n, bool level)
{
    viv_isa_set_irq(opaque, places[n].irq, level);
}

/* ---- decoding ---- */

static void map(struct viv_region *r, bool on, uint16_t at)
{
    if (on == viv_region_mapped(r))
        return;
    if (on)
        viv_region_map(r, at, 0);
    else
        viv_region_unmap(r);
}

/* 4.2.3, 4.2.11: ports are decoded when the function's I/O space and the channel's IDE decode are on. */
static void update(struct piix3_ide *p)
{
    for (unsigned i = 0; i < 2; i++) {
        bool on = p->pci.config[4] & 1 && p->pci.config[IDETIM + 2 * i + 1] & IDETIM_DECODE;

        map(p->command[i], on, places[i].command);
        map(p->control[i], on, places[i].control);
        p->ch[i].master = viv_pci_bus_master(&p->pci);
    }
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct piix3_ide *p = (struct piix3_ide *)d;

    update(p);
    for (unsigned i = 0; i < 2; i++)
        ide_bm_kick(&p->ch[i]);
}

/* ---- class ---- */

static int ide_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x7010, 0, 0x010180, 0x1af4, 0x1100};
    static const struct viv_region_ops command = {command_read, command_write, 1, 4, true, false};
    static const struct viv_region_ops control = {control_read, control_write, 1, 1, false, false};
    static const struct viv_region_ops bm = {bm_read, bm_write, 1, 1, false, false};
    struct piix3_ide *p = (struct piix3_ide *)d;
    struct viv_region_desc desc = {.name = "piix-bmdma", .kind = VIV_REGION_IO, .size = 16, .ops = &bm, .opaque = p};
    int rc = viv_pci_dev_init(&p->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    viv_pci_add_bar(&p->pci, 4, viv_region_new(d->board->io, &desc), 16, true, false, false);
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *at = viv_pci_fw_path(&p->pci, "ide");

        ide_channel_init(&p->ch[i], d->board, i, set_irq, d);
        p->ch[i].fw_path = g_strdup_printf("%s/drive@%u", at, i);
        desc = (struct viv_region_desc){
            .name = "ide-command", .kind = VIV_REGION_IO, .size = 8, .ops = &command, .opaque = &p->ch[i]};
        p->command[i] = viv_region_new(d->board->io, &desc);
        desc = (struct viv_region_desc){
            .name = "ide-control", .kind = VIV_REGION_IO, .size = 1, .ops = &control, .opaque = &p->ch[i]};
        p->control[i] = viv_region_new(d->board->io, &desc);
    }
    for (unsigned n = IDETIM; n < IDETIM + 4; n++) /* timings, kept */
        p->pci.wmask[n] = 0xff;
    p->pci.wmask[0x44] = 0xff;
    p->pci.config_written = config_written;
    return 0;
}

static void ide_unrealize(struct viv_dev *d)
{
    struct piix3_ide *p = (struct piix3_ide *)d;

    for (unsigned i = 0; i < 2; i++) {
        viv_region_free(p->command[i]);
        viv_region_free(p->control[i]);
        ide_channel_fini(&p->ch[i]);
    }
    viv_pci_dev_fini(&p->pci);
}

static void ide_reset(struct viv_dev *d)
{
    struct piix3_ide *p = (struct piix3_ide *)d;

    viv_pci_dev_reset(&p->pci);
    for (unsigned i = 0; i < 2; i++) {
        ide_channel_reset(&p->ch[i]);
        p->pci.config[IDETIM + 2 * i + 1] = IDETIM_DECODE; /* 4.2.11 has it clear; OVMF counts on it */
    }
    update(p);
}

static int ide_load(void *obj, int version, struct viv_err *err)
{
    struct piix3_ide *p = obj;
    int rc = ide_post_load(&p->ch[0], err);

    if (!rc)
        rc = ide_post_load(&p->ch[1], err);
    update(p);
    return rc;
}

static const struct viv_state_table ide_state = {
    .name = "piix3-ide",
    .ctype = "piix3_ide",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(piix3_ide, pci, viv_pci_dev_state),
            VIV_F_STRUCTS(piix3_ide, ch, ide_channel_state),
            VIV_F_CONFIG(piix3_ide, command),
            VIV_F_CONFIG(piix3_ide, control),
            VIV_F_END,
        },
    .post_load = ide_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_piix3_ide = {
    .name = "piix3-ide",
    .desc = "IDE controller (82371SB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct piix3_ide),
    .props = props,
    .state = &ide_state,
    .realize = ide_realize,
    .reset = ide_reset,
    .unrealize = ide_unrealize,
};
