/* The board: made anew for each input, so that one input says all. */
#include "fuzz/device_rig.h"

#include "block/registry.h"
#include "bus/pci.h"
#include "bus/virtio_mmio.h"
#include "bus/vmreq.h"
#include "dev/acpi/ged.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/devices.h"
#include "dev/intc/i8259.h"
#include "dev/intc/ioapic.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/ich9_lpc.h"
#include "dev/pci/mch.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "mem/ram.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct viv_board fuzz_board;
struct viv_ram *fuzz_ram;
const struct fuzz_family *fuzz_family;
struct viv_dev *fuzz_kbc, *fuzz_pm, *fuzz_ged;
bool fuzz_io_error;

static struct viv_intc intc;
static struct viv_dev *pic, *ioapic;
static uint64_t bar_at[256][VIV_PCI_BARS];
static uint32_t bar_size[256][VIV_PCI_BARS];
static uint8_t functions[256];
static unsigned function_count, made;

void fuzz_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

void viv_vm_request(enum viv_vm_request what, int code, const char *who)
{
    fuzz_io_error |= what == VIV_VM_IO_ERROR;
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
}

static void set_extint(struct viv_intc *c, int level)
{
}

static void set_line(void *opaque, int n, int level)
{
    if (pic && n < 16)
        viv_i8259_set_irq(pic, (unsigned)n, level);
    if (ioapic)
        viv_ioapic_set_irq(ioapic, n ? (unsigned)n : 2, level);
}

void fuzz_take_interrupt(unsigned v)
{
    if (v & 2 && intc.ack_extint)
        intc.ack_extint(intc.ack_opaque);
    else if (v & 4 && intc.eoi)
        intc.eoi(intc.eoi_opaque, (uint8_t)(v >> 8));
}

static void file_written(void *unused)
{
}

static void add_files(struct viv_dev *fw_cfg)
{
    static uint8_t writable[64];
    struct viv_err err = VIV_ERR_INIT;

    viv_fw_cfg_add_u32(fw_cfg, VIV_FW_CFG_RAM_SIZE, RAM_SIZE);
    if (viv_fw_cfg_add_file(fw_cfg, "etc/e820", "abcdefgh", 8, NULL, &err) < 0 ||
        viv_fw_cfg_add_writable(fw_cfg, "etc/vmgenid", writable, sizeof(writable), file_written, NULL, &err) < 0)
        fuzz_fail("%s", err.text);
}

/* Its GED, and the slots of a microvm. */
static void connect_ged(struct viv_dev *d)
{
    viv_ged_connect(fuzz_ged = d, FUZZ_GED, &fuzz_board.isa_irq[9]);
    fuzz_board.vmmio = viv_virtio_mmio_bus_new(&fuzz_board, FUZZ_VIRTIO_MMIO, 2, &fuzz_board.gsi_irq[16]);
}

static void add(const char *text)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    g_autofree char *name = g_strndup(text, strcspn(text, ","));
    const char *opts = strchr(text, ','), *drive = strstr(text, "drive=");
    const struct viv_dev_class *c = viv_dev_class_find(name);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;
    struct viv_dev *d = NULL;

    if (drive) {
        g_autofree char *id = g_strndup(drive + 6, strcspn(drive + 6, ","));

        fuzz_add_drive(id);
    }
    if (strstr(text, "fsdev="))
        fuzz_share_add("f");
    if (!c || viv_opts_parse(name, c->props ? c->props : none, NULL, opts ? opts + 1 : "", &o, &err) < 0 ||
        viv_dev_new(&fuzz_board, name, NULL, NULL, o, &d, &err) < 0)
        fuzz_fail("%s: %s", text, err.text);
    viv_opts_free(o);
    if (!strcmp(name, "i8259"))
        pic = d;
    else if (!strcmp(name, "ioapic"))
        ioapic = d;
    else if (!strcmp(name, "i8042"))
        fuzz_kbc = d;
    else if (!strcmp(name, "PIIX4_PM"))
        viv_piix4_pm_setup(fuzz_pm = d, VIV_PIIX4_PM_BASE);
    else if (!strcmp(name, "acpi-ged"))
        connect_ged(d);
    else if (!strcmp(name, "fw_cfg"))
        add_files(d);
    else if (!strcmp(name, "mch"))
        viv_mch_setup(d);
    else if (!strcmp(name, "ICH9-LPC"))
        viv_ich9_setup(d, (const uint8_t[]){10, 10, 11, 11, 10, 10, 11, 11});
}

/* Each at the same place each time. */
static void place_bars(void)
{
    uint32_t mem = 0xe0000000, io = 0xc000;

    function_count = 0;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        struct viv_pci_dev *p = viv_pci_at(fuzz_board.pci, devfn);

        for (unsigned n = 0; p && n < VIV_PCI_BARS; n++) {
            uint32_t *next = p->bar[n].io ? &io : &mem, size = (uint32_t)p->bar[n].size;

            bar_size[devfn][n] = 0;
            if (!p->bar[n].region)
                continue;
            *next = (*next + size - 1) & ~(size - 1);
            viv_pci_config_write(fuzz_board.pci, devfn, 0x10 + 4 * n, *next, 4);
            bar_at[devfn][n] = *next;
            bar_size[devfn][n] = size;
            *next += size;
        }
        if (!p)
            continue;
        functions[function_count++] = (uint8_t)devfn;
        viv_pci_config_write(fuzz_board.pci, devfn, 4, 7, 2);
        if (!strcmp(p->dev.cls->name, "piix3-ide"))
            viv_pci_config_write(fuzz_board.pci, devfn, 0x40, 0x80008000, 4);
    }
}

static unsigned count_devices(void)
{
    unsigned n = 0;

    for (struct viv_dev *d = viv_dev_first(); d; d = d->next)
        n += d->life == VIV_DEV_THERE;
    return n;
}

static void make_devices(void)
{
    static const struct viv_intc_ops ops = {.send_msi = send_msi, .set_extint = set_extint};
    struct viv_region_desc low = {.name = "low", .kind = VIV_REGION_RAM, .size = RAM_SIZE, .ram = fuzz_ram};

    memset(&fuzz_board, 0, sizeof(fuzz_board));
    pic = ioapic = fuzz_kbc = fuzz_pm = fuzz_ged = NULL;
    intc = (struct viv_intc){.ops = &ops};
    fuzz_board.mem = viv_space_new("mem", 64);
    fuzz_board.io = viv_space_new("io", 16);
    fuzz_board.intc = &intc;
    for (int i = 0; i < 24; i++)
        *(i < 16 ? &fuzz_board.isa_irq[i] : &fuzz_board.gsi_irq[i]) = (struct viv_irq){set_line, NULL, i};
    viv_region_map(viv_region_new(fuzz_board.mem, &low), 0, 0);
    for (const char *const *d = fuzz_family->devices; *d; d++)
        add(*d);
    if (fuzz_board.pci)
        place_bars();
    made = count_devices();
}

static void free_devices(bool for_good)
{
    struct viv_err err = VIV_ERR_INIT;

    fuzz_screen_reset();
    viv_dev_free_all();
    viv_dev_unlock();
    if (viv_drive_free_all(&err) < 0)
        fuzz_fail("drives: %s", err.text);
    viv_dev_lock();
    if (for_good)
        fuzz_share_empty();
    if (fuzz_board.vmmio)
        viv_virtio_mmio_bus_free(fuzz_board.vmmio);
    viv_space_free(fuzz_board.mem);
    viv_space_free(fuzz_board.io);
}

void fuzz_board_make(const struct fuzz_family *f)
{
    struct viv_err err = VIV_ERR_INIT;

    fuzz_family = f;
    if (!fuzz_ram && viv_ram_new("pc.ram", RAM_SIZE, &fuzz_ram, &err) < 0)
        fuzz_fail("%s", err.text);
    memset(fuzz_ram->hva, 0, RAM_SIZE);
    viv_guest_clock_stop();
    viv_guest_clock_set_ns(1000000);
    viv_dev_set_classes(viv_devices);
    fuzz_disks_restore();
    fuzz_wire_reset(f->queues, f->vhost);
    fuzz_chr_reset();
    fuzz_io_error = false;
    make_devices();
    viv_dev_set_running_all(true);
}

void fuzz_board_free(void)
{
    fuzz_board_stop();
    free_devices(true);
}

static bool at_once(void *unused)
{
    return true;
}

void fuzz_run_loop(void)
{
    static bool begun;

    if (!begun)
        viv_loop_wait_for(at_once, NULL, 0); /* the loop serves calls and timers from the first time on */
    begun = true;
    viv_dev_unlock();
    for (unsigned i = 0; viv_loop_serve(false); i++)
        g_assert_cmpuint(i, <, 100000);
    viv_dev_lock();
}

void fuzz_board_stop(void)
{
    viv_dev_set_running_all(false);
    fuzz_run_loop();
    for (unsigned i = 0; !viv_dev_idle_all(); i++) {
        fuzz_complete(UINT32_MAX, 0);
        fuzz_run_loop();
        if (i > 10000)
            fuzz_fail("a device stays busy");
    }
}

/* --- state --- */

static uint8_t *save(size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

static bool load(const uint8_t *data, size_t len, struct viv_err *err)
{
    struct viv_state_reader *r = viv_state_reader_new(data, len);
    int rc = viv_dev_load_all(r, err);

    viv_state_reader_free(r);
    return !rc;
}

static void change(uint8_t *data, size_t len, unsigned changes, uint32_t seed)
{
    static const uint8_t often[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 2, 0x40};

    for (unsigned i = 0; i < changes; i++) {
        seed = seed * 1103515245 + 12345;
        size_t at = (seed >> 8) % len;
        seed = seed * 1103515245 + 12345;
        if (seed & 1 << 20)
            data[at] = often[seed >> 16 & 7];
        else
            data[at] ^= (uint8_t)(1 << (seed >> 16 & 7));
    }
}

void fuzz_board_reload(unsigned changes, uint32_t seed)
{
    struct viv_err err = VIV_ERR_INIT;
    size_t len, len2;
    g_autofree uint8_t *data = NULL, *again = NULL;

    fuzz_board_stop();
    if (count_devices() == made && !viv_dev_can_save_all(&err)) { /* none was ejected */
        data = save(&len);
        free_devices(false);
        make_devices();
        if (changes) {
            g_autofree uint8_t *changed = g_memdup2(data, len);

            change(changed, len, changes, seed);
            if (!load(changed, len, &err)) {
                g_assert(err.code && *err.text); /* every refusal says why */
                free_devices(false);
                make_devices();
                viv_err_clear(&err);
                changes = 0;
            }
        }
        if (!changes) {
            if (!load(data, len, &err))
                fuzz_fail("what was saved is refused: %s", err.text);
            again = save(&len2);
            if (len != len2 || memcmp(data, again, len)) {
                size_t at = 0;

                while (at < len && at < len2 && data[at] == again[at])
                    at++;
                fuzz_fail("another state after loading: byte %zu of %zu, %zu", at, len, len2);
            }
        }
    }
    viv_dev_set_running_all(true);
    fuzz_run_loop();
}

/* --- places --- */

bool fuzz_window_at(unsigned n, struct viv_space **space, uint64_t *base, uint32_t *size)
{
    unsigned count = 0, devfn, bar;
    const struct fuzz_window *w;

    while (count < WINDOWS && fuzz_family->windows[count].kind)
        count++;
    w = &fuzz_family->windows[n % count];
    *base = w->base;
    *size = w->size;
    *space = w->kind == WINDOW_PORT ? fuzz_board.io : fuzz_board.mem;
    if (w->kind == WINDOW_BAR) {
        devfn = w->base >> 4;
        bar = w->base & 15;
        *base = bar_at[devfn][bar];
        *size = bar_size[devfn][bar];
        if (*base < 0x10000)
            *space = fuzz_board.io;
    }
    return *size;
}

unsigned fuzz_function(unsigned n)
{
    return function_count ? functions[n % function_count] : 0;
}
