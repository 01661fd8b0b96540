#include "harness.h"

#include "base/units.h"
#include "block/registry.h"
#include "bus/pci.h"
#include "bus/scsi.h"
#include "bus/usb.h"
#include "bus/virtio_mmio.h"
#include "bus/vmreq.h"
#include "chr/chr.h"
#include "dev/acpi/ged.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/devices.h"
#include "dev/input/i8042.h"
#include "dev/intc/i8259.h"
#include "dev/intc/ioapic.h"
#include "dev/pci/ich9_lpc.h"
#include "dev/pci/mch.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "machine/firmware.h"
#include "share/fsdev.h"
#include "ui/console.h"
#include "ui/input.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define RAM_BYTES (4 * VIV_MIB)

bool harness_plugs;

/* A class on several boards stands in several lists. drive=* gets a fresh disk, fsdev=* an empty folder. */
static const struct {
    enum harness_kind kind;
    const char *cls, *opts;
} list[] = {
    {HARNESS_PC, "i440FX", "addr=0"},
    {HARNESS_PC, "PIIX3", "addr=1,multifunction=on"},
    {HARNESS_PC, "piix3-ide", "addr=1.1"},
    {HARNESS_PC, "virtio-9p-pci", "addr=1.4,mount_tag=a,fsdev=*"},
    {HARNESS_PC, "virtio-9p-pci-transitional", "addr=1.5,mount_tag=b,fsdev=*"},
    {HARNESS_PC, "virtio-9p-pci-non-transitional", "addr=1.6,mount_tag=c,packed=on,fsdev=*"},
    {HARNESS_PC, "virtio-balloon-pci", "addr=1.7,free-page-reporting=on,deflate-on-oom=on"},
    {HARNESS_PC, "PIIX4_PM", "addr=1.3"},
    {HARNESS_PC, "pci-bridge", "chassis_nr=1"},
    {HARNESS_PC, "i8259", ""},
    {HARNESS_PC, "ioapic", ""},
    {HARNESS_PC, "i8254", ""},
    {HARNESS_PC, "mc146818rtc", "clock=vm,base=2024-02-28T23:59:50"},
    {HARNESS_PC, "hpet", ""},
    {HARNESS_PC, "i8042", ""},
    {HARNESS_PC, "i8237", ""},
    {HARNESS_PC, "port92", ""},
    {HARNESS_PC, "x87-error", ""},
    {HARNESS_PC, "isa-parallel", "chardev=null0"},
    {HARNESS_PC, "isa-fdc", ""},
    {HARNESS_PC, "floppy", "drive=*,drive-type=144"},
    {HARNESS_PC, "floppy", "drive-type=120"},
    {HARNESS_PC, "fw_cfg", ""},
    {HARNESS_PC, "piix3-usb-uhci", "addr=1.2"},
    {HARNESS_PC, "usb-tablet", ""},
    {HARNESS_PC, "usb-kbd", ""},
    {HARNESS_PC, "piix3-usb-uhci", ""},
    {HARNESS_PC, "usb-mouse", ""},
    {HARNESS_PC, "qemu-xhci", "p2=2,p3=2,intrs=3,slots=5"},
    {HARNESS_PC, "usb-tablet", "bus=usb-bus.2"},
    {HARNESS_PC, "nec-usb-xhci", ""},
    {HARNESS_PC, "ich9-usb-ehci1", "addr=1d.7,multifunction=on"},
    {HARNESS_PC, "ich9-usb-uhci1", "addr=1d.0,multifunction=on,masterbus=usb-bus.4,firstport=0"},
    {HARNESS_PC, "ich9-usb-uhci2", "addr=1d.1,multifunction=on"},
    {HARNESS_PC, "ich9-usb-uhci3", "addr=1d.2,multifunction=on"},
    {HARNESS_PC, "virtio-balloon-pci-transitional", "addr=1d.5"},
    {HARNESS_PC, "virtio-balloon-pci-non-transitional", "addr=1d.6,free-page-reporting=on,packed=on"},
    {HARNESS_PC, "ich9-usb-uhci4", "addr=1a.0,multifunction=on"},
    {HARNESS_PC, "ich9-usb-uhci5", "addr=1a.1,multifunction=on"},
    {HARNESS_PC, "ich9-usb-uhci6", "addr=1a.2,multifunction=on"},
    {HARNESS_PC, "ich9-usb-ehci2", "addr=1a.7,multifunction=on"},
    {HARNESS_PC, "usb-ehci", ""},
    {HARNESS_PC, "usb-kbd", "bus=usb-bus.4,port=1"},
    {HARNESS_PC, "usb-net", "bus=usb-bus.4,mac=52:54:00:00:00:05"},
    {HARNESS_PC, "usb-storage", "drive=*"},
    {HARNESS_PC, "usb-hub", "bus=usb-bus.2"},
    {HARNESS_PC, "isa-serial", ""},
    {HARNESS_PC, "isa-serial", ""},
    {HARNESS_PC, "isa-debug-exit", "iobase=0xf4,iosize=4"},
    {HARNESS_PC, "isa-debugcon", ""},
    {HARNESS_PC, "pc-testdev", ""},
    {HARNESS_PC, "pci-testdev", ""},
    {HARNESS_PC, "VGA", "vgamem_mb=1"},
    {HARNESS_PC, "bochs-display", ""},
    {HARNESS_PC, "cirrus-vga", "addr=1d.4,vgamem_mb=1"},
    {HARNESS_PC, "ramfb", ""},
    {HARNESS_PC, "virtio-vga", "addr=1a.3,max_outputs=2,max_hostmem=1M,vgamem_mb=1"},
    {HARNESS_PC, "virtio-gpu-pci", "addr=1a.4,max_outputs=3,max_hostmem=1M,packed=on"},
    {HARNESS_PC, "virtio-keyboard-pci", "addr=1a.5"},
    {HARNESS_PC, "virtio-mouse-pci", "addr=1a.6"},
    {HARNESS_PC, "virtio-tablet-pci", "addr=1d.3"},
    {HARNESS_PC, "cfi.pflash01", "drive=*"},
    {HARNESS_PC, "ide-hd", "drive=*"},
    {HARNESS_PC, "ide-hd", "drive=*,write-cache=off"},
    {HARNESS_PC, "ide-cd", "drive=*"},
    {HARNESS_PC, "ide-cd", ""},
    {HARNESS_PC, "ahci", ""},
    {HARNESS_PC, "scsi-cd", "drive=*"},
    {HARNESS_PC, "scsi-hd", "drive=*,scsi-id=2,lun=1"},
    {HARNESS_PC, "nvme", "drive=*,serial=a,max_ioqpairs=3"},
    {HARNESS_PC, "virtio-scsi-pci", "num_queues=2"},
    {HARNESS_PC, "scsi-hd", "drive=*,bus=scsi.1"},
    {HARNESS_PC, "scsi-cd", "drive=*,bus=scsi.1,lun=300"},
    {HARNESS_PC, "virtio-scsi-pci-transitional", "hotplug=off"},
    {HARNESS_PC, "virtio-scsi-pci-non-transitional", "packed=on"},
    {HARNESS_PC, "virtio-blk-pci", "drive=*"},
    {HARNESS_PC, "virtio-blk-pci-transitional", "drive=*"},
    {HARNESS_PC, "virtio-blk-pci-non-transitional", "drive=*,packed=on"},
    {HARNESS_PC, "e1000", "mac=52:54:00:00:00:05"},
    {HARNESS_PC, "rtl8139", "mac=52:54:00:00:00:06"},
    {HARNESS_PC, "virtio-net-pci", "mac=52:54:00:00:00:01"},
    {HARNESS_PC, "virtio-net-pci-transitional", "mac=52:54:00:00:00:02"},
    {HARNESS_PC, "virtio-net-pci-non-transitional", "mac=52:54:00:00:00:03"},
    {HARNESS_PC, "virtio-rng-pci", ""},
    {HARNESS_PC, "virtio-rng-pci-transitional", ""},
    {HARNESS_PC, "virtio-rng-pci-non-transitional", ""},
    {HARNESS_PC, "virtio-serial-pci", ""},
    {HARNESS_PC, "virtio-serial-pci-transitional", ""},
    {HARNESS_PC, "virtio-serial-pci-non-transitional", ""},
    {HARNESS_PC, "virtio-serial", ""},
    {HARNESS_PC, "virtconsole", ""},
    {HARNESS_PC, "virtserialport", "name=org.example.0"},
    {HARNESS_MICROVM, "i8259", ""},
    {HARNESS_MICROVM, "ioapic", ""},
    {HARNESS_MICROVM, "acpi-ged", ""},
    {HARNESS_MICROVM, "isa-serial", ""},
    {HARNESS_MICROVM, "virtio-blk-device", "drive=*"},
    {HARNESS_MICROVM, "virtio-scsi-device", ""},
    {HARNESS_MICROVM, "virtio-net-device", "mac=52:54:00:00:00:04"},
    {HARNESS_MICROVM, "virtio-balloon-device", ""},
    {HARNESS_MICROVM, "virtio-9p-device", "mount_tag=d,fsdev=*"},
    {HARNESS_MICROVM, "virtio-rng-device", ""},
    {HARNESS_MICROVM, "virtio-gpu-device", "max_hostmem=1M"},
    {HARNESS_MICROVM, "virtio-keyboard-device", ""},
    {HARNESS_MICROVM, "virtio-mouse-device", ""},
    {HARNESS_MICROVM, "virtio-tablet-device", ""},
    {HARNESS_MICROVM, "virtio-serial-device", ""},
    {HARNESS_MICROVM, "virtconsole", ""},
    {HARNESS_Q35, "mch", "addr=0"},
    {HARNESS_Q35, "ICH9-LPC", "addr=1f.0,multifunction=on"},
    {HARNESS_Q35, "ich9-ahci", "addr=1f.2"},
    {HARNESS_Q35, "ide-hd", "drive=*"},
    {HARNESS_Q35, "ide-hd", "drive=*,write-cache=off"},
    {HARNESS_Q35, "ide-cd", "drive=*"},
    {HARNESS_Q35, "ide-cd", ""},
    {HARNESS_Q35, "ICH9-SMB", "addr=1f.3"},
    {HARNESS_Q35, "i6300esb", "addr=6"},
    {HARNESS_Q35, "i8259", ""},
    {HARNESS_Q35, "ioapic", ""},
    {HARNESS_Q35, "pcie-root-port", "addr=4,slot=1"},
    {HARNESS_Q35, "virtio-blk-pci", "bus=pcie.0.04.0,drive=*"},
    {HARNESS_Q35, "pcie-root-port", "addr=5,slot=2"},
    {HARNESS_Q35, "pcie-pci-bridge", "bus=pcie.0.05.0"},
    {HARNESS_Q35, "virtio-rng-pci", "bus=pcie.0.05.0.00.0,addr=3"},
};

struct viv_board harness_board;

static const uint8_t pirq_line[VIV_PCI_PIRQS] = {10, 10, 11, 11, 10, 10, 11, 11};

static struct viv_intc intc;
static struct viv_ram *ram;
static struct viv_viewer *viewer;
static struct viv_chr *printer;
static struct viv_dev *pic, *ioapic, *kbc, *pm;
static unsigned requests;
static uint64_t ahci_regs; /* of an adapter's BAR; 0: none */
static GPtrArray *kept; /* buses that live as long as the process: reachable, so no leak */

/* What devices ask of the VM ends here. */
void viv_vm_request(enum viv_vm_request what, int code, const char *who)
{
    requests++;
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
}

static void send_smi(void *opaque, int n, int level)
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

bool harness_knows(const char *cls)
{
    for (unsigned i = 0; i < VIV_ARRAY_SIZE(list); i++) {
        if (!strcmp(list[i].cls, cls))
            return true;
    }
    return false;
}

/* ---- an adapter: one command at a time, data in pieces ---- */

static struct {
    struct viv_scsi_bus *bus;
    struct viv_scsi_req *req; /* the one under way */
    bool moving;
    uint8_t buf[4096];
    unsigned piece;
} scsi;

static void scsi_moved(struct viv_scsi_req *r, size_t bytes)
{
    g_assert(bytes && bytes <= scsi.piece);
    scsi.moving = false;
}

static void scsi_done(struct viv_scsi_req *r)
{
    g_assert(r == scsi.req || !scsi.req);
    scsi.req = NULL;
    scsi.moving = false;
    viv_scsi_put(r);
}

static const struct viv_scsi_bus_ops scsi_ops = {.ids = 4, .luns = 4, .moved = scsi_moved, .done = scsi_done};

/* ---- building ---- */

static void add_disk(const char *id)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("viv-harness-XXXXXX", &path, NULL);

    if (fd < 0 || ftruncate(fd, VIV_MIB) < 0)
        g_error("no temporary disk");
    if (viv_blk_open_path(path, "raw", VIV_PERM_READ | VIV_PERM_WRITE, 0, id, &blk, &err) < 0 ||
        viv_drive_add(id, blk, NULL, &err) < 0)
        g_error("disk: %s", err.text);
    g_unlink(path);
    close(fd);
}

static GPtrArray *folders;

static void add_folder(const char *id)
{
    g_autofree char *path = g_dir_make_tmp("viv-harness-XXXXXX", NULL), *text = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;

    text = g_strdup_printf("local,id=%s,path=%s,security_model=mapped-file", id, path);
    if (viv_raw_parse("-fsdev", "fsdriver", text, &r, &err) < 0 || viv_fsdev_add(r, &err) < 0)
        g_error("folder: %s", err.text);
    viv_raw_free(r);
    if (!folders)
        folders = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(folders, g_steal_pointer(&path));
}

static void drop_folders(void)
{
    viv_fsdev_free_all();
    for (guint i = 0; folders && i < folders->len; i++) {
        const char *const rm[] = {"rm", "-rf", g_ptr_array_index(folders, i), NULL};

        g_spawn_sync(NULL, (char **)rm, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    }
    g_clear_pointer(&folders, g_ptr_array_unref);
}

static struct viv_dev *add(unsigned i)
{
    const struct viv_dev_class *cls = viv_dev_class_find(list[i].cls);
    struct viv_err err = VIV_ERR_INIT;
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    g_autofree char *text = g_strdup(list[i].opts);
    char *star = strchr(text, '*');
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;

    if (!cls)
        g_error("the harness names '%s', which is no class", list[i].cls);
    if (star) {
        g_autofree char *id = g_strdup_printf("d%u", i);
        g_autofree char *with = g_strdup_printf("%.*s%s%s", (int)(star - text), text, id, star + 1);

        if (strstr(text, "fsdev="))
            add_folder(id);
        else
            add_disk(id);
        g_free(g_steal_pointer(&text));
        text = g_steal_pointer(&with);
    }
    if (viv_opts_parse(cls->name, cls->props ? cls->props : none, NULL, text, &opts, &err) < 0 ||
        viv_dev_new(&harness_board, cls->name, NULL, NULL, opts, &d, &err) < 0)
        g_error("%s: %s", cls->name, err.text);
    viv_opts_free(opts);
    return d;
}

static void wire(const char *cls, struct viv_dev *d)
{
    struct viv_irq line = {set_line, NULL, 9};

    if (!strcmp(cls, "i8259"))
        pic = d;
    else if (!strcmp(cls, "ioapic"))
        ioapic = d;
    else if (!strcmp(cls, "i8042"))
        kbc = d;
    else if (!strcmp(cls, "PIIX4_PM"))
        viv_piix4_pm_setup(pm = d, VIV_PIIX4_PM_BASE);
    else if (!strcmp(cls, "mch"))
        viv_mch_setup(d);
    else if (!strcmp(cls, "ICH9-LPC"))
        viv_ich9_setup(d, pirq_line);
    else if (!strcmp(cls, "acpi-ged"))
        viv_ged_connect(d, 0xfea00000, &line);
}

/* Places every BAR, as firmware would, so that most accesses meet a register. */
static void place_bars(void)
{
    uint32_t mem = 0xe0000000, io = 0xc000;

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        struct viv_pci_dev *p = viv_pci_at(harness_board.pci, devfn);

        for (unsigned n = 0; p && n < VIV_PCI_BARS; n++) {
            uint32_t *next = p->bar[n].io ? &io : &mem;

            if (!p->bar[n].region)
                continue;
            *next = (uint32_t)((*next + p->bar[n].size - 1) & ~(p->bar[n].size - 1));
            viv_pci_config_write(harness_board.pci, devfn, 0x10 + 4 * n, *next, 4);
            *next += (uint32_t)p->bar[n].size;
        }
        if (p)
            viv_pci_config_write(harness_board.pci, devfn, 4, 7, 2);
        if (p && !strcmp(p->dev.cls->name, "piix3-ide"))
            viv_pci_config_write(harness_board.pci, devfn, 0x40, 0x80008000, 4);
    }
}

/* The same where there are bridges, all functions masters. */
static void place_below_bridges(void)
{
    const struct viv_pci_windows w = {.io_first = 0xc000, .io_last = 0xffff, .mem_first = 0xc0000000, .mem_last = 0xfebfffff,
                                      .mem64_first = 0x800000000, .mem64_last = 0xfffffffff};

    viv_firmware_pci(harness_board.pci, &w, pirq_line);
    for (unsigned bus = 0; bus < 8; bus++) {
        for (unsigned devfn = 0; devfn < 256; devfn++)
            viv_pci_config_write(viv_pci_bus_at(harness_board.pci, bus), devfn, 4, 7, 2);
    }
    ahci_regs = viv_pci_config_read(harness_board.pci, 0xfa, 0x24, 4) & ~15u;
}

void harness_init(enum harness_kind kind, int64_t ns)
{
    static const struct viv_intc_ops ops = {.send_msi = send_msi, .set_extint = set_extint};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_region_desc low = {.name = "low", .kind = VIV_REGION_RAM, .size = 0xa0000};

    viv_dev_lock();
    memset(&harness_board, 0, sizeof(harness_board));
    pic = ioapic = kbc = pm = NULL;
    ahci_regs = 0;
    intc = (struct viv_intc){.ops = &ops};
    if (!ram && viv_ram_new("pc.ram", RAM_BYTES, &ram, &err) < 0)
        g_error("%s", err.text);
    memset(ram->hva, 0, RAM_BYTES);
    viv_guest_clock_stop();
    viv_guest_clock_set_ns(ns);
    viv_dev_set_classes(viv_devices);
    harness_board.mem = viv_space_new("mem", 64);
    harness_board.smm = viv_space_new_over("smm", harness_board.mem);
    harness_board.smi = (struct viv_irq){send_smi, NULL, 0};
    harness_board.smi_all = (struct viv_irq){send_smi, NULL, 1};
    harness_board.io = viv_space_new("io", 16);
    harness_board.intc = &intc;
    for (int i = 0; i < 24; i++)
        *(i < 16 ? &harness_board.isa_irq[i] : &harness_board.gsi_irq[i]) =
            (struct viv_irq){set_line, NULL, i};
    low.ram = ram;
    viv_region_map(viv_region_new(harness_board.mem, &low), 0, 0);
    if (kind == HARNESS_MICROVM) {
        struct viv_irq irqs[12];

        for (int i = 0; i < 12; i++)
            irqs[i] = (struct viv_irq){set_line, NULL, 16 + i % 8};
        harness_board.vmmio = viv_virtio_mmio_bus_new(&harness_board, 0xfeb00000, 12, irqs);
        if (!kept)
            kept = g_ptr_array_new();
        g_ptr_array_add(kept, harness_board.vmmio);
    }
    if (viv_chr_new_short("harness", "null0", "null", &printer, &err) < 0)
        g_error("%s", err.text);
    scsi.bus = viv_scsi_bus_new(NULL, "scsi.0", &scsi_ops);
    for (unsigned i = 0; i < VIV_ARRAY_SIZE(list); i++) {
        if (list[i].kind == kind)
            wire(list[i].cls, add(i));
    }
    if (kind == HARNESS_Q35)
        place_below_bridges();
    else if (harness_board.pci)
        place_bars();
    viv_dev_set_running_all(true);
}

void harness_fini(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (scsi.req)
        viv_scsi_cancel(scsi.req);
    harness_quiesce();
    pic = ioapic = NULL; /* made last, so freed first, while others let go of their lines */
    viv_dev_free_all();
    viv_scsi_bus_free(scsi.bus);
    viv_chr_free(printer);
    viv_dev_unlock();
    viv_drive_free_all(&err);
    drop_folders();
    viv_space_free(harness_board.smm);
    viv_space_free(harness_board.mem);
    viv_space_free(harness_board.io);
}

static void run_loop(void)
{
    viv_dev_unlock();
    while (viv_loop_serve(false))
        ;
    viv_dev_lock();
}

void harness_quiesce(void)
{
    viv_dev_set_running_all(false);
    for (unsigned i = 0; !viv_dev_idle_all(); i++) {
        run_loop();
        g_usleep(100);
        if (i > 100000)
            g_error("a device stays busy");
    }
    run_loop();
}

/* ---- activity ---- */

struct input {
    const uint8_t *p;
    size_t left;
};

static uint64_t take(struct input *in, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n && in->left; i++, in->left--)
        v |= (uint64_t)*in->p++ << (8 * i);
    return v;
}

/* An access at a random place of a random I/O range, or just outside. */
static void touch(struct input *in, struct viv_space *s)
{
    size_t count, ios = 0;
    g_autofree struct viv_space_range *r = viv_space_ranges(s, &count);
    unsigned size = 1u << (take(in, 1) & 3);
    struct viv_space_range *pick;
    uint64_t off, v;
    bool write;

    for (size_t i = 0; i < count; i++) {
        if (r[i].kind == VIV_REGION_IO)
            r[ios++] = r[i];
    }
    if (!ios)
        return;
    pick = &r[take(in, 2) % ios];
    off = take(in, 2) & (take(in, 1) & 1 ? 0xffff : 0x7f);
    off %= pick->last - pick->start + 1;
    write = take(in, 1) & 1;
    v = take(in, 1) & 1 ? take(in, 1) : take(in, size);
    if (s == harness_board.io && size == 8)
        size = 4;
    if (write)
        viv_space_write_locked(s, pick->start + off, v, size);
    else
        viv_space_read_locked(s, pick->start + off, size);
}

static void config(struct input *in)
{
    unsigned devfn = (unsigned)take(in, 1), reg = (unsigned)take(in, 1), how = (unsigned)take(in, 1), size = 1u << (how & 15) % 3;
    struct viv_pci_bus *bus = harness_board.pci ? viv_pci_bus_at(harness_board.pci, how >> 4 & 3) : NULL;

    if (!bus)
        return;
    devfn = devfn & 0x80 ? devfn & 0x7f : (devfn & 0x1f) << 3;
    reg = (reg | (how >> 6) << 8) & ~(size - 1);
    viv_pci_config_write(bus, devfn, reg, (uint32_t)take(in, size), size);
    viv_pci_config_read(bus, devfn, reg, size);
}

static void shown(void *opaque, const struct viv_surface *s)
{
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
}

static void gone(void *opaque)
{
    viewer = NULL;
}

/* A viewer comes or goes: with one, the screen goes by its dirty log. */
static void look(bool on)
{
    static const struct viv_viewer_ops ops = {.shown = shown, .changed = changed, .gone = gone};

    if (on && !viewer && viv_console_at(0)) {
        viewer = viv_viewer_new(viv_console_at(0), &ops, NULL);
        viv_viewer_set_period(viewer, 1000000);
    } else if (!on && viewer) {
        viv_viewer_free(viewer);
        viewer = NULL;
    }
}

/* Goes on with a command, gives it up, or begins one. */
static void scsi_step(struct input *in)
{
    static const uint8_t ops[] = {0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x43, 0x46,
                                  0x4a, 0x51, 0x52, 0x55, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0, 0xa8, 0xad, 0xb9, 0xbd, 0xbe};
    unsigned piece = (unsigned)(take(in, 2) & 4095) + 1;
    struct iovec iov = {scsi.buf, piece};
    uint8_t cdb[16], how = (uint8_t)take(in, 1);

    if (scsi.moving || (scsi.req && (scsi.req->ended || scsi.req->io))) /* given up, by us or with its device, and not back yet */
        return;
    scsi.piece = piece;
    if (!scsi.req) {
        unsigned id = how & 3, lun = how >> 2 & 1;

        for (unsigned i = 0; i < sizeof(cdb); i++)
            cdb[i] = i && i < 5 ? 0 : (uint8_t)take(in, 1);
        if (how & 0x80)
            cdb[0] = ops[cdb[0] % sizeof(ops)];
        if (how & 0x40)
            cdb[1] = (uint8_t)take(in, 1), cdb[2] = (uint8_t)take(in, 1), cdb[4] = (uint8_t)take(in, 1);
        scsi.req = viv_scsi_new(scsi.bus, id, lun, 0, cdb, sizeof(cdb), NULL);
    } else if (how > 250) {
        viv_scsi_cancel(scsi.req);
        return;
    }
    scsi.moving = true;
    if (scsi.req->direction == VIV_SCSI_NONE || how % 16 == 0)
        viv_scsi_move(scsi.req, NULL, 0);
    else
        viv_scsi_move(scsi.req, &iov, 1);
}

/* A command for a port of an AHCI adapter, more or less well formed: list, received FISes and tables of each port in 64 KiB. */
static void ahci_step(struct input *in)
{
    static const uint8_t cmds[] = {0x20, 0x24, 0x25, 0x29, 0x2f, 0x34, 0x35, 0x39, 0x3d, 0x42, 0x60, 0x61, 0x60, 0x61, 0x08, 0x90,
                                   0xa0, 0xa0, 0xa1, 0xb0, 0xc6, 0xc8, 0xca, 0xe7, 0xea, 0xec, 0xef};
    unsigned port = take(in, 1) & 3, slot = take(in, 1) & 31, how = (unsigned)take(in, 1), prds = how >> 4 & 3;
    uint64_t regs = ahci_regs + 0x100 + 0x80 * port, base = 0x40000 + 0x10000 * port, table = base + 0x1000 + 0x200 * slot;
    uint8_t cmd = cmds[take(in, 1) % sizeof(cmds)], f[20] = {0x27, how & 8 ? 0x80 : (uint8_t)take(in, 1), cmd};

    for (unsigned i = 3; i < sizeof(f); i++)
        f[i] = i == 4 || i == 12 || how & 4 ? (uint8_t)take(in, 1) : 0;
    if (cmd == 0x60 || cmd == 0x61) {
        f[3] = f[12] & 15;
        f[12] = (uint8_t)(slot << 3);
    }
    viv_space_write_locked(harness_board.mem, regs, base, 4);
    viv_space_write_locked(harness_board.mem, regs + 8, base + 0x400, 4);
    viv_space_write_locked(harness_board.mem, base + 32 * slot, 5 | (cmd == 0xa0) << 5 | prds << 16, 8);
    viv_space_write_locked(harness_board.mem, base + 32 * slot + 8, table, 8);
    for (unsigned i = 0; i < sizeof(f); i++)
        viv_space_write_locked(harness_board.mem, table + i, f[i], 1);
    viv_space_write_locked(harness_board.mem, table + 0x40, take(in, 8), 8);
    for (unsigned i = 0; i < prds; i++) {
        viv_space_write_locked(harness_board.mem, table + 0x80 + 16 * i, 0x80000 + take(in, 2), 8);
        viv_space_write_locked(harness_board.mem, table + 0x88 + 16 * i, take(in, 2) << 32, 8);
    }
    if (how & 1) /* start anew, after whatever happened */
        viv_space_write_locked(harness_board.mem, regs + 0x18, 0x10, 4);
    viv_space_write_locked(harness_board.mem, regs + 0x18, 0x11, 4);
    if (cmd == 0x60 || cmd == 0x61)
        viv_space_write_locked(harness_board.mem, regs + 0x34, 1u << slot, 4);
    viv_space_write_locked(harness_board.mem, regs + 0x38, 1u << slot, 4);
    if (how & 2)
        run_loop();
}

/* A packet from a controller whose schedule is well-formed: requests that devices know among others, wrappers of usb-storage. */
static void usb_step(struct input *in)
{
    static const uint16_t requests[] = {0x8000, 0x0001, 0x0003, 0x0203, 0x0201, 0x8006, 0x8106, 0x0009, 0x0009, 0x010b, 0x810a, 0xa101,
                                        0x210a, 0x210b, 0x2109, 0xa300, 0x2303, 0x2301, 0xa006, 0x21ff, 0x2143};
    static const enum viv_usb_pid pids[] = {VIV_USB_IN, VIV_USB_OUT, VIV_USB_IN, VIV_USB_SETUP};
    unsigned pick = (unsigned)take(in, 1), how = (unsigned)take(in, 1), at = (unsigned)take(in, 2), len = (unsigned)take(in, 1);
    struct viv_usb_piece piece = {at, how & 0x80 ? len * 64 : len & 0x7f};
    struct viv_usb_packet k = {.pid = pids[how & 3], .endpoint = how >> 2 & 3, .pieces = &piece, .count = 1};
    struct viv_usb_dev *devs[64];
    unsigned n = 0;

    for (struct viv_usb_bus *b = viv_usb_bus_next(NULL); b; b = viv_usb_bus_next(b)) {
        for (struct viv_usb_port *p = viv_usb_port_next(b, NULL); p && n < 64; p = viv_usb_port_next(b, p)) {
            if (p->dev)
                devs[n++] = p->dev;
        }
    }
    if (!n)
        return;
    if (k.pid == VIV_USB_SETUP) {
        uint16_t request = requests[take(in, 1) % VIV_ARRAY_SIZE(requests)];

        k.endpoint = 0;
        piece.len = 8;
        viv_space_write_locked(harness_board.mem, at & 0xfff8, request >> 8 | (request & 0xff) << 8 | (take(in, 6) & 0xff0f0fff) << 16, 8);
        piece.at = at & 0xfff8;
    } else if (how & 0x40 && k.pid == VIV_USB_OUT) {
        piece = (struct viv_usb_piece){at & 0xff80, 31};
        k.endpoint = 2;
        viv_space_write_locked(harness_board.mem, piece.at, 0x43425355, 4);
        viv_space_write_locked(harness_board.mem, piece.at + 8, take(in, 2), 4);
        viv_space_write_locked(harness_board.mem, piece.at + 12, (take(in, 1) & 0x80) | 10 << 16, 4);
    }
    k.length = piece.len;
    viv_usb_handle(devs[pick % n], &k);
    g_assert(k.actual <= k.length);
}

/* A command for the diskette controller, more or less well formed, with or without DMA; what it says is read, or not. */
static void floppy_step(struct input *in)
{
    static const uint8_t cmds[] = {0xe6, 0x46, 0xc5, 0x45, 0x4d, 0x4a, 0x62, 0xcc, 0x56, 0xd6, 0x51, 0x59, 0x5d, 0x07, 0x0f, 0x8f,
                                   0xcf, 0x08, 0x03, 0x04, 0x13, 0x0e, 0x12, 0x94, 0x8e, 0x2e, 0x4e};
    struct viv_space *io = harness_board.io;
    unsigned how = (unsigned)take(in, 1), n = 0;
    uint16_t count = (uint16_t)(take(in, 2) & 0x3fff);
    uint8_t bytes[17] = {cmds[take(in, 1) % sizeof(cmds)], how & 5};

    if (how < 32) /* a reset, whatever goes on */
        viv_space_write_locked(io, 0x3f2, 0x08, 1);
    viv_space_write_locked(io, 0x3f2, 0x1c, 1);
    viv_space_write_locked(io, 0x3f7, 0, 1); /* 500 kbit/s */
    viv_space_write_locked(io, 0xd6, 0xc0, 1);
    viv_space_write_locked(io, 0xd4, 0, 1);
    viv_space_write_locked(io, 0x0c, 0, 1);
    viv_space_write_locked(io, 0x0b, bytes[0] == 0xc5 || bytes[0] == 0x45 || bytes[0] == 0x4d || (bytes[0] & 0x1f) > 0x16 ? 0x4a : 0x46, 1);
    viv_space_write_locked(io, 0x05, count & 0xff, 1);
    viv_space_write_locked(io, 0x05, count >> 8, 1);
    viv_space_write_locked(io, 0x0a, how & 0x20 ? 2 : 6, 1);
    for (unsigned i = 2; i < sizeof(bytes); i++)
        bytes[i] = i == 3 ? how >> 2 & 1 : i == 5 ? 2 : i == 2 ? (uint8_t)(take(in, 1) & 3) : (uint8_t)take(in, 1) & 31;
    while (n < sizeof(bytes) && (viv_space_read_locked(io, 0x3f4, 1) & 0xc0) == 0x80)
        viv_space_write_locked(io, 0x3f5, bytes[n++], 1);
    for (unsigned i = 0; how & 0x40 && i < 50 && !viv_dev_idle_all(); i++) {
        run_loop();
        g_usleep(20);
    }
    for (n = 0; n < 600 && (viv_space_read_locked(io, 0x3f4, 1) & 0xc0) == 0xc0; n++)
        viv_space_read_locked(io, 0x3f5, 1);
}

/* What a monitor does: plugs a device in, asks for one. Where there is no room or no such bus it is refused. */
static void hotplug_step(struct input *in)
{
    static const char *const classes[] = {"pci-testdev", "virtio-rng-pci", "e1000", "usb-tablet", "usb-hub", "virtio-scsi-pci",
                                          "scsi-cd", "qemu-xhci"};
    static const char *const where[] = {"", "", "bus=rp0", "bus=pci.0.02.0"};
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    const struct viv_dev_class *c = viv_dev_class_find(classes[take(in, 1) % VIV_ARRAY_SIZE(classes)]);
    unsigned how = (unsigned)take(in, 1), n = 0, pick = (unsigned)take(in, 1);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;

    if (how & 1) {
        const char *at = c->bus == VIV_BUS_PCI ? where[how >> 1 & 3] : "";

        if (viv_opts_parse(c->name, c->props ? c->props : none, NULL, at, &opts, &err) == 0)
            viv_dev_plug(&harness_board, c->name, NULL, opts, &err);
        viv_opts_free(opts);
        return;
    }
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next)
        n += d->cls->hotplug != NULL;
    for (struct viv_dev *d = viv_dev_first(); n && d; d = d->next) {
        if (d->cls->hotplug && pick-- % n == 0) {
            viv_dev_ask_unplug(d, &err);
            return;
        }
    }
}

static void other(struct input *in)
{
    uint64_t v = take(in, 2);

    switch (take(in, 1) % (harness_plugs ? 16 : 15)) {
    case 0:
        viv_guest_clock_step((int64_t)(v * 1000));
        break;
    case 1:
        viv_irq_set(&harness_board.isa_irq[v & 15], v >> 8 & 1);
        break;
    case 2:
        if (kbc)
            viv_i8042_key(kbc, v & 0x1ff);
        break;
    case 3:
        if (kbc)
            viv_i8042_mouse(kbc, (int8_t)v, (int8_t)(v >> 8), (int)(v & 3) - 1, v >> 4 & 7);
        break;
    case 4:
        if (intc.ack_extint && v & 1)
            intc.ack_extint(intc.ack_opaque);
        else if (intc.eoi)
            intc.eoi(intc.eoi_opaque, (uint8_t)(v >> 8));
        break;
    case 5:
        if (pm)
            viv_piix4_pm_power_button(pm);
        run_loop();
        break;
    case 6: /* what a screen shows, whatever its registers say */
        if (viv_console_at(0)) {
            viv_console_refresh(viv_console_at(0));
            g_free(viv_console_text(viv_console_at(0)));
        }
        break;
    case 7:
        look(v & 1);
        break;
    case 8:
    case 9:
        if (ahci_regs)
            ahci_step(in);
        else
            scsi_step(in);
        break;
    case 10:
    case 11:
        usb_step(in);
        break;
    case 12:
        viv_input_key(v & 0xff, v >> 15);
        break;
    case 14:
        if (harness_board.isa_dma)
            floppy_step(in);
        break;
    case 13:
        viv_input_move(-1, (int8_t)v, (int8_t)(v >> 8));
        viv_input_place(-1, v & 0xff, v >> 8, 256, 256);
        viv_input_button(-1, (enum viv_button)(v % VIV_BUTTONS), v >> 4 & 1);
        viv_input_wheel(-1, (int)(v & 3) - 1, 0);
        viv_input_sync(-1);
        break;
    case 15:
        hotplug_step(in);
        break;
    }
}

void harness_play(const uint8_t *data, size_t len)
{
    struct input in = {data, len};

    while (in.left) {
        switch (take(&in, 1) % 8) {
        case 0:
        case 1:
        case 2:
            touch(&in, harness_board.io);
            break;
        case 3:
        case 4:
            touch(&in, harness_board.mem);
            break;
        case 5:
            config(&in);
            break;
        case 6: { /* descriptors and rings live in low memory */
            uint32_t at = (uint32_t)take(&in, 2) & 0xffff;

            viv_space_write_locked(harness_board.mem, at, take(&in, 8), 8);
            break;
        }
        default:
            other(&in);
        }
    }
}

/* ---- state ---- */

uint8_t *harness_save(struct viv_dev *d, size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_state_save(w, d->path, d->cls->state, d);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

int harness_load(struct viv_dev *d, const uint8_t *data, size_t len, struct viv_err *err)
{
    struct viv_state_reader *r = viv_state_reader_new(data, len);
    int rc = viv_state_load(r, d->path, d->cls->state, d, err);

    viv_state_reader_free(r);
    return rc;
}
