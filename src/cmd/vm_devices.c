/* Back ends and devices from what the command line said. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "chr/chr.h"
#include "machine/device_add.h"
#include "machine/vm.h"
#include "mon/mon.h"
#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- devices --- */

/* The transport is no device here; its one property of note is said by many command lines with virtio-mmio. */
static int transport_global(const char *prop, const char *value, struct viv_err *err)
{
    bool legacy;

    if (strcmp(prop, "force-legacy"))
        return viv_fail(err, EINVAL, "-global virtio-mmio.%.60s: there is no such property; there is force-legacy", prop);
    if (viv_parse_bool(value, &legacy, err) < 0) {
        viv_err_prefix(err, "-global virtio-mmio.force-legacy");
        return -EINVAL;
    }
    return legacy ? viv_fail(err, ENOTSUP, "-global virtio-mmio.force-legacy=%s: the registers are those of virtio 1 (version 2), which Linux "
                                           "since 4.0 knows; leave it out, or say off", value) : 0;
}

static int set_global(struct vm_args *a, const char *driver, const char *prop, const char *value, struct viv_err *err)
{
    if (!strcmp(driver, "virtio-mmio"))
        return transport_global(prop, value, err);
    return viv_dev_add_global(viv_device_alias(driver, vm_has_pci(a)), prop, value, err);
}

/* driver=D,property=P,value=V: the long form, for drivers with a dot in their name. */
static int long_global(struct vm_args *a, const char *text, struct viv_err *err)
{
    static const struct viv_opt_def def[] = {
        {.name = "driver", .type = VIV_OPT_STR}, {.name = "property", .type = VIV_OPT_STR}, {.name = "value", .type = VIV_OPT_STR}, VIV_OPT_END,
    };
    const char *driver, *prop, *value;
    struct viv_opts *o;
    int rc = viv_opts_parse("-global", def, NULL, text, &o, err);

    if (rc < 0)
        return rc;
    driver = viv_opts_str(o, "driver");
    prop = viv_opts_str(o, "property");
    value = viv_opts_str(o, "value");
    if (driver && prop && value)
        rc = set_global(a, driver, prop, value, err);
    else
        rc = viv_fail(err, EINVAL, "-global %.100s: it needs all of driver=, property= and value=", text);
    viv_opts_free(o);
    return rc;
}

int vm_set_globals(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    for (guint i = 0; a->globals && i < a->globals->len && !rc; i++) {
        const char *text = g_array_index(a->globals, struct vm_item, i).text;
        const char *eq = strchr(text, '='), *dot = eq ? memchr(text, '.', eq - text) : NULL;
        g_autofree char *driver = dot ? g_strndup(text, dot - text) : NULL;
        g_autofree char *prop = dot ? g_strndup(dot + 1, eq - dot - 1) : NULL;

        if (g_str_has_prefix(text, "driver=")) {
            rc = long_global(a, text, err);
            continue;
        }
        if (!dot)
            return viv_fail(err, EINVAL, "-global %.100s: it must be DRIVER.PROPERTY=VALUE", text);
        rc = set_global(a, driver, prop, eq + 1, err);
    }
    return rc;
}

int vm_make_device(struct vm_args *a, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc = viv_raw_parse("-device", "driver", text, &r, err);

    if (rc < 0)
        return rc;
    rc = viv_device_add("-device", r, false, err);
    viv_raw_free(r);
    return rc;
}

static bool names_one_of(const struct vm_args *a, const char *const *drivers)
{
    bool found = false;

    FOR_ITEMS(a->devices, it) {
        struct viv_raw_opts *r;
        struct viv_err err = VIV_ERR_INIT;
        const char *driver;

        if (viv_raw_parse("-device", "driver", it->text, &r, &err) < 0) { /* told when it is made */
            viv_err_clear(&err);
            continue;
        }
        driver = viv_raw_get(r, "driver");
        found |= driver && g_strv_contains(drivers, driver);
        viv_raw_free(r);
    }
    return found;
}

/* A -device that is a VGA: then there is none by default. (Adapters beside a VGA, such as bochs-display, do not count, as in
 * QEMU.) */
static bool names_vga(const struct vm_args *a)
{
    static const char *const vgas[] = {"VGA", "cirrus-vga", "virtio-vga", NULL};

    return names_one_of(a, vgas);
}

bool vm_expects_head(const struct vm_args *a)
{
    static const char *const others[] = {"bochs-display", "ramfb", "virtio-gpu-pci", "virtio-gpu-device", NULL};

    return a->vga || names_vga(a) || names_one_of(a, others) || (!a->given_vga && !a->nodefaults && vm_has_pci(a));
}

/* Before all others: it gets the slot that it has in QEMU (02.0). */
static int make_vga(struct vm_args *a, struct viv_err *err)
{
    if (!a->given_vga && !a->nodefaults && vm_has_pci(a) && !names_vga(a))
        a->vga = "VGA";
    if (!a->vga)
        return 0;
    if (!vm_has_pci(a))
        return viv_fail(err, ENOTSUP, "-vga: machine %s has no PCI bus for %s; use -M pc, or -vga none", a->cfg.cls->name, a->vga);
    return vm_make_device(a, a->vga, err);
}

/* Who gets a slot by itself gets it in QEMU's order: display, cards of -nic and -net, -device, disks of -drive (appended to those).
 * Guests name their cards after it: with a display and one card, ens3. */
int vm_make_devices(struct vm_args *a, struct viv_err *err)
{
    int rc = vm_make_fsdevs(a, err);

    if (!rc)
        rc = make_vga(a, err);

    if (!rc)
        rc = vm_make_usb(a, err);
    if (!rc)
        rc = vm_make_nets(a, err);

    for (guint i = 0; !rc && a->devices && i < a->devices->len; i++)
        rc = vm_make_device(a, g_array_index(a->devices, struct vm_item, i).text, err);
    if (!rc)
        rc = vm_make_usb_devices(a, err);
    if (!rc)
        rc = viv_dev_check_globals(err);
    for (struct viv_netdev *n = viv_netdev_next(NULL); !rc && n; n = viv_netdev_next(n)) {
        if (!viv_netdev_attached(n))
            viv_warn("netdev '%s' has no card: add -device virtio-net-%s,netdev=%s", viv_netdev_id(n),
                     vm_has_pci(a) ? "pci" : "device", viv_netdev_id(n));
    }
    return rc;
}

/* --- character back ends, serial ports, monitors --- */

static int make_serial(struct vm_args *a, const char *text, struct viv_err *err)
{
    unsigned n = a->cfg.serial_count;
    g_autofree char *id = g_strdup_printf("serial%u", n);

    if (n == G_N_ELEMENTS(a->cfg.serial))
        return viv_fail(err, EINVAL, "-serial: there are %u serial ports at most", n);
    a->cfg.serial_count++;
    return viv_chr_new_short("-serial", id, text, &a->cfg.serial[n], err);
}

#define VC "vc:80Cx24C" /* a text console, as QEMU makes it by default */

static bool monitor_by_default(const struct vm_args *a)
{
    return vm_has_screens(a) && !a->given_monitor && !a->nodefaults && !a->mons;
}

/* Text consoles are numbered as they are made, the monitors' first. */
static int make_monitor_consoles(struct vm_args *a, struct viv_err *err)
{
    unsigned n = 0;
    int rc = 0;

    if (monitor_by_default(a)) {
        struct vm_item item = {"-monitor", VC};

        if (!a->monitors)
            a->monitors = g_array_new(FALSE, FALSE, sizeof(item));
        g_array_append_val(a->monitors, item);
    }
    FOR_ITEMS(a->monitors, it) {
        g_autofree char *id = g_strdup_printf("compat_monitor%u", n++);
        struct viv_chr *c;

        if (!rc && (!strcmp(it->text, "vc") || g_str_has_prefix(it->text, "vc:")))
            rc = viv_chr_new_short(it->option, id, it->text, &c, err);
    }
    return rc;
}

static int make_parallel(struct vm_args *a, unsigned n, const char *text, struct viv_err *err)
{
    g_autofree char *id = g_strdup_printf("parallel%u", n);

    if (!strcmp(text, "none"))
        return 0;
    if (!vm_has_pci(a))
        return viv_fail(err, ENOTSUP, "-parallel %s: machine %s has no parallel port; -device isa-parallel,chardev=ID adds one", text,
                        a->cfg.cls->name);
    if (n == VIV_PARALLEL_PORTS)
        return viv_fail(err, EINVAL, "-parallel: there are %u parallel ports at most", n);
    return viv_chr_new_short("-parallel", id, text, &a->cfg.parallel[n], err);
}

/* Without a word, of -device either, there is a port whose printer is a text console, or nobody, as in QEMU. */
static int make_parallels(struct vm_args *a, struct viv_err *err)
{
    static const char *const ports[] = {"isa-parallel", NULL};
    unsigned n = 0;

    FOR_ITEMS(a->parallels, it) {
        int rc = make_parallel(a, n++, it->text, err);

        if (rc < 0)
            return rc;
    }
    return n || a->nodefaults || !vm_has_pci(a) || names_one_of(a, ports) ? 0 : make_parallel(a, 0, vm_has_screens(a) ? VC : "null", err);
}

/* It takes the terminal before default ports and monitors do. */
static int make_debugcon(struct vm_args *a, struct viv_err *err)
{
    struct viv_chr *c = NULL;
    int rc = a->debugcon ? viv_chr_new_short("-debugcon", "debugcon", a->debugcon, &c, err) : 0;

    if (!rc && c && g_str_has_prefix(a->debugcon, "mon:"))
        a->debugcon_mux = c;
    if (!rc && c)
        vm_add_device(a, g_strdup_printf("isa-debugcon,chardev=%s", viv_chr_id(c)));
    return rc;
}

/* Where the first serial port and the monitor go when nobody said. */
static int default_serial(struct vm_args *a, struct viv_err *err)
{
    static const char *const ports[] = {"isa-serial", NULL};

    if (a->given_serial || a->nodefaults || vm_machine_off(a, "isa-serial") || names_one_of(a, ports))
        return 0;
    if (vm_has_screens(a))
        return make_serial(a, VC, err);
    if (a->daemonize || a->display_none)
        return make_serial(a, "null", err);
    return make_serial(a, a->given_monitor || viv_chr_uses_stdio() ? (viv_chr_uses_stdio() ? "null" : "stdio")
                                                                   : "mon:stdio", err);
}

int vm_make_chardevs(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    if (a->nographic)
        viv_chr_stdio_signals(false);
    FOR_ITEMS(a->chardevs, it) {
        struct viv_raw_opts *r;
        struct viv_chr *c;

        rc = viv_raw_parse("-chardev", "backend", it->text, &r, err);
        if (rc < 0)
            return rc;
        rc = viv_chr_new(r, &c, err);
        viv_raw_free(r);
        if (rc < 0)
            return rc;
    }
    rc = make_debugcon(a, err);
    if (!rc)
        rc = make_monitor_consoles(a, err);
    if (rc < 0)
        return rc;
    FOR_ITEMS(a->serials, it) {
        rc = make_serial(a, it->text, err);
        if (rc < 0)
            return rc;
    }
    rc = default_serial(a, err);
    return rc < 0 ? rc : make_parallels(a, err);
}

static int short_monitor(const char *option, const char *text, struct viv_err *err)
{
    static unsigned count;
    g_autofree char *id = g_strdup_printf("compat_monitor%u", count++);
    struct viv_chr *c = viv_chr_find(id); /* a text console, made before */
    int rc = c ? 0 : viv_chr_new_short(option, id, text, &c, err);

    if (rc < 0 || !c)
        return rc;
    return strcmp(option, "-monitor") ? viv_qmp_new(c, !strcmp(option, "-qmp-pretty"), err)
                                      : viv_hmp_new(c, err);
}

static const char *const mon_modes[] = {"readline", "control", NULL};
const struct viv_opt_def vm_mon_opts[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .required = true, .help = "id of a -chardev"},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = mon_modes, .def = "readline"},
    {.name = "pretty", .type = VIV_OPT_BOOL, .help = "indented answers"},
    {.name = "id", .type = VIV_OPT_STR, .help = "name of the monitor"},
    VIV_OPT_END,
};

static int long_monitor(const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    struct viv_chr *c;
    int rc = viv_opts_parse("-mon", vm_mon_opts, "chardev", text, &o, err);

    if (rc < 0)
        return rc;
    c = viv_chr_find(viv_opts_str(o, "chardev"));
    if (!c)
        rc = viv_fail(err, ENOENT, "-mon: there is no -chardev with id '%s'", viv_opts_str(o, "chardev"));
    else if (!strcmp(viv_opts_str(o, "mode"), "control"))
        rc = viv_qmp_new(c, viv_opts_bool(o, "pretty"), err);
    else
        rc = viv_hmp_new(c, err);
    viv_opts_free(o);
    return rc;
}

int vm_make_monitors(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    FOR_ITEMS(a->monitors, it) {
        rc = short_monitor(it->option, it->text, err);
        if (rc < 0)
            return rc;
    }
    FOR_ITEMS(a->mons, it) {
        rc = long_monitor(it->text, err);
        if (rc < 0)
            return rc;
    }
    /* "mon:" serial ports, those we made ourselves included. */
    for (unsigned i = 0; i < a->cfg.serial_count && !rc; i++) {
        bool said = a->serials && i < a->serials->len;

        if (a->cfg.serial[i] && viv_chr_is_mux(a->cfg.serial[i]) &&
            (!said || g_str_has_prefix(g_array_index(a->serials, struct vm_item, i).text, "mon:")))
            rc = viv_hmp_new(a->cfg.serial[i], err);
    }
    if (!rc && a->debugcon_mux)
        rc = viv_hmp_new(a->debugcon_mux, err);
    if (!rc && a->nographic && !a->given_monitor && !a->nodefaults && !a->mons && !viv_chr_uses_stdio())
        rc = short_monitor("-monitor", "stdio", err);
    return rc;
}
