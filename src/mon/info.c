/* HMP's info commands that exist for people only. */
#include "mon/mon_int.h"

#include "accel/accel.h"
#include "bus/dev.h"
#include "bus/usb.h"
#include "cpu/x86/regs_text.h"
#include "machine/vm.h"

#include <errno.h>
#include <inttypes.h>

static int finish(GString *s, json_t **result)
{
    g_autofree char *text = g_utf8_make_valid(s->str, (gssize)s->len);

    *result = json_string(text);
    g_string_free(s, TRUE);
    return 0;
}

static void put_space(GString *s, const char *name, struct viv_space *space)
{
    static const char *const kinds[] = {
        [VIV_REGION_RAM] = "ram", [VIV_REGION_ROM] = "rom", [VIV_REGION_IO] = "i/o"};
    size_t n;
    g_autofree struct viv_range *r = viv_space_ranges(space, &n);

    g_string_append_printf(s, "%s\n", name);
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(s, "  %016" PRIx64 "-%016" PRIx64 " %s %s +%" PRIx64 "\n", r[i].start, r[i].last,
                               kinds[r[i].kind], viv_region_name(r[i].region), r[i].region_offset);
}

int viv_mon_info_mtree(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    GString *s = g_string_new(NULL);

    put_space(s, "memory", viv_vm_board()->mem);
    if (viv_vm_board()->smm)
        put_space(s, "memory in system management mode", viv_vm_board()->smm);
    put_space(s, "I/O", viv_vm_board()->io);
    return finish(s, result);
}

int viv_mon_info_qtree(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    GString *s = g_string_new(NULL);

    for (struct viv_dev *d = viv_dev_first(); d; d = d->next)
        g_string_append_printf(s, "dev: %s, id \"%s\", path %s\n", d->cls->name, d->id ? d->id : "",
                               d->path);
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

int viv_mon_info_registers(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    bool running = viv_mon_freeze();
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        g_string_append_printf(s, "CPU#%u\n", viv_vcpus[i]->index);
        viv_x86_put_regs(s, viv_vcpus[i]->x86);
    }
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
