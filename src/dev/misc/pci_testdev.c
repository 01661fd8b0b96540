/* pci-testdev (1b36:0005): two BARs, memory and ports, on which a guest counts its own writes.
 *
 * Each BAR begins with a header: writing a test number to byte 0 starts the test, the rest tells where, how wide
 * and what to write; `count` counts writes that match. A width that is not 1, 2 or 4 ends the list of tests.
 * Test 0 is offered: a plain write that goes through the handler. Left out: tests that need an eventfd bound to
 * the address (with and without data match), and membar. */
#include "base/bytes.h"
#include "base/units.h"
#include "bus/pci.h"

#include <errno.h>
#include <string.h>

#define BAR_SIZE   4096
#define PORTS      256
#define TARGET     0x80 /* offset that a test writes to */
#define MAGIC_DATA 0xfa

struct test_bar {
    uint8_t test; /* running */
    uint32_t count;
    bool io;
};

struct pci_testdev {
    struct viv_pci_dev pci;
    struct test_bar bar[2];
};

/* struct: u8 test, u8 width, u8 pad[2], u32 offset, u32 data, u32 count, char name[] */
static void header(const struct test_bar *b, uint8_t *h)
{
    memset(h, 0, 32);
    h[0] = b->test;
    h[1] = b->test == 0 ? 1 : 0;
    viv_st_le32(h + 4, b->test == 0 ? TARGET : 0);
    viv_st_le32(h + 8, MAGIC_DATA);
    viv_st_le32(h + 12, b->count);
    strcpy((char *)h + 16, b->io ? "portio-plain" : "mmio-plain");
}

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    uint8_t h[32];

    header(opaque, h);
    return off < sizeof(h) ? h[off] : 0;
}

static void bar_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct test_bar *b = opaque;

    if (off == 0) {
        b->test = (uint8_t)v;
        b->count = 0;
    } else if (b->test == 0 && off == TARGET && v == MAGIC_DATA) {
        b->count++;
    }
}

static int testdev_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x1b36, 0x0005, 0, 0x00ff00, 0x1af4, 0x1100};
    static const struct viv_region_ops ops = {bar_read, bar_write, 1, 1, false, false};
    struct pci_testdev *t = (struct pci_testdev *)d;
    struct viv_region_desc desc = {.name = "pci-testdev", .kind = VIV_REGION_IO, .ops = &ops};
    int r = viv_pci_dev_init(&t->pci, &ids, opts, err);

    if (r < 0)
        return r;
    t->bar[1].io = true;
    desc.size = BAR_SIZE;
    desc.opaque = &t->bar[0];
    viv_pci_add_bar(&t->pci, 0, viv_region_new(d->board->mem, &desc), BAR_SIZE, false, false,
                    false);
    desc.size = PORTS;
    desc.opaque = &t->bar[1];
    viv_pci_add_bar(&t->pci, 1, viv_region_new(d->board->io, &desc), PORTS, true, false, false);
    return 0;
}

static void testdev_unrealize(struct viv_dev *d)
{
    viv_pci_dev_fini((struct viv_pci_dev *)d);
}

static void testdev_reset(struct viv_dev *d)
{
    struct pci_testdev *t = (struct pci_testdev *)d;

    viv_pci_dev_reset(&t->pci);
    for (unsigned i = 0; i < 2; i++)
        t->bar[i].test = 0, t->bar[i].count = 0;
}

static const struct viv_state_table bar_state = {
    .name = "pci-testdev-bar",
    .ctype = "test_bar",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_INT(test_bar, test), VIV_F_INT(test_bar, count),
                                         VIV_F_CONFIG(test_bar, io), VIV_F_END},
};

static const struct viv_state_table state = {
    .name = "pci-testdev",
    .ctype = "pci_testdev",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_STRUCT(pci_testdev, pci, viv_pci_dev_state),
                                         VIV_F_STRUCTS(pci_testdev, bar, bar_state), VIV_F_END},
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "membar", .type = VIV_OPT_REFUSED, .help = "the third BAR is not supported"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_pci_testdev = {
    .name = "pci-testdev",
    .desc = "PCI function for kvm-unit-tests",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct pci_testdev),
    .props = props,
    .state = &state,
    .realize = testdev_realize,
    .reset = testdev_reset,
    .unrealize = testdev_unrealize,
    .hotplug = &viv_pci_hotplug,
};
