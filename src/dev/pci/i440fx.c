/* 82441FX host bridge (PMC): PCI bus 0 with configuration mechanism 1, the shadow RAM registers (PAM0-PAM6), the
 * SMRAM register. (Intel 290549-001.)
 *
 * The board maps RAM at 0-9FFFFh and from 100000h up and ROM where it decodes; A0000h-FFFFFh belongs
 * to the bridge, which lays pieces of "pc.ram" over it (priority 2) as the registers say. A segment that is
 * written to RAM but read from PCI shows the ROM that lies under it.
 *
 * Left out: SMRAM that only a CPU in system management mode sees (opened by D_OPEN it is seen by all), the
 * DRAM timing and row registers beyond keeping their bytes, error reporting. */
#include "dev/pci/i440fx.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/pci.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SEGMENTS     13
#define PAM          0x59
#define SMRAM        0x72
#define PAM_READ     1
#define PAM_WRITE    2
#define SMRAM_OPEN   0x40
#define SMRAM_CLOSED 0x20
#define SMRAM_LOCK   0x10
#define SMRAM_ENABLE 0x08

struct segment {
    struct i440fx *bridge;
    uint32_t start, size;
    uint8_t mode;              /* what is mapped */
    struct viv_region *ram;    /* read and write */
    struct viv_region *rom;    /* read only */
    struct viv_region *shadow; /* writes only: reads come from `under` */
    const uint8_t *under;      /* ROM below, NULL: nothing */
};

struct i440fx {
    struct viv_pci_dev pci;
    uint32_t config_addr; /* the bus's, for saved state */
    struct viv_ram *ram;
    struct segment segment[SEGMENTS];
    struct viv_region *smram;
};

/* ---- a segment in write-only mode ---- */

static uint64_t shadow_read(void *opaque, uint64_t off, unsigned size)
{
    struct segment *s = opaque;
    uint64_t v = UINT64_MAX;

    if (s->under)
        memcpy(&v, s->under + off, size);
    return v;
}

static void shadow_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct segment *s = opaque;
    uint8_t *p = s->bridge->ram->hva + s->start + off;

    memcpy(p, &v, size);
    viv_ram_written(p, size);
}

/* ---- mapping ---- */

/* PAM0 has F0000h in its high half; PAM1-PAM6 two segments of 16 KiB each, from C0000h up (4.1.17). */
static uint8_t segment_mode(const struct i440fx *b, unsigned i)
{
    const uint8_t *pam = b->pci.config + PAM;

    if (i == SEGMENTS - 1)
        return pam[0] >> 4 & 3;
    return pam[1 + i / 2] >> (i & 1 ? 4 : 0) & 3;
}

static const uint8_t *rom_at(struct i440fx *b, uint32_t addr)
{
    struct viv_range r;

    if (!viv_space_find(b->pci.dev.board->mem, addr, &r) || r.kind != VIV_REGION_ROM)
        return NULL;
    return r.hva + (addr - r.start);
}

static void map_segment(struct i440fx *b, struct segment *s, uint8_t mode)
{
    viv_region_unmap(s->ram);
    viv_region_unmap(s->rom);
    viv_region_unmap(s->shadow);
    s->mode = mode;
    switch (mode) {
    case PAM_READ | PAM_WRITE:
        viv_region_map(s->ram, s->start, 2);
        break;
    case PAM_READ:
        viv_region_map(s->rom, s->start, 2);
        break;
    case PAM_WRITE:
        viv_region_map(s->shadow, s->start, 2);
        break;
    }
}

static void update(struct i440fx *b)
{
    struct viv_space *mem = b->pci.dev.board->mem;
    uint8_t smram = b->pci.config[SMRAM];

    /* What lies under a shadow is looked up before the map is held still for the changes. */
    for (unsigned i = 0; i < SEGMENTS; i++) {
        struct segment *s = &b->segment[i];

        if (segment_mode(b, i) != PAM_WRITE || s->mode == PAM_WRITE)
            continue;
        map_segment(b, s, 0);
        s->under = rom_at(b, s->start);
    }
    viv_space_begin(mem);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        if (segment_mode(b, i) != b->segment[i].mode)
            map_segment(b, &b->segment[i], segment_mode(b, i));
    }
    if ((smram & SMRAM_ENABLE) && (smram & SMRAM_OPEN))
        viv_region_map(b->smram, 0xa0000, 2);
    else
        viv_region_unmap(b->smram);
    viv_space_commit(mem);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct i440fx *b = (struct i440fx *)d;

    if (off <= SMRAM && off + len > SMRAM) {
        uint8_t *smram = &d->config[SMRAM];

        *smram = (*smram & 0x78) | 2; /* C_BASE_SEG reads 010 */
        if (*smram & SMRAM_LOCK) {
            *smram &= ~SMRAM_OPEN;
            d->wmask[SMRAM] = SMRAM_CLOSED; /* until reset */
        }
    }
    if (off < SMRAM + 1 && off + len > PAM)
        update(b);
}

void viv_i440fx_open_shadow(struct viv_dev *d)
{
    struct i440fx *b = (struct i440fx *)d;

    b->pci.config[PAM] = 0x30;
    memset(b->pci.config + PAM + 1, 0x33, 6);
    update(b);
}

/* ---- class ---- */

static struct viv_ram *find_ram(void)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        if (!strcmp(r->name, "pc.ram"))
            return r;
    }
    return NULL;
}

static void free_bus(struct viv_board *board)
{
    viv_pci_bus_free(board->pci);
    board->pci = NULL;
}

static void make_segment(struct i440fx *b, unsigned i)
{
    static const struct viv_region_ops ops = {shadow_read, shadow_write, 1, 8, false, false};
    struct segment *s = &b->segment[i];
    struct viv_space *mem = b->pci.dev.board->mem;
    struct viv_region_desc desc = {.name = "pam-ram", .kind = VIV_REGION_RAM, .ram = b->ram};

    s->bridge = b;
    s->start = i == SEGMENTS - 1 ? 0xf0000 : 0xc0000 + i * 0x4000;
    s->size = i == SEGMENTS - 1 ? 0x10000 : 0x4000;
    desc.size = s->size;
    desc.ram_offset = s->start;
    s->ram = viv_region_new(mem, &desc);
    desc.name = "pam-rom";
    desc.kind = VIV_REGION_ROM;
    s->rom = viv_region_new(mem, &desc);
    s->shadow = viv_region_new(mem, &(struct viv_region_desc){.name = "pam-shadow",
                                                              .kind = VIV_REGION_IO,
                                                              .size = s->size,
                                                              .ops = &ops,
                                                              .opaque = s});
}

static int i440fx_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x1237, 2, 0x060000, 0x1af4, 0x1100};
    struct i440fx *b = (struct i440fx *)d;
    struct viv_region_desc smram = {
        .name = "smram", .kind = VIV_REGION_RAM, .size = 0x20000, .ram_offset = 0xa0000};
    int r;

    b->ram = find_ram();
    if (!b->ram || b->ram->size < VIV_MIB)
        return viv_fail(err, EINVAL, "i440FX: there is no memory block 'pc.ram' of at least 1 MiB");
    d->board->pci = viv_pci_bus_new(d->board, "pci.0");
    viv_pci_bus_add_ports(d->board->pci);
    r = viv_pci_dev_init(&b->pci, &ids, opts, err);
    if (r < 0) {
        free_bus(d->board);
        return r;
    }
    for (unsigned i = 0; i < SEGMENTS; i++)
        make_segment(b, i);
    smram.ram = b->ram;
    b->smram = viv_region_new(d->board->mem, &smram);
    memset(b->pci.wmask + 0x50, 0xff, 0x71 - 0x50); /* DRAM controller, PAM, DRB: kept */
    b->pci.config_written = config_written;
    return 0;
}

static void i440fx_unrealize(struct viv_dev *d)
{
    struct i440fx *b = (struct i440fx *)d;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        viv_region_free(b->segment[i].ram);
        viv_region_free(b->segment[i].rom);
        viv_region_free(b->segment[i].shadow);
    }
    viv_region_free(b->smram);
    viv_pci_dev_fini(&b->pci);
    free_bus(d->board);
}

static void i440fx_reset(struct viv_dev *d)
{
    struct i440fx *b = (struct i440fx *)d;

    b->pci.wmask[SMRAM] = 0x78;
    viv_pci_dev_reset(&b->pci);
    b->pci.config[SMRAM] = 2;
    viv_pci_bus_set_config_addr(d->board->pci, 0);
    update(b);
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
    if (b->pci.config[SMRAM] & SMRAM_LOCK) {
        b->pci.config[SMRAM] &= ~SMRAM_OPEN;
        b->pci.wmask[SMRAM] = SMRAM_CLOSED;
    }
    update(b);
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
            VIV_F_CONFIG(i440fx, ram),
            VIV_F_DERIVED(i440fx, segment, "PAM registers in configuration space"),
            VIV_F_CONFIG(i440fx, smram),
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
