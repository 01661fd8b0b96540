/* MSI-X (PCI 3.0, 6.8.2): the table, the pending bits, masking.
 *
 * A message whose vector or function is masked is remembered in its pending bit and sent when the mask goes
 * away. A message is a write to memory: a function that may not make one (command register, bus master) keeps it likewise. */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

#define ENTRY_SIZE   16
#define VECTOR_MASK  1u
#define MAX_VECTORS  2048
#define MIN_BAR_SIZE 4096

static uint16_t control(const struct viv_pci_dev *d)
{
    return d->msix_cap ? viv_ld_le16(d->config + d->msix_cap + MSIX_CONTROL) : 0;
}

bool viv_msix_enabled(const struct viv_pci_dev *d)
{
    return control(d) & MSIX_CONTROL_ENABLE;
}

bool viv_msix_masked(const struct viv_pci_dev *d, unsigned vector)
{
    return (control(d) & MSIX_CONTROL_MASK) || (d->msix[vector].control & VECTOR_MASK);
}

static void deliver(struct viv_pci_dev *d, unsigned vector)
{
    const struct viv_msix_vector *v = &d->msix[vector];

    if (viv_msix_masked(d, vector) || !viv_pci_bus_master(d)) {
        d->msix_pending[vector] = 1;
        return;
    }
    d->msix_pending[vector] = 0;
    viv_msi_send(d->dev.board->intc, v->addr, v->data);
}

void viv_msix_notify(struct viv_pci_dev *d, unsigned vector)
{
    if (vector < d->msix_count && viv_msix_enabled(d))
        deliver(d, vector);
}

static void vector_changed(struct viv_pci_dev *d, unsigned vector)
{
    if (d->msix_changed)
        d->msix_changed(d, vector);
    if (d->msix_pending[vector] && viv_msix_enabled(d))
        deliver(d, vector);
}

void viv_msix_send_pending(struct viv_pci_dev *d)
{
    for (unsigned v = 0; v < d->msix_count; v++)
        vector_changed(d, v);
}

/* ---- the BAR ---- */

static uint32_t pba_offset(const struct viv_pci_dev *d)
{
    return (d->msix_count * ENTRY_SIZE + 7) & ~7u;
}

static uint32_t pba_read(const struct viv_pci_dev *d, uint64_t off)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < 32; i++) {
        uint64_t vector = off * 8 + i;

        if (vector < d->msix_count && d->msix_pending[vector])
            bits |= 1u << i;
    }
    return bits;
}

static uint64_t msix_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_pci_dev *d = opaque;
    const struct viv_msix_vector *v;

    if (off >= d->msix_count * ENTRY_SIZE)
        return off >= pba_offset(d) ? pba_read(d, off - pba_offset(d)) : 0;
    v = &d->msix[off / ENTRY_SIZE];
    switch (off % ENTRY_SIZE) {
    case 0:
        return (uint32_t)v->addr;
    case 4:
        return v->addr >> 32;
    case 8:
        return v->data;
    default:
        return v->control;
    }
}

static void msix_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_pci_dev *d = opaque;
    struct viv_msix_vector *v;

    if (off >= d->msix_count * ENTRY_SIZE)
        return; /* pending bits are read only */
    v = &d->msix[off / ENTRY_SIZE];
    switch (off % ENTRY_SIZE) {
    case 0:
        v->addr = (v->addr & ~0xffffffffull) | (value & ~3ull);
        break;
    case 4:
        v->addr = (uint32_t)v->addr | value << 32;
        break;
    case 8:
        v->data = (uint32_t)value;
        break;
    default:
        v->control = value & VECTOR_MASK;
    }
    vector_changed(d, (unsigned)(off / ENTRY_SIZE));
}

int viv_msix_init(struct viv_pci_dev *d, unsigned count, unsigned bar, struct viv_err *err)
{
    static const struct viv_region_ops ops = {msix_read, msix_write, 4, 4, false, false};
    struct viv_region_desc desc = {.name = "msix", .kind = VIV_REGION_IO, .ops = &ops, .opaque = d};
    uint8_t *cap;
    uint8_t at;

    if (!count || count > MAX_VECTORS)
        return viv_fail(err, EINVAL, "%u MSI-X vectors: 1 to %u are possible", count, MAX_VECTORS);
    at = viv_pci_add_cap(d, PCI_CAP_MSIX, 12);
    if (!at)
        return viv_fail(err, ENOSPC, "no room for the MSI-X capability");
    d->msix_cap = at;
    d->msix_count = (uint16_t)count;
    d->msix = g_new0(struct viv_msix_vector, count);
    d->msix_pending = g_new0(uint8_t, count);

    cap = d->config + at;
    viv_st_le16(cap + MSIX_CONTROL, (uint16_t)(count - 1));
    viv_st_le32(cap + MSIX_TABLE, bar);
    viv_st_le32(cap + MSIX_PBA, pba_offset(d) | bar);
    viv_st_le16(d->wmask + at + MSIX_CONTROL, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK);

    desc.size = MIN_BAR_SIZE;
    while (desc.size < pba_offset(d) + (count + 63) / 64 * 8)
        desc.size *= 2;
    d->msix_region = viv_region_new(d->dev.board->mem, &desc);
    viv_pci_add_bar(d, bar, d->msix_region, desc.size, false, false, false);
    viv_msix_reset(d);
    return 0;
}

void viv_msix_fini(struct viv_pci_dev *d)
{
    g_free(d->msix);
    g_free(d->msix_pending);
    d->msix = NULL;
    d->msix_pending = NULL;
    d->msix_count = 0;
    d->msix_cap = 0;
}

void viv_msix_reset(struct viv_pci_dev *d)
{
    for (unsigned v = 0; v < d->msix_count; v++) {
        d->msix[v] = (struct viv_msix_vector){.control = VECTOR_MASK};
        d->msix_pending[v] = 0;
        if (d->msix_changed)
            d->msix_changed(d, v);
    }
}

/* ---- state: the number of vectors, then each entry with its pending bit ---- */

void viv_msix_save(struct viv_state_writer *w, const void *obj)
{
    const struct viv_pci_dev *d = obj;

    viv_state_put_u32(w, d->msix_count);
    for (unsigned v = 0; v < d->msix_count; v++) {
        viv_state_put_u64(w, d->msix[v].addr);
        viv_state_put_u32(w, d->msix[v].data);
        viv_state_put_u32(w, d->msix[v].control | (uint32_t)d->msix_pending[v] << 1);
    }
}

int viv_msix_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_pci_dev *d = obj;
    uint32_t count, bits;
    int rc = viv_state_get_u32(r, &count, err);

    if (rc == 0 && count != d->msix_count)
        return viv_fail(err, EINVAL, "%u MSI-X vectors, here the device has %u", count,
                        d->msix_count);
    for (unsigned v = 0; v < d->msix_count && rc == 0; v++) {
        rc = viv_state_get_u64(r, &d->msix[v].addr, err);
        if (rc == 0)
            rc = viv_state_get_u32(r, &d->msix[v].data, err);
        if (rc == 0)
            rc = viv_state_get_u32(r, &bits, err);
        if (rc < 0)
            return rc;
        if (bits > 3)
            return viv_fail(err, EINVAL, "MSI-X vector %u: bad bits %x", v, bits);
        d->msix[v].control = bits & VECTOR_MASK;
        d->msix_pending[v] = bits >> 1;
    }
    return rc;
}
