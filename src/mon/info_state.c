/* What a device's table of saved state names, as text: info pic, info lapic, info device. */
#include "mon/mon_int.h"

#include "bus/dev.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "machine/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MOST 32 /* elements of an array that are shown */

static void put_fields(const struct viv_state_table *t, const uint8_t *obj, unsigned depth, GString *out);

static uint64_t integer(const uint8_t *p, size_t size)
{
    uint64_t v = 0;

    memcpy(&v, p, MIN(size, sizeof(v)));
    return v;
}

static void put_numbers(const struct viv_field *f, const uint8_t *p, GString *out)
{
    size_t count = f->kind == VIV_FIELD_BYTES ? f->size : f->count, size = f->kind == VIV_FIELD_BYTES ? 1 : f->size;

    for (size_t i = 0; i < count && i < MOST; i++)
        g_string_append_printf(out, " %0*" PRIx64, (int)(f->kind == VIV_FIELD_BOOL ? 1 : 2 * MIN(size, 8)), integer(p + i * size, size));
    g_string_append_printf(out, count > MOST ? " ... (%zu)\n" : "\n", count);
}

static void put_field(const struct viv_field *f, const uint8_t *obj, unsigned depth, GString *out)
{
    const uint8_t *p = obj + f->offset;

    if (f->kind != VIV_FIELD_INT && f->kind != VIV_FIELD_BOOL && f->kind != VIV_FIELD_BYTES && f->kind != VIV_FIELD_STRUCT)
        return; /* timers, queues and what is not state */
    for (size_t i = 0; f->kind == VIV_FIELD_STRUCT && i < f->count && i < MOST; i++) {
        g_string_append_printf(out, "%*s%s", (int)depth * 2, "", f->name);
        g_string_append_printf(out, f->count > 1 ? "[%zu]:\n" : ":\n", i);
        put_fields(f->sub, p + i * f->size, depth + 1, out);
    }
    if (f->kind == VIV_FIELD_STRUCT)
        return;
    g_string_append_printf(out, "%*s%s:", (int)depth * 2, "", f->name);
    put_numbers(f, p, out);
}

static void put_fields(const struct viv_state_table *t, const uint8_t *obj, unsigned depth, GString *out)
{
    for (const struct viv_field *f = t->fields; f->name && depth < 8; f++)
        put_field(f, obj, depth, out);
}

static void put_device(const struct viv_dev *d, GString *out)
{
    g_string_append_printf(out, "%s:\n", d->path);
    put_fields(d->cls->state, (const uint8_t *)d, 1, out);
}

static int finish(GString *out, json_t **result)
{
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

int viv_mon_info_pic(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    GString *out = g_string_new(NULL);

    for (const struct viv_dev *d = viv_dev_first(); d; d = d->next)
        if (!strcmp(d->cls->name, "i8259") || !strcmp(d->cls->name, "ioapic"))
            put_device(d, out);
    if (!out->len && viv_vm_board()->intc->ops->kernel_irqchip)
        g_string_append(out, "the interrupt controllers are the kernel's (KVM)\n");
    return finish(out, result);
}

/* As QEMU lists them: by the name of the controller there, inputs that never were raised left out. */
int viv_mon_info_irq(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    GString *out = g_string_new(NULL);

    for (const struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        unsigned n = 0;
        const uint64_t *count = d->cls->irq_counts ? d->cls->irq_counts(d, &n) : NULL;

        if (count)
            g_string_append_printf(out, "IRQ statistics for %s%s:\n", d->cls->bus == VIV_BUS_ISA ? "isa-" : "", d->cls->name);
        for (unsigned i = 0; i < n; i++)
            if (count[i])
                g_string_append_printf(out, "%2u: %" PRIu64 "\n", i, count[i]);
    }
    if (!out->len && viv_vm_board()->intc->ops->kernel_irqchip)
        g_string_append(out, "the interrupt controllers are the kernel's (KVM), which does not tell\n");
    return finish(out, result);
}

static const struct viv_vcpu *by_apic_id(int64_t id)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        if (viv_vcpus[i]->apic_id == id)
            return viv_vcpus[i];
    }
    return NULL;
}

int viv_mon_info_lapic(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const struct viv_vcpu *v = viv_mon_cpu(err);
    bool running;
    GString *out;

    if (!v)
        return -ENODEV;
    if (viv_opts_given(o, "apic-id") && !(v = by_apic_id(viv_opts_int(o, "apic-id"))))
        return viv_fail(err, ENOENT, "there is no CPU with APIC id %" PRId64 ": info cpus lists them", viv_opts_int(o, "apic-id"));
    if (!v->apic)
        return viv_fail(err, ENOTSUP, "the local APICs are the kernel's (KVM); -accel xlate has its own");
    out = g_string_new(NULL);
    running = viv_mon_freeze();
    g_string_append_printf(out, "local APIC of CPU %u:\n", v->index);
    put_fields(&viv_apic_state, (const uint8_t *)v->apic, 1, out);
    viv_mon_thaw(running);
    return finish(out, result);
}

int viv_mon_info_device(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "id");
    const struct viv_dev *d = viv_dev_find(name);
    GString *out;

    for (const struct viv_dev *x = viv_dev_first(); !d && x; x = x->next)
        d = strcmp(x->path, name) ? NULL : x;
    if (!d)
        return viv_fail(err, ENODEV, "there is no device '%.80s'; info qtree has ids and paths", name);
    out = g_string_new(NULL);
    put_device(d, out);
    return finish(out, result);
}
