/* pc-testdev: what kvm-unit-tests want of a PC beyond its chips.
 *
 *   E0h        a register of 1, 2 or 4 bytes that reads back
 *   E4h        page flush: the dword's page may have been changed behind the CPU's back
 *   2000h + n  writes drive interrupt line n (0-23)
 *   FF000000h  64 KiB that read back, reached through the handler and not as RAM */
#include "bus/isa.h"

#include <errno.h>
#include <string.h>

#define MEM_BASE 0xff000000u
#define MEM_SIZE 0x10000
#define LINES    24

struct pc_testdev {
    struct viv_dev dev;
    uint8_t data[4];
    uint8_t mem[MEM_SIZE];
    struct viv_region *region[4];
};

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, ((struct pc_testdev *)opaque)->data + off, size);
    return v;
}

static void data_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    memcpy(((struct pc_testdev *)opaque)->data + off, &v, size);
}

static void flush_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct pc_testdev *t = opaque;
    struct viv_space_range r;
    uint64_t page = v & VIV_PAGE_MASK;

    if (viv_space_find(t->dev.board->mem, page, &r) && r.kind == VIV_REGION_RAM)
        viv_ram_written(r.hva + (page - r.start), 1);
}

static void line_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct viv_board *b = ((struct pc_testdev *)opaque)->dev.board;

    viv_irq_set(off < 16 ? &b->isa_irq[off] : &b->gsi_irq[off], v & 1);
}

static uint64_t mem_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, ((struct pc_testdev *)opaque)->mem + off, size);
    return v;
}

static void mem_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    memcpy(((struct pc_testdev *)opaque)->mem + off, &v, size);
}

static int testdev_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops data = {data_read, data_write, 1, 4, false, false};
    static const struct viv_region_ops flush = {NULL, flush_write, 1, 4, false, false};
    static const struct viv_region_ops lines = {NULL, line_write, 1, 1, false, false};
    static const struct viv_region_ops mem = {mem_read, mem_write, 1, 8, true, false};
    struct pc_testdev *t = (struct pc_testdev *)d;
    struct viv_region_desc desc = {
        .name = "pc-testdev", .kind = VIV_REGION_IO, .size = MEM_SIZE, .ops = &mem, .opaque = t};

    t->region[0] = viv_isa_add_ports(d, "pc-testdev-data", 0xe0, 4, &data);
    t->region[1] = viv_isa_add_ports(d, "pc-testdev-flush", 0xe4, 4, &flush);
    t->region[2] = viv_isa_add_ports(d, "pc-testdev-irq", 0x2000, LINES, &lines);
    t->region[3] = viv_region_new(d->board->mem, &desc);
    viv_region_map(t->region[3], MEM_BASE, 1);
    return 0;
}

static void testdev_unrealize(struct viv_dev *d)
{
    for (unsigned i = 0; i < 4; i++)
        viv_region_free(((struct pc_testdev *)d)->region[i]);
}

static void testdev_reset(struct viv_dev *d)
{
    struct pc_testdev *t = (struct pc_testdev *)d;

    memset(t->data, 0, sizeof(t->data));
    memset(t->mem, 0, sizeof(t->mem));
}

static const struct viv_state_table state = {
    .name = "pc-testdev",
    .ctype = "pc_testdev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){VIV_F_CONFIG(pc_testdev, dev), VIV_F_BYTES(pc_testdev, data),
                                   VIV_F_BYTES(pc_testdev, mem), VIV_F_CONFIG(pc_testdev, region),
                                   VIV_F_END},
};

const struct viv_dev_class viv_dev_pc_testdev = {
    .name = "pc-testdev",
    .desc = "ports and memory for kvm-unit-tests",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct pc_testdev),
    .state = &state,
    .realize = testdev_realize,
    .reset = testdev_reset,
    .unrealize = testdev_unrealize,
};
