/* Slots of PCI Express ports with native hot-plug (PCI Express Base 3.0, 6.7 and 7.8.9 to 7.8.11): attention button, power
 * controller, indicators, presence, link state, command completed. No latch, no interlock; power never fails.
 *
 * The registers are configuration space, and saved as that. Commands take no time: each write to Slot Control completes at once. A
 * slot without power has no link, so nobody answers behind it. The guest takes power away: then what was in the slot has gone. */
#include "bus/pci_int.h"

#include "base/bytes.h"
#include "base/units.h"
#include "host/clock.h"

#include <errno.h>

#define ASK_AGAIN_NS (5 * (int64_t)VIV_NS_PER_SEC) /* as QEMU has it: scripts know it */

enum {
    SECONDARY_BUS = 0x19, /* from the configuration space's start */
    LINK_STATUS = 0x12, /* from the capability's start */
    SLOT_CAPABILITIES = 0x14,
    SLOT_CONTROL = 0x18,
    SLOT_STATUS = 0x1a,

    CAP_ATTENTION_BUTTON = 1 << 0,
    CAP_POWER_CONTROLLER = 1 << 1,
    CAP_ATTENTION_INDICATOR = 1 << 3,
    CAP_POWER_INDICATOR = 1 << 4,
    CAP_HOT_PLUG = 1 << 6,

    EVENTS = 0x001f,        /* attention button, power fault, latch, presence, command completed: the same bits enable them */
    COMMAND_COMPLETED = 1 << 4,
    INTERRUPTS = 1 << 5,    /* in Slot Control */
    ATTENTION_OFF = 3 << 6,
    POWER_INDICATOR = 3 << 8,
    POWER_ON = 1 << 8,
    POWER_BLINKS = 2 << 8,
    POWER_IS_OFF = 3 << 8,
    NO_POWER = 1 << 10,
    LINK_ENABLE = 1 << 12,
    CONTROL_WRITABLE = 0x17ff & ~(1 << 11),

    BUTTON_PRESSED = 1 << 0, /* in Slot Status */
    PRESENCE_CHANGED = 1 << 3,
    PRESENT = 1 << 6,
    LINK_CHANGED = 1 << 8,
    STATUS_CLEARS = EVENTS | LINK_CHANGED,

    LINK_ACTIVE = 1 << 13,
};

static uint8_t *reg(struct viv_pci_dev *d, unsigned at)
{
    return d->config + d->pcie_cap + at;
}

static uint16_t get(const struct viv_pci_dev *d, unsigned at)
{
    return viv_ld_le16(d->config + d->pcie_cap + at);
}

static bool has_slot(const struct viv_pci_dev *d)
{
    return d->pcie_cap && viv_ld_le32(d->config + d->pcie_cap + SLOT_CAPABILITIES) & CAP_HOT_PLUG;
}

static bool occupied(const struct viv_pci_dev *d)
{
    struct viv_pci_bus *below = viv_pci_bus_behind(d);

    for (unsigned fn = 0; below && fn < 8; fn++) {
        if (viv_pci_at(below, fn))
            return true;
    }
    return false;
}

/* ---- interrupts (6.7.3.4) ---- */

static bool wants_interrupt(const struct viv_pci_dev *d)
{
    uint16_t control = get(d, SLOT_CONTROL), status = get(d, SLOT_STATUS);

    return control & INTERRUPTS && ((status & control & EVENTS) || (status & LINK_CHANGED && control & LINK_ENABLE));
}

/* A message is sent when there comes a reason for one. */
static void update_interrupt(struct viv_pci_dev *d)
{
    bool want = wants_interrupt(d);

    if (viv_msi_enabled(d)) {
        viv_pci_set_intx(d, 0);
        if (want && !d->slot_told)
            viv_msi_notify(d, 0);
    } else {
        viv_pci_set_intx(d, want);
    }
    d->slot_told = want;
}

/* Presence and link as they are now; `events` say what has changed. */
static void update(struct viv_pci_dev *d, uint16_t events)
{
    bool there = occupied(d), link = there && !(get(d, SLOT_CONTROL) & NO_POWER);
    uint16_t old = get(d, LINK_STATUS), now = (uint16_t)((old & ~LINK_ACTIVE) | (link ? LINK_ACTIVE : 0));

    if (old != now && events)
        events |= LINK_CHANGED;
    viv_st_le16(reg(d, LINK_STATUS), now);
    viv_st_le16(reg(d, SLOT_STATUS), (uint16_t)((get(d, SLOT_STATUS) & STATUS_CLEARS) | events | (there ? PRESENT : 0)));
    update_interrupt(d);
}

/* ---- the machine's side ---- */

void viv_pcie_set_present(struct viv_pci_dev *port)
{
    if (has_slot(port)) {
        uint16_t control = get(port, SLOT_CONTROL) & ~(POWER_INDICATOR | NO_POWER);

        viv_st_le16(reg(port, SLOT_CONTROL), (uint16_t)(control | (occupied(port) ? POWER_ON : POWER_IS_OFF | NO_POWER)));
    }
    update(port, 0);
}

/* The bus has no number since the reset (PCI-to-PCI Bridge 1.2, 3.2.5.4), so nobody can have looked behind the port. What comes or goes
 * now has been there, or not, all the time: firmware, which knows nothing of hot-plug, finds it. */
static bool nobody_looked(const struct viv_pci_dev *port)
{
    return port->config[SECONDARY_BUS] == 0;
}

/* As if somebody pushed the card in and pressed the button: guests that see a button do not look at presence. For the functions
 * other than 0 they look when that comes. */
static void plugged(void *opaque, struct viv_pci_dev *d)
{
    if (nobody_looked(opaque))
        viv_pcie_set_present(opaque);
    else if (!(d->devfn & 7))
        update(opaque, PRESENCE_CHANGED | BUTTON_PRESSED);
}

static bool blinks(const struct viv_pci_dev *port)
{
    return (get(port, SLOT_CONTROL) & POWER_INDICATOR) == POWER_BLINKS;
}

/* The button was pressed for a function in the slot, and the guest may be about to act on it. Guests throw away what happened before
 * they were up: after a while, if nothing blinks, it is as if nobody had. */
static const struct viv_pci_dev *asked_for(struct viv_pci_dev *port)
{
    struct viv_pci_bus *below = viv_pci_bus_behind(port);
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    for (unsigned fn = 0; fn < 8; fn++) {
        const struct viv_pci_dev *d = viv_pci_at(below, fn);

        if (d && d->dev.life == VIV_DEV_ASKED && (blinks(port) || now - d->dev.asked_ns < ASK_AGAIN_NS))
            return d;
    }
    return NULL;
}

/* One press is for all functions in the slot; a second one would take it back. */
static int ask(void *opaque, struct viv_pci_dev *d, struct viv_err *err)
{
    struct viv_pci_dev *port = opaque;
    bool pressed;

    if (get(port, SLOT_CONTROL) & NO_POWER || nobody_looked(port))
        return 1;
    pressed = asked_for(port) != NULL;
    if (pressed && d->dev.life == VIV_DEV_ASKED)
        return viv_fail(err, EBUSY, "Device %s is already in the process of unplug", d->dev.id ? d->dev.id : d->dev.cls->name);
    if (!pressed && blinks(port))
        return viv_fail(err, EBUSY, "Hot-unplug failed: guest is busy (power indicator blinking)");
    if (!pressed)
        update(port, BUTTON_PRESSED);
    return 0;
}

static void pulled(void *opaque, struct viv_pci_dev *d)
{
    if (nobody_looked(opaque))
        viv_pcie_set_present(opaque);
    else if (!occupied(opaque))
        update(opaque, PRESENCE_CHANGED);
}

static const struct viv_pci_slots slots = {.plugged = plugged, .ask = ask, .pulled = pulled};

void viv_pcie_add_slot(struct viv_pci_dev *port, struct viv_pci_bus *below)
{
    uint32_t cap = viv_ld_le32(reg(port, SLOT_CAPABILITIES));

    viv_st_le32(reg(port, SLOT_CAPABILITIES), cap | CAP_ATTENTION_BUTTON | CAP_POWER_CONTROLLER | CAP_ATTENTION_INDICATOR |
                                                  CAP_POWER_INDICATOR | CAP_HOT_PLUG);
    viv_st_le16(port->wmask + port->pcie_cap + SLOT_CONTROL, CONTROL_WRITABLE);
    viv_st_le16(port->w1cmask + port->pcie_cap + SLOT_STATUS, STATUS_CLEARS);
    viv_pci_bus_set_slots(below, &slots, port);
    viv_pcie_slot_reset(port);
}

bool viv_pcie_link_up(const struct viv_pci_dev *port)
{
    return !has_slot(port) || !(get(port, SLOT_CONTROL) & NO_POWER);
}

/* ---- the guest's side ---- */

/* 6.7.1.8: blinking means that it is being let go of; back to on, that the guest has thought better of it. */
static void look_at_indicator(struct viv_pci_dev *port, uint16_t old, uint16_t now)
{
    struct viv_pci_bus *below = viv_pci_bus_behind(port);

    if ((old & POWER_INDICATOR) != POWER_BLINKS || (now & POWER_INDICATOR) != POWER_ON)
        return;
    for (unsigned fn = 0; below && fn < 8; fn++) {
        if (viv_pci_at(below, fn))
            viv_dev_unplug_refused(&viv_pci_at(below, fn)->dev);
    }
}

void viv_pcie_slot_written(struct viv_pci_dev *port, unsigned off, unsigned len, uint16_t old)
{
    uint16_t now = get(port, SLOT_CONTROL), events = 0;

    if (!has_slot(port))
        return;
    if (viv_pci_touches(off, len, port->pcie_cap + SLOT_CONTROL, 2)) {
        events = COMMAND_COMPLETED;
        look_at_indicator(port, old, now);
        if (now & ~old & NO_POWER)
            viv_pci_slot_off(viv_pci_bus_behind(port), 0);
        update(port, events);
    } else if (viv_pci_touches(off, len, port->pcie_cap + SLOT_STATUS, 2)) {
        update(port, 0);
    } else if (port->msi_cap && viv_pci_touches(off, len, port->msi_cap, 4)) {
        update_interrupt(port);
    }
}

uint16_t viv_pcie_slot_control(const struct viv_pci_dev *port)
{
    return port->pcie_cap ? get(port, SLOT_CONTROL) : 0;
}

void viv_pcie_slot_reset(struct viv_pci_dev *port)
{
    port->slot_told = false;
    if (!has_slot(port))
        return;
    viv_st_le16(reg(port, SLOT_CONTROL), ATTENTION_OFF);
    viv_st_le16(reg(port, SLOT_STATUS), 0);
    viv_pcie_set_present(port);
}

void viv_pcie_keep_link(struct viv_pci_dev *port, const uint8_t *saved)
{
    uint16_t bits;

    if (!has_slot(port))
        return;
    bits = viv_ld_le16(saved + port->pcie_cap + LINK_STATUS) & LINK_ACTIVE;
    viv_st_le16(reg(port, LINK_STATUS), (uint16_t)((get(port, LINK_STATUS) & ~LINK_ACTIVE) | bits));
}

/* What is in a slot with power whose indicator blinks, or whose button nobody has heard yet, has been asked for. */
void viv_pcie_slot_loaded(struct viv_pci_dev *port)
{
    struct viv_pci_bus *below = viv_pci_bus_behind(port);
    bool asked;

    if (!has_slot(port))
        return;
    asked = !(get(port, SLOT_CONTROL) & NO_POWER) &&
            ((get(port, SLOT_CONTROL) & POWER_INDICATOR) == POWER_BLINKS || get(port, SLOT_STATUS) & BUTTON_PRESSED);
    for (unsigned fn = 0; below && fn < 8; fn++) {
        if (viv_pci_at(below, fn))
            viv_dev_set_asked(&viv_pci_at(below, fn)->dev, asked);
    }
    port->slot_told = wants_interrupt(port);
}
