/* Bridges that people add: pcie-root-port, pcie-pci-bridge, pci-bridge. What they do is in bus/pci_bridge.c; here are their
 * capabilities; a root port's slot is in bus/pcie_slot.c. Left out: SHPC, error reporting. */
#include "base/bytes.h"
#include "bus/pci_bridge.h"

#include <errno.h>
#include <glib.h>

#define CAP_SLOT_ID 0x04 /* PCI-to-PCI Bridge 1.2, 13.2.3 */
#define EXT_CAP_ACS 0x0d /* PCI Express 3.0, 7.16 */

struct bridge {
    struct viv_pci_bridge bridge;
};

/* Power management and one message: what each of them has. */
static int add_common(struct bridge *b, struct viv_err *err)
{
    int rc = viv_pci_pm_init(&b->bridge.pci, err);

    b->bridge.pci.config[0x3d] = 1;
    return rc ? rc : viv_msi_init(&b->bridge.pci, 1, err);
}

static int needs_root(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct viv_pci_bus *bus = viv_pci_bus_wanted(d->board, opts, err);

    if (!bus)
        return -ENODEV;
    if (viv_pci_bus_kind(bus) != VIV_PCIE_ROOT)
        return viv_fail(err, EINVAL, "%s: bus '%s' is not that of a PCI Express root complex; use machine q35 and its 'pcie.0'",
                        viv_opts_what(opts), viv_pci_bus_name(bus));
    return 0;
}

/* Requests between functions below do not exist here, so what ACS asks for is always so: all of it can be told, and kept. */
static void add_acs(struct viv_pci_dev *d)
{
    uint16_t at = viv_pcie_add_cap(d, EXT_CAP_ACS, 1, 8);

    g_assert(at);
    viv_st_le16(d->config + at + 4, 0x1d); /* source validation, P2P request and completion redirect, upstream forwarding */
    viv_st_le16(d->wmask + at + 6, 0x1d);
}

static int root_port_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {.vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400};
    struct bridge *b = (struct bridge *)d;
    unsigned slot = (unsigned)viv_opts_int(opts, "slot");
    int rc = needs_root(d, opts, err);

    if (rc < 0)
        return rc;
    rc = viv_pci_bridge_init(&b->bridge, &ids, VIV_PCIE_LINK, opts, err);
    if (rc < 0)
        return rc;
    rc = viv_pci_bridge_take_slot(&b->bridge, (uint16_t)viv_opts_int(opts, "chassis"), (uint16_t)slot, opts, err);
    if (!rc)
        rc = viv_pcie_init(&b->bridge.pci, VIV_PCIE_ROOT_PORT, slot, err);
    if (!rc)
        rc = add_common(b, err);
    if (rc < 0) {
        viv_pci_bridge_fini(&b->bridge);
        return rc;
    }
    if (viv_opts_bool(opts, "hotplug"))
        viv_pcie_add_slot(&b->bridge.pci, b->bridge.below);
    if (viv_opts_given(opts, "port"))
        b->bridge.pci.config[b->bridge.pci.pcie_cap + 0x0f] = (uint8_t)viv_opts_int(opts, "port");
    add_acs(&b->bridge.pci);
    return 0;
}

static int pcie_pci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {.vendor = 0x1b36, .device = 0x000e, .class_code = 0x060400};
    struct bridge *b = (struct bridge *)d;
    struct viv_pci_bus *bus = viv_pci_bus_wanted(d->board, opts, err);
    int rc;

    if (!bus)
        return -ENODEV;
    if (viv_pci_bus_kind(bus) == VIV_PCI_BUS)
        return viv_fail(err, EINVAL, "%s: bus '%s' is conventional PCI; use pci-bridge there, or machine q35",
                        viv_opts_what(opts), viv_pci_bus_name(bus));
    rc = viv_pci_bridge_init(&b->bridge, &ids, VIV_PCI_BUS, opts, err);
    if (rc < 0)
        return rc;
    rc = viv_pcie_init(&b->bridge.pci, VIV_PCIE_TO_PCI, 0, err);
    if (!rc)
        rc = add_common(b, err);
    if (rc < 0)
        viv_pci_bridge_fini(&b->bridge);
    return rc;
}

static int pci_bridge_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {.vendor = 0x1b36, .device = 0x0001, .class_code = 0x060400};
    struct bridge *b = (struct bridge *)d;
    uint8_t chassis = (uint8_t)viv_opts_int(opts, "chassis_nr"), at;
    int rc;

    if (!chassis)
        return viv_fail(err, EINVAL, "%s: chassis_nr=1 to 255 is needed: guests tell bridges apart by it", viv_opts_what(opts));
    rc = viv_pci_bridge_init(&b->bridge, &ids, VIV_PCI_BUS, opts, err);
    if (rc < 0)
        return rc;
    rc = viv_pci_bridge_take_slot(&b->bridge, chassis, 0, opts, err);
    if (!rc)
        rc = add_common(b, err);
    if (rc < 0) {
        viv_pci_bridge_fini(&b->bridge);
        return rc;
    }
    at = viv_pci_add_cap(&b->bridge.pci, CAP_SLOT_ID, 4);
    g_assert(at);
    b->bridge.pci.config[at + 2] = 0x20; /* the first one of its chassis, no slots by number */
    b->bridge.pci.config[at + 3] = chassis;
    return 0;
}

static void bridge_unrealize(struct viv_dev *d)
{
    viv_pci_bridge_fini(&((struct bridge *)d)->bridge);
}

static void bridge_reset(struct viv_dev *d)
{
    viv_pci_bridge_reset(&((struct bridge *)d)->bridge);
}

static const struct viv_state_table bridge_state = {
    .name = "bridge",
    .ctype = "bridge",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(bridge, bridge, viv_pci_bridge_state),
            VIV_F_END,
        },
};

#define NO_RESERVE(what) {.name = what, .type = VIV_OPT_REFUSED, .help = "firmware and guest size the windows by what is below; leave it out"}

static const struct viv_opt_def port_props[] = {
    VIV_PCI_PROPS,
    {.name = "chassis", .type = VIV_OPT_INT, .def = "0", .min = 0, .max = 255, .help = "chassis of the slot"},
    {.name = "slot", .type = VIV_OPT_INT, .def = "0", .min = 0, .max = 8191, .help = "number of the slot, as the guest is told"},
    {.name = "port", .type = VIV_OPT_INT, .min = 0, .max = 255, .help = "number of the port (default: by its address)"},
    {.name = "hotplug", .type = VIV_OPT_BOOL, .def = "on", .help = "devices come and go while the guest runs"},
    NO_RESERVE("bus-reserve"),
    NO_RESERVE("io-reserve"),
    NO_RESERVE("mem-reserve"),
    NO_RESERVE("pref32-reserve"),
    NO_RESERVE("pref64-reserve"),
    VIV_OPT_END,
};

static const struct viv_opt_def plain_props[] = {VIV_PCI_PROPS, VIV_OPT_END};

static const struct viv_opt_def bridge_props[] = {
    VIV_PCI_PROPS,
    {.name = "chassis_nr", .type = VIV_OPT_INT, .def = "0", .min = 0, .max = 255, .help = "number of its chassis"},
    {.name = "shpc", .type = VIV_OPT_REFUSED, .help = "there is no hot-plug controller; leave it out"},
    VIV_OPT_END,
};

#define BRIDGE(sym, typed, text, make, schema) \
    const struct viv_dev_class sym = {         \
        .name = (typed),                       \
        .desc = (text),                        \
        .bus = VIV_BUS_PCI,                    \
        .size = sizeof(struct bridge),         \
        .props = (schema),                     \
        .state = &bridge_state,                \
        .realize = (make),                     \
        .reset = bridge_reset,                 \
        .unrealize = bridge_unrealize,         \
    }

BRIDGE(viv_dev_pcie_root_port, "pcie-root-port", "PCI Express root port", root_port_realize, port_props);
BRIDGE(viv_dev_pcie_pci_bridge, "pcie-pci-bridge", "PCI Express to PCI bridge", pcie_pci_realize, plain_props);
BRIDGE(viv_dev_pci_bridge, "pci-bridge", "PCI to PCI bridge", pci_bridge_realize, bridge_props);
