/* Prints every table of saved state that a device class reaches, for tools/check-state: a line a table, then a
 * line a field. */
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "dev/devices.h"

#include <glib.h>
#include <stdio.h>

/* Tables that no class points to: reached through CUSTOM fields or saved by the machine. */
#define EXTRA_TABLES(_)                                                                            \
    _(viv_vcpu_state)                                                                              \
    _(viv_x86_state)                                                                               \
    _(viv_nvme_sq_state)                                                                           \
    _(viv_nvme_cq_state)                                                                           \
    _(viv_virtq_state)                                                                             \
    _(gpu_head_state)                                                                              \
    _(viv_apic_state)

#define _(symbol) extern const struct viv_state_table symbol;
EXTRA_TABLES(_)
#undef _

static GHashTable *seen;

static const char *kind_name(enum viv_field_kind k)
{
    static const char *const names[] = {
        [VIV_FIELD_INT] = "int",           [VIV_FIELD_BOOL] = "bool",
        [VIV_FIELD_BYTES] = "bytes",       [VIV_FIELD_STRUCT] = "struct",
        [VIV_FIELD_VARBYTES] = "varbytes", [VIV_FIELD_TIMER] = "timer",
        [VIV_FIELD_CUSTOM] = "custom",     [VIV_FIELD_DERIVED] = "derived",
        [VIV_FIELD_CONFIG] = "config",
    };

    return names[k];
}

/* `size`: of the instance, 0 when the caller does not know. */
static void dump(const struct viv_state_table *t, size_t size)
{
    if (!g_hash_table_add(seen, (gpointer)t))
        return;
    printf("table %s %s %zu\n", t->name, t->ctype, size);
    for (const struct viv_field *f = t->fields; f->name; f++)
        printf("field %s %s %zu %zu %zu %d %s\n", f->name, kind_name(f->kind), f->offset, f->size,
               f->count, f->kind != VIV_FIELD_DERIVED || (f->why && *f->why), f->sub ? f->sub->name : "-");
    for (const struct viv_field *f = t->fields; f->name; f++) {
        if (f->sub)
            dump(f->sub, f->kind == VIV_FIELD_STRUCT ? f->size : 0);
    }
}

/* Behind a virtio transport stands the device function, with a table of its own. */
static void dump_function(const struct viv_dev_class *c)
{
    const struct viv_virtio_class *fn = NULL;

    if (c->state == &viv_virtio_pci_state)
        fn = ((const struct viv_virtio_pci_data *)c->data)->fn;
    else if (c->state == &viv_virtio_mmio_state)
        fn = c->data;
    if (fn)
        dump(fn->state, fn->size);
}

int main(void)
{
    seen = g_hash_table_new(NULL, NULL);
    for (const struct viv_dev_class *const *c = viv_devices; *c; c++) {
        printf("class %s\n", (*c)->name);
        dump((*c)->state, (*c)->size);
        dump_function(*c);
    }
    printf("class -\n");
#define _(symbol) dump(&symbol, 0);
    EXTRA_TABLES(_)
#undef _
    return 0;
}
