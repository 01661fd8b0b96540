/* The device behind ACPI's generic event device (ACPI 6.4, 5.6.9) and the sleep and reset registers of
 * hardware-reduced ACPI (4.8.3.7, 4.8.4.6): power button, power-off, reset. The layout is ours; the tables tell it. */
#include "dev/acpi/ged.h"

#include "base/log.h"
#include "bus/vmreq.h"

enum { SLP_EN = 1 << 5, SLP_TYP_SHIFT = 2, SLP_TYP_MASK = 7, STATUS_WAK = 1 << 7 };

struct ged {
    struct viv_dev dev;
    uint32_t events;
    uint8_t sleep_ctl, sleep_status;
    struct viv_irq irq;
    struct viv_region *region;
};

static void update(struct ged *g)
{
    viv_irq_set(&g->irq, g->events != 0);
}

static uint64_t ged_read(void *opaque, uint64_t off, unsigned size)
{
    struct ged *g = opaque;
    uint32_t v = 0;

    if (off == VIV_GED_EVENT && size == 4) {
        v = g->events;
        g->events = 0;
        update(g);
    } else if (off == VIV_GED_SLEEP_CTL) {
        v = g->sleep_ctl;
    } else if (off == VIV_GED_SLEEP_STATUS) {
        v = g->sleep_status;
    }
    return v;
}

static void sleep_control(struct ged *g, uint8_t v)
{
    g->sleep_ctl = v & (uint8_t)(SLP_TYP_MASK << SLP_TYP_SHIFT); /* SLP_EN reads as 0 */
    if (!(v & SLP_EN))
        return;
    if ((v >> SLP_TYP_SHIFT & SLP_TYP_MASK) == VIV_GED_SLP_TYP_S5)
        viv_vm_request(VIV_VM_SHUTDOWN, 0, "ACPI S5");
    else
        viv_guest_error("acpi-ged", "sleep type %u is not there", v >> SLP_TYP_SHIFT & SLP_TYP_MASK);
}

static void ged_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct ged *g = opaque;

    switch (off) {
    case VIV_GED_SLEEP_CTL:
        sleep_control(g, (uint8_t)v);
        break;
    case VIV_GED_SLEEP_STATUS:
        g->sleep_status &= (uint8_t)~(v & STATUS_WAK); /* write one to clear */
        break;
    case VIV_GED_RESET:
        if ((uint8_t)v == VIV_GED_RESET_VALUE)
            viv_vm_request(VIV_VM_RESET, 0, "ACPI reset register");
        break;
    }
}

void viv_ged_connect(struct viv_dev *d, uint64_t base, const struct viv_irq *irq)
{
    struct ged *g = (struct ged *)d;

    g->irq = *irq;
    viv_region_map(g->region, base, 0);
}

void viv_ged_power_button(struct viv_dev *d)
{
    struct ged *g = (struct ged *)d;

    g->events |= VIV_GED_EVENT_POWER_BUTTON;
    update(g);
}

static int ged_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {ged_read, ged_write, 1, 4, false, false};
    struct ged *g = (struct ged *)d;
    struct viv_region_desc desc = {
        .name = "acpi-ged", .kind = VIV_REGION_IO, .size = VIV_GED_SIZE, .ops = &ops, .opaque = g};

    g->region = viv_region_new(d->board->mem, &desc);
    return 0;
}

static void ged_unrealize(struct viv_dev *d)
{
    viv_region_free(((struct ged *)d)->region);
}

static void ged_reset(struct viv_dev *d)
{
    struct ged *g = (struct ged *)d;

    g->events = 0;
    g->sleep_ctl = 0;
    g->sleep_status = 0;
    update(g);
}

static const struct viv_state_table ged_state = {
    .name = "acpi-ged",
    .ctype = "ged",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ged, dev),
            VIV_F_INT(ged, events),
            VIV_F_INT(ged, sleep_ctl),
            VIV_F_INT(ged, sleep_status),
            VIV_F_CONFIG(ged, irq),
            VIV_F_CONFIG(ged, region),
            VIV_F_END,
        },
};

const struct viv_dev_class viv_dev_ged = {
    .name = "acpi-ged",
    .desc = "generic event device: power button, power-off, reset",
    .internal = true,
    .size = sizeof(struct ged),
    .state = &ged_state,
    .realize = ged_realize,
    .reset = ged_reset,
    .unrealize = ged_unrealize,
};
