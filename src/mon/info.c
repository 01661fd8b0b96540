/* HMP's info commands that exist for people only. */
#include "mon/mon_int.h"

#include "accel/accel.h"
#include "bus/dev.h"
#include "bus/usb.h"
#include "cpu/x86/regs_text.h"
#include "machine/vm.h"

#include <errno.h>
#include <inttypes.h>

json_t *viv_mon_text(const char *text)
{
    g_autofree char *clean = g_utf8_make_valid(text, -1);

    return json_string(clean);
}

static int finish(GString *s, json_t **result)
{
    *result = viv_mon_text(s->str);
    g_string_free(s, TRUE);
    return 0;
}

static void put_ranges(GString *s, struct viv_space *space, unsigned indent)
{
    static const char *const kinds[] = {
        [VIV_REGION_RAM] = "ram", [VIV_REGION_ROM] = "rom", [VIV_REGION_IO] = "i/o"};
    size_t n;
    g_autofree struct viv_space_range *r = viv_space_ranges(space, &n);

    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(s, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", indent, "", r[i].start, r[i].last,
                               viv_region_priority(r[i].region), kinds[r[i].kind], viv_region_name(r[i].region));
        if (r[i].region_offset)
            g_string_append_printf(s, " @%016" PRIx64, r[i].region_offset);
        g_string_append_c(s, '\n');
    }
}

static void put_name(GString *s, bool flat, const char *name, const char *root)
{
    if (flat)
        g_string_append_printf(s, " AS \"%s\", root: %s\n", name, root);
    else
        g_string_append_printf(s, "address-space: %s\n", name);
}

/* The head of a view: its name and those of the CPUs that see it ("cpu-memory-0"); `root` is QEMU's word. */
static void put_names(GString *s, bool flat, const char *name, const char *of_cpus, const char *root)
{
    if (name)
        put_name(s, flat, name, root);
    for (unsigned i = 0; of_cpus && i < viv_vcpu_count; i++) {
        g_autofree char *full = g_strdup_printf("%s-%u", of_cpus, i);

        put_name(s, flat, full, root);
    }
}

/* QEMU's words and layout, for eyes and programs that know them. The flat view is all that there is here: without -f it stands
 * under the root of each space. */
int viv_mon_info_mtree(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const struct viv_board *b = viv_vm_board();
    const struct { struct viv_space *space; const char *name, *of_cpus, *root; uint64_t last; } spaces[] = {
        {b->mem, "memory", "cpu-memory", "system", UINT64_MAX}, {b->io, "I/O", NULL, "io", 0xffff}, {b->smm, NULL, "cpu-smm", "memory", UINT64_MAX}};
    bool flat = viv_opts_bool(o, "flatview");
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(spaces) && spaces[i].space; i++) {
        if (flat)
            g_string_append_printf(s, "FlatView #%u\n", i);
        put_names(s, flat, spaces[i].name, spaces[i].of_cpus, spaces[i].root);
        if (flat)
            g_string_append_printf(s, " Root memory region: %s\n", spaces[i].root);
        else
            g_string_append_printf(s, "  0000000000000000-%016" PRIx64 " (prio 0, i/o): %s\n", spaces[i].last, spaces[i].root);
        put_ranges(s, spaces[i].space, flat ? 2 : 4);
        g_string_append_c(s, '\n');
    }
    return finish(s, result);
}

/* Number of the bus and address, as the guest gave it. */
int viv_mon_info_usb(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    GString *s;

    if (!viv_usb_bus_next(NULL))
        return viv_fail(err, ENODEV, "this machine has no USB; -usb gives it a controller");
    s = g_string_new(NULL);
    for (struct viv_usb_bus *b = viv_usb_bus_next(NULL); b; b = viv_usb_bus_next(b)) {
        for (struct viv_usb_port *p = viv_usb_port_next(b, NULL); p; p = viv_usb_port_next(b, p)) {
            const struct viv_usb_dev *d = p->dev;

            if (d)
                g_string_append_printf(s, "  Device %u.%u, Port %s, Speed %s Mb/s, Product %s%s%s\n", viv_usb_bus_number(b), d->address,
                                       p->path, viv_usb_speed_text(d->speed), d->desc->strings[d->desc->name - 1],
                                       d->dev.id ? ", ID: " : "", d->dev.id ? d->dev.id : "");
        }
    }
    return finish(s, result);
}

bool viv_mon_freeze(void)
{
    bool running = viv_vm_state() == VIV_RUN_RUNNING;

    if (running)
        viv_vcpus_stop();
    return running;
}

void viv_mon_thaw(bool was_running)
{
    if (was_running)
        viv_vcpus_start();
}

static void put_cpu(GString *s, const struct viv_vcpu *v)
{
    g_string_append_printf(s, "\nCPU#%u\n", v->index);
    viv_x86_put_regs(s, v->x86);
    viv_x86_put_fpu(s, v->x86);
}

int viv_mon_info_registers(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    int64_t n = viv_opts_given(o, "vcpu") ? viv_opts_int(o, "vcpu") : viv_mon_current_cpu();
    bool all = viv_opts_bool(o, "all"), running;
    GString *s;

    if (!viv_mon_cpu(err))
        return -ENODEV;
    if (n >= viv_vcpu_count)
        return viv_fail(err, EINVAL, "CPU#%" PRId64 " not available: 0 to %u", n, viv_vcpu_count - 1);
    s = g_string_new(NULL);
    running = viv_mon_freeze();
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        if (all || i == n)
            put_cpu(s, viv_vcpus[i]);
    viv_mon_thaw(running);
    return finish(s, result);
}

/* Stopped for the moment: pages are counted from tables that a running vCPU changes. */
int viv_mon_info_jit(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const struct viv_accel *a = viv_vm_accel();
    bool running;
    GString *s;

    if (!a->info_jit)
        return viv_fail(err, ENOTSUP, "the CPU runs on %s, which makes no code; only -accel xlate has these figures",
                        a->name);
    s = g_string_new(NULL);
    running = viv_mon_freeze();
    a->info_jit(viv_vm_board()->mem, s);
    viv_mon_thaw(running);
    *result = json_pack("{s:s}", "human-readable-text", s->str);
    g_string_free(s, TRUE);
    return 0;
}
