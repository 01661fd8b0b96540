/* Parts that boards have in common. Before threads start, device lock held. */
#include "machine/board_int.h"

#include "base/log.h"
#include "base/units.h"
#include "chr/chr.h"
#include "dev/char/ports.h"
#include "dev/intc/i8259.h"
#include "dev/intc/ioapic.h"
#include "mem/backend.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

const char *const viv_on_off_split[] = {"on", "off", "split", NULL};
const char *const viv_on_off_auto[] = {"on", "off", "auto", NULL};

/* What is asked for is KVM's affair: where software runs the guest it has no effect, as in QEMU, so that a list of
 * accelerators can fall back. */
static int check_irqchip(const struct viv_machine_config *cfg, struct viv_board *board, const char *key,
                         struct viv_err *err)
{
    const char *v = viv_opts_given(cfg->machine_opts, key) ? viv_opts_str(cfg->machine_opts, key) : NULL;
    bool kernel = board->intc->ops->kernel_irqchip;

    if (!v || !strcmp(v, kernel ? "on" : "off"))
        return 0;
    if (!kernel) {
        viv_warn("-machine %s=%s has no effect: only -accel kvm has interrupt controllers in the kernel", key, v);
        return 0;
    }
    return viv_fail(err, ENOTSUP, "-machine %s=%s: with -accel kvm only \"on\" exists so far", key, v);
}

static int refuse_on(const struct viv_machine_config *cfg, const char *key, const char *why, struct viv_err *err)
{
    const char *v = viv_opts_str(cfg->machine_opts, key);

    if (v && !strcmp(v, "on"))
        return viv_fail(err, ENOTSUP, "-machine %s=on: %s", key, why);
    return 0;
}

int viv_board_check(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    int ret;

    if (!cfg->machine_opts)
        return 0;
    if (viv_opts_bool(cfg->machine_opts, "mem-merge"))
        return viv_fail(err, ENOTSUP, "-machine mem-merge=on: guest memory is not merged; leave it out");
    ret = refuse_on(cfg, "vmport", "VMware's port is not there; leave it out", err);
    if (!ret)
        ret = check_irqchip(cfg, board, "kernel_irqchip", err);
    if (!ret)
        ret = check_irqchip(cfg, board, "kernel-irqchip", err);
    return ret;
}

static void map_ram(struct viv_board *board, const char *name, struct viv_ram *ram, uint64_t offset,
                    uint64_t addr, uint64_t size)
{
    struct viv_region_desc d = {
        .name = name, .kind = VIV_REGION_RAM, .size = size, .ram = ram, .ram_offset = offset};

    if (size)
        viv_region_map(viv_region_new(board->mem, &d), addr, 0);
}

/* The memory of -m, of which nothing is mapped yet. */
static int make_ram(const struct viv_machine_config *cfg, struct viv_ram **out, struct viv_err *err)
{
    uint64_t size = cfg->ram_bytes;
    bool dump;
    int ret;

    if (size & (VIV_PAGE_SIZE - 1))
        return viv_fail(err, EINVAL, "-m: not a multiple of 4 KiB");
    ret = cfg->memory ? viv_mem_backend_map(cfg->memory, "pc.ram", out, err) : viv_ram_new("pc.ram", size, out, err);
    if (ret)
        return ret;
    dump = cfg->machine_opts && viv_opts_bool(cfg->machine_opts, "dump-guest-core");
    if (cfg->memory)
        dump = viv_mem_backend_dump(cfg->memory, dump);
    if (dump && madvise((*out)->hva, size, MADV_DODUMP) < 0)
        return viv_fail_os(err, errno, "dump-guest-core=on");
    return 0;
}

int viv_board_add_ram(const struct viv_machine_config *cfg, struct viv_board *board, bool bios_area,
                      const struct viv_ram_split *split, struct viv_board_ram *out, struct viv_err *err)
{
    uint64_t size = cfg->ram_bytes, low = size >= split->from ? split->low : size;
    int ret;

    if (size < 2 * VIV_MIB)
        return viv_fail(err, EINVAL, "-m: a PC needs at least 2 MiB");
    ret = make_ram(cfg, &out->ram, err);
    if (ret)
        return ret;
    viv_space_begin(board->mem);
    map_ram(board, "ram-low", out->ram, 0, 0, 0xa0000);
    if (bios_area)
        map_ram(board, "ram-bios", out->ram, 0xc0000, 0xc0000, 0x40000);
    map_ram(board, "ram-below-4g", out->ram, VIV_MIB, VIV_MIB, low - VIV_MIB);
    map_ram(board, "ram-above-4g", out->ram, low, 4 * VIV_GIB, size - low);
    viv_space_commit(board->mem);
    out->low_end = low;
    out->high_size = size - low;
    return 0;
}

int viv_board_add_flat_ram(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    struct viv_ram *ram;
    int ret = make_ram(cfg, &ram, err);

    if (!ret)
        map_ram(board, "ram", ram, 0, 0, cfg->ram_bytes);
    return ret;
}

int viv_board_add(struct viv_board *board, const char *cls, const char *text, struct viv_dev **out,
                  struct viv_err *err)
{
    const struct viv_dev_class *c = viv_dev_class_find(cls);
    struct viv_opts *opts = NULL;
    struct viv_dev *d;
    int ret;

    if (!c)
        return viv_fail(err, ENOENT, "this program was built without device %s, which the board needs", cls);
    if (text) {
        ret = viv_opts_parse(cls, c->props, NULL, text, &opts, err);
        if (ret)
            return ret;
    }
    ret = viv_dev_new(board, cls, NULL, NULL, opts, &d, err);
    viv_opts_free(opts);
    if (!ret && out)
        *out = d;
    return ret;
}

int viv_board_add_serials(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    for (unsigned i = 0; i < cfg->serial_count && i < 4; i++) {
        g_autofree char *opts = NULL;
        int ret;

        if (!cfg->serial[i])
            continue;
        opts = g_strdup_printf("index=%u,chardev=%s", i, viv_chr_id(cfg->serial[i]));
        ret = viv_board_add(board, "isa-serial", opts, NULL, err);
        if (ret)
            return ret;
    }
    return 0;
}

int viv_board_add_parallels(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    for (unsigned i = 0; i < VIV_PARALLEL_PORTS; i++) {
        g_autofree char *opts = NULL;
        int ret;

        if (!cfg->parallel[i])
            continue;
        opts = g_strdup_printf("index=%u,chardev=%s", i, viv_chr_id(cfg->parallel[i]));
        ret = viv_board_add(board, "isa-parallel", opts, NULL, err);
        if (ret)
            return ret;
    }
    return 0;
}

static unsigned ports(int (*number)(const struct viv_dev *d))
{
    unsigned bits = 0;

    for (const struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        int n = number(d);

        bits |= n >= 0 ? 1u << n : 0;
    }
    return bits;
}

unsigned viv_board_com_ports(void)
{
    return ports(viv_ns16550_com);
}

unsigned viv_board_lpt_ports(void)
{
    return ports(viv_parallel_lpt);
}

int viv_board_add_rtc(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_dev **out,
                      struct viv_err *err)
{
    const char *base = cfg->rtc ? viv_opts_str(cfg->rtc, "base") : NULL;
    const char *clock = cfg->rtc ? viv_opts_str(cfg->rtc, "clock") : NULL;
    bool slew = cfg->rtc && !strcmp(viv_opts_str(cfg->rtc, "driftfix"), "slew");
    g_autofree char *opts = g_strdup_printf("base=%s,clock=%s%s", base ? base : "utc", clock ? clock : "host",
                                            slew ? ",lost_tick_policy=slew" : "");

    return viv_board_add(board, "mc146818rtc", opts, out, err);
}

/* ---- interrupt lines ---- */

struct lines {
    struct viv_dev *pic, *ioapic;
};

static struct viv_irq watcher; /* of the I/O APIC's pins, in its place; n is not used */

void viv_board_watch_ioapic(viv_irq_fn fn, void *opaque)
{
    watcher = (struct viv_irq){fn, opaque, 0};
}

static void set_pin(struct lines *l, unsigned pin, int level)
{
    if (watcher.fn)
        watcher.fn(watcher.opaque, (int)pin, level);
    else
        viv_ioapic_set_irq(l->ioapic, pin, level);
}

static void to_kernel(void *opaque, int n, int level)
{
    struct viv_intc *c = opaque;

    c->ops->set_gsi(c, (unsigned)n, level);
}

/* An ISA line reaches both controllers; that of the PIT is pin 2 of the I/O APIC. */
static void to_both(void *opaque, int n, int level)
{
    struct lines *l = opaque;

    if (l->pic)
        viv_i8259_set_irq(l->pic, (unsigned)n, level);
    set_pin(l, n == 0 ? 2 : (unsigned)n, level);
}

static void to_ioapic(void *opaque, int n, int level)
{
    set_pin(opaque, (unsigned)n, level);
}

int viv_board_add_irqs(struct viv_board *board, bool pic, struct viv_err *err)
{
    bool kernel = board->intc->ops->kernel_irqchip;
    struct lines *l = NULL;
    int ret = 0;

    if (!kernel) {
        l = g_new0(struct lines, 1); /* lives as long as the board */
        if (pic)
            ret = viv_board_add(board, "i8259", NULL, &l->pic, err);
        if (!ret)
            ret = viv_board_add(board, "ioapic", NULL, &l->ioapic, err);
        if (ret)
            return ret;
    }
    for (int n = 0; n < 16; n++)
        board->isa_irq[n] = kernel ? (struct viv_irq){to_kernel, board->intc, n} : (struct viv_irq){to_both, l, n};
    for (int n = 16; n < 24; n++)
        board->gsi_irq[n] = kernel ? (struct viv_irq){to_kernel, board->intc, n} : (struct viv_irq){to_ioapic, l, n};
    return 0;
}
