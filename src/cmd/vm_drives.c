/* Drives and block nodes from what the command line said. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "block/options.h"
#include "block/registry.h"

#include <errno.h>
#include <string.h>

#define IDE_MOST   6 /* drives on the controller of any machine */
#define FLOPPIES   2
#define SCSI_BUSES 8
#define SCSI_UNITS 7 /* of a bus */

bool vm_has_pci(const struct vm_args *a)
{
    return a->cfg.cls->max_cpus && strcmp(a->cfg.cls->name, "microvm") != 0;
}

void vm_add_device(struct vm_args *a, const char *text)
{
    struct vm_item item = {"-device", text};

    if (!a->devices)
        a->devices = g_array_new(FALSE, FALSE, sizeof(item));
    g_array_append_val(a->devices, item);
}

/* ---- where a drive goes ---- */

struct place {
    enum { NONE, VIRTIO, IDE, SCSI, PFLASH, FLOPPY } iface;
    bool cdrom;
    unsigned unit; /* of all the interface's */
    char *id, *device; /* device: NULL for none */
};

/* What the command line has taken so far. */
static struct {
    unsigned nones, virtios;
    bool ide[IDE_MOST], scsi[SCSI_BUSES * SCSI_UNITS];
    bool floppy[FLOPPIES];
    bool scsi_checked, scsi_given; /* did the command line name an adapter? */
    unsigned scsi_made;            /* buses with an adapter of ours, a bit each */
} taken;

static int interface(struct vm_args *a, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    const char *iface = viv_opts_str(o, "if");

    p->cdrom = !strcmp(viv_opts_str(o, "media"), "cdrom");
    if (!iface)
        iface = a->cfg.cls->ide_buses ? "ide" : "virtio";
    if (!strcmp(iface, "none")) {
        p->iface = NONE;
    } else if (!strcmp(iface, "virtio")) {
        p->iface = VIRTIO; /* media=cdrom: read only, and else a disk, as in QEMU */
    } else if (!strcmp(iface, "pflash") && vm_has_pci(a)) {
        p->iface = PFLASH;
        if (p->cdrom)
            return viv_fail(err, EINVAL, "-drive: media=cdrom: a flash chip is no CD drive; leave it out");
    } else if (!strcmp(iface, "floppy") && a->cfg.cls->floppy) {
        p->iface = FLOPPY;
        if (p->cdrom)
            return viv_fail(err, EINVAL, "-drive: media=cdrom: a diskette drive takes no CDs; leave it out");
    } else if (!strcmp(iface, "ide") && a->cfg.cls->ide_buses) {
        p->iface = IDE;
    } else if (!strcmp(iface, "sata") && a->cfg.cls->ide_units == 1) { /* what its IDE drives are */
        p->iface = IDE;
    } else if (!strcmp(iface, "scsi")) {
        p->iface = SCSI;
    } else {
        return viv_fail(err, ENOTSUP, "-drive: if=%s is not possible: this machine has no such controller; %s, and "
                        "if=none for a -device", iface, a->cfg.cls->ide_buses ? "if=ide, if=floppy, if=scsi, if=virtio and if=pflash work"
                        : vm_has_pci(a) ? "if=scsi, if=virtio and if=pflash work" : "if=scsi and if=virtio work");
    }
    return 0;
}

/* By index=, by bus= and unit=, or the first that is free. `used` has a place for each of buses * units. */
static int take_unit(struct viv_opts *o, const char *kind, bool *used, unsigned buses, unsigned units, unsigned *unit, struct viv_err *err)
{
    int64_t n = viv_opts_int(o, "index"), all = buses * units;

    if (viv_opts_given(o, "bus") || viv_opts_given(o, "unit")) {
        if (viv_opts_given(o, "index"))
            return viv_fail(err, EINVAL, "-drive: index= and bus=, unit= exclude each other");
        n = viv_opts_int(o, "bus") * units + viv_opts_int(o, "unit");
        if (viv_opts_int(o, "unit") >= units)
            return units == 1 ? viv_fail(err, EINVAL, "-drive: a bus of this machine has unit 0 only")
                              : viv_fail(err, EINVAL, "-drive: %s bus has unit 0 %s unit %u", kind, units == 2 ? "and" : "to", units - 1);
    } else if (!viv_opts_given(o, "index")) {
        for (n = 0; n < all && used[n]; n++)
            ;
    }
    kind = strchr(kind, ' ') + 1; /* without its article */
    if (n >= all)
        return viv_fail(err, EINVAL, "-drive: this machine has %d %s drives (index 0 to %d); use if=virtio for more", (int)all, kind,
                        (int)all - 1);
    if (used[n])
        return viv_fail(err, EEXIST, "-drive: %s drive %d (bus %d, unit %d) is given twice; use index=", kind, (int)n, (int)(n / units),
                        (int)(n % units));
    used[n] = true;
    *unit = (unsigned)n;
    return 0;
}

static int place_ide(const struct viv_machine_class *m, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id");
    int rc = take_unit(o, "an IDE", taken.ide, m->ide_buses, m->ide_units, &p->unit, err);
    unsigned bus, unit;

    if (rc < 0)
        return rc;
    bus = p->unit / m->ide_units;
    unit = p->unit % m->ide_units;
    p->id = id ? g_strdup(id) : g_strdup_printf("ide%u-%s%u", bus, p->cdrom ? "cd" : "hd", unit);
    p->device = g_strdup_printf("ide-%s,drive=%s,bus=ide.%u,unit=%u", p->cdrom ? "cd" : "hd", p->id, bus, unit);
    return 0;
}

/* By unit= or index=, or the first that is free. */
static int place_pflash(struct vm_args *a, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id"), *by = viv_opts_given(o, "unit") ? "unit" : "index";
    int64_t n = viv_opts_int(o, by);

    if (viv_opts_given(o, "unit") && viv_opts_given(o, "index"))
        return viv_fail(err, EINVAL, "-drive: index= and unit= exclude each other");
    if (!viv_opts_given(o, by)) {
        for (n = 0; n < VIV_FLASH_CHIPS && a->cfg.pflash[n]; n++)
            ;
    }
    if (viv_opts_int(o, "bus") || n >= VIV_FLASH_CHIPS)
        return viv_fail(err, EINVAL, "-drive: this machine has %d flash chips: unit=0 (firmware) and unit=1 (its variables)",
                        VIV_FLASH_CHIPS);
    if (a->cfg.pflash[n])
        return viv_fail(err, EEXIST, "-drive: flash chip %d is given twice; use unit=", (int)n);
    p->unit = (unsigned)n;
    p->id = id ? g_strdup(id) : g_strdup_printf("pflash%u", p->unit);
    a->cfg.pflash[n] = g_intern_string(p->id);
    return 0;
}

static bool names_device(const struct vm_args *a, const char *name)
{
    FOR_ITEMS(a->devices, it) {
        if (g_str_has_prefix(it->text, name) && strchr(",", it->text[strlen(name)]))
            return true;
    }
    return false;
}

/* A machine that has no controller by itself gets one with its first drive. */
static int place_floppy(struct vm_args *a, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id");
    bool first = !taken.floppy[0] && !taken.floppy[1];
    int rc = take_unit(o, "a diskette", taken.floppy, 1, FLOPPIES, &p->unit, err);

    if (rc < 0)
        return rc;
    if (first && a->cfg.cls->floppy == VIV_FLOPPY_ON_REQUEST && !names_device(a, "isa-fdc"))
        vm_add_device(a, "isa-fdc");
    p->id = id ? g_strdup(id) : g_strdup_printf("floppy%u", p->unit);
    p->device = g_strdup_printf("floppy,unit=%u,drive=%s", p->unit, p->id);
    return 0;
}

static bool names_scsi_adapter(const struct vm_args *a)
{
    FOR_ITEMS(a->devices, it) {
        if (g_str_has_prefix(it->text, "virtio-scsi-"))
            return true;
    }
    return false;
}

/* On the adapter of the command line, or on one that is made for it. */
static int place_scsi(struct vm_args *a, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id");
    int rc = take_unit(o, "a SCSI", taken.scsi, SCSI_BUSES, SCSI_UNITS, &p->unit, err);
    unsigned bus = p->unit / SCSI_UNITS, unit = p->unit % SCSI_UNITS;
    g_autofree char *at = NULL;

    if (rc < 0)
        return rc;
    if (!taken.scsi_checked)
        taken.scsi_given = names_scsi_adapter(a);
    taken.scsi_checked = true;
    if (!taken.scsi_given && !(taken.scsi_made >> bus & 1)) {
        taken.scsi_made |= 1u << bus;
        vm_add_device(a, g_strdup_printf("virtio-scsi-%s,id=scsi%u", vm_has_pci(a) ? "pci" : "device", bus));
        viv_info("-drive if=scsi: added a virtio-scsi adapter, scsi%u", bus);
    }
    at = taken.scsi_given && !bus ? g_strdup("") : g_strdup_printf(",bus=scsi%u.0", bus);
    p->id = id ? g_strdup(id) : g_strdup_printf("scsi%u-%s%u", bus, p->cdrom ? "cd" : "hd", unit);
    p->device = g_strdup_printf("scsi-%s,drive=%s%s,scsi-id=%u", p->cdrom ? "cd" : "hd", p->id, at, unit);
    return 0;
}

static int place_drive(struct vm_args *a, struct viv_opts *o, struct place *p, struct viv_err *err)
{
    unsigned *count = p->iface == VIRTIO ? &taken.virtios : &taken.nones;
    const char *id = viv_opts_str(o, "id");

    if (p->iface == IDE)
        return place_ide(a->cfg.cls, o, p, err);
    if (p->iface == FLOPPY)
        return place_floppy(a, o, p, err);
    if (p->iface == PFLASH)
        return place_pflash(a, o, p, err);
    if (p->iface == SCSI)
        return place_scsi(a, o, p, err);
    if (viv_opts_given(o, "bus") || viv_opts_given(o, "unit"))
        return viv_fail(err, EINVAL, "-drive: bus= and unit= are for controllers with several drives; use index=");
    if (viv_opts_given(o, "index"))
        *count = (unsigned)viv_opts_int(o, "index");
    p->id = id ? g_strdup(id) : g_strdup_printf("%s%u", p->iface == VIRTIO ? "virtio" : "none", (*count)++);
    if (p->iface == VIRTIO)
        p->device = g_strdup_printf("virtio-blk-%s,drive=%s", vm_has_pci(a) ? "pci" : "device", p->id);
    return 0;
}

/* ---- -drive ---- */

static int add_drive(struct vm_args *a, struct viv_opts *o, const struct viv_raw_opts *image, struct place *p, struct viv_err *err)
{
    int rc = interface(a, o, p, err);

    if (!rc)
        rc = place_drive(a, o, p, err);
    if (!rc)
        rc = viv_drive_open("-drive", o, image, p->id, err);
    if (rc < 0)
        return rc;
    if (p->device)
        vm_add_device(a, g_steal_pointer(&p->device));
    return 0;
}

static int open_drive(struct vm_args *a, const char *text, struct viv_err *err)
{
    /* -snapshot: of every drive that does not say snapshot=off itself. */
    g_autofree char *with = a->snapshot ? g_strdup_printf("snapshot=on,%s", text) : NULL;
    struct place p = {0};
    struct viv_opts *o;
    struct viv_raw_opts *image;
    int rc = viv_drive_parse("-drive", with ? with : text, &o, &image, err);

    if (rc < 0)
        return rc;
    rc = add_drive(a, o, image, &p, err);
    g_free(p.id);
    g_free(p.device);
    viv_opts_free(o);
    viv_raw_free(image);
    return rc;
}

/* -hda to -hdd, -fda, -fdb, -cdrom, -pflash and a bare file name: the rest of the text is the file's name, commas and all. */
static int open_short(struct vm_args *a, const struct vm_item *it, struct viv_err *err)
{
    static const char *const names[] = {"-hda", "-hdb", "-hdc", "-hdd", NULL};
    bool cdrom = !strcmp(it->option, "-cdrom");
    unsigned index = cdrom ? 2 : 0;
    g_auto(GStrv) parts = g_strsplit(it->text, ",", -1);
    g_autofree char *file = g_strjoinv(",,", parts), *text = NULL;
    int rc;

    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(names[i], it->option))
            index = i;
    }
    if (!strcmp(it->option, "-pflash")) {
        text = g_strdup_printf("if=pflash,format=raw,file=%s", file);
        return open_drive(a, text, err);
    }
    if (g_str_has_prefix(it->option, "-fd")) {
        text = g_strdup_printf("if=floppy,index=%d,file=%s", it->option[3] - 'a', file);
        return open_drive(a, text, err);
    }
    if (!a->cfg.cls->ide_buses)
        return viv_fail(err, ENOTSUP, "%s: this machine has no IDE controller; use -drive file=%s,if=virtio", it->option, it->text);
    text = g_strdup_printf("if=ide,index=%u,media=%s,file=%s", index, cdrom ? "cdrom" : "disk", file);
    rc = open_drive(a, text, err);
    if (rc < 0)
        viv_err_prefix(err, "%s", it->option);
    return rc;
}

/* Who says where his disks or CDs are by a device of IDE's or SCSI's gets no empty CD drive. */
static bool names_ide_device(const struct vm_args *a)
{
    FOR_ITEMS(a->devices, it) {
        if (g_str_has_prefix(it->text, "ide-") || g_str_has_prefix(it->text, "scsi-cd") || g_str_has_prefix(it->text, "scsi-hd"))
            return true;
    }
    return false;
}

/* A machine without a word about it has an empty CD drive, as in QEMU. */
static int default_cdrom(struct vm_args *a, struct viv_err *err)
{
    if (a->nodefaults || !a->cfg.cls->ide_buses || taken.ide[2] || vm_machine_off(a, "sata"))
        return 0;
    return open_drive(a, "if=ide,index=2,media=cdrom", err);
}

/* And an empty diskette drive, where the machine has a controller. */
static int default_floppy(struct vm_args *a, struct viv_err *err)
{
    if (a->nodefaults || a->cfg.cls->floppy != VIV_FLOPPY_BUILT_IN || taken.floppy[0] || names_device(a, "floppy"))
        return 0;
    return open_drive(a, "if=floppy,index=0", err);
}

/* -machine pflash0=NODE, pflash1=NODE. */
static int claim_pflash(struct vm_args *a, struct viv_err *err)
{
    static const char *const keys[VIV_FLASH_CHIPS] = {"pflash0", "pflash1"};

    for (unsigned i = 0; i < VIV_FLASH_CHIPS && vm_has_pci(a); i++) {
        const char *node = viv_opts_str(a->cfg.machine_opts, keys[i]);
        g_autofree char *what = g_strdup_printf("flash chip '%s'", keys[i]);
        struct viv_blk *blk;
        int rc;

        if (!node)
            continue;
        if (a->cfg.pflash[i])
            return viv_fail(err, EEXIST, "-machine %s= and -drive if=pflash,unit=%u exclude each other", keys[i], i);
        rc = viv_blockdev_attach(node, VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, what, &blk, err);
        if (!rc)
            rc = viv_drive_add(node, blk, NULL, err);
        if (rc < 0) {
            viv_err_prefix(err, "-machine %s=%s", keys[i], node);
            return rc;
        }
        a->cfg.pflash[i] = node;
    }
    return 0;
}

int vm_open_storage(struct vm_args *a, struct viv_err *err)
{
    bool ide_device = names_ide_device(a);
    int rc;

    if (a->snapshot && a->blockdevs)
        return viv_fail(err, ENOTSUP, "-snapshot is for -drive, not for -blockdev: put a qcow2 node with backing= over it, or use -drive");
    FOR_ITEMS(a->blockdevs, it) {
        rc = viv_blockdev_add_text(it->text, err);
        if (rc < 0)
            return rc;
    }
    FOR_ITEMS(a->drives, it) {
        rc = strcmp(it->option, "-drive") ? open_short(a, it, err) : open_drive(a, it->text, err);
        if (rc < 0)
            return rc;
    }
    rc = claim_pflash(a, err);
    if (rc < 0)
        return rc;
    rc = ide_device ? 0 : default_cdrom(a, err);
    return rc < 0 ? rc : default_floppy(a, err);
}
