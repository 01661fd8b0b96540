/* query-pci, info pci: what stands on the buses, as its configuration space says. */
#include "mon/mon_int.h"

#include "base/units.h"
#include "bus/pci.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const struct {
    uint16_t class; /* base and sub class, PCI Code and ID Assignment */
    const char *text;
} classes[] = {
    {0x0100, "SCSI controller"}, {0x0101, "IDE controller"},      {0x0106, "SATA controller"}, {0x0108, "NVMe controller"},
    {0x0180, "Storage"},         {0x0200, "Ethernet controller"}, {0x0300, "VGA controller"},  {0x0380, "Display controller"},
    {0x0600, "Host bridge"},     {0x0601, "ISA bridge"},          {0x0604, "PCI bridge"},      {0x0680, "Bridge"},
    {0x0780, "Communication"},   {0x0900, "Keyboard"},            {0x0c03, "USB controller"},  {0x0c05, "SMBus"},
};

static uint32_t conf(const struct viv_pci_dev *d, unsigned off, unsigned len)
{
    uint32_t v = 0;

    memcpy(&v, d->config + off, len);
    return v;
}

static bool is_bridge(const struct viv_pci_dev *d)
{
    return (d->config[0x0e] & 0x7f) == 1;
}

/* Where the BAR answers; -1: nowhere yet. */
static json_int_t bar_address(const struct viv_pci_dev *d, unsigned n)
{
    const struct viv_pci_bar *b = &d->bar[n];
    uint64_t at = conf(d, 0x10 + 4 * n, 4) & (b->io ? ~3u : ~15u);

    if (b->mem64)
        at |= (uint64_t)conf(d, 0x14 + 4 * n, 4) << 32;
    return !(conf(d, 4, 2) & (b->io ? 1 : 2)) || !at ? -1 : (json_int_t)at;
}

static json_t *regions(const struct viv_pci_dev *d)
{
    json_t *list = json_array();

    for (unsigned n = 0; n < VIV_PCI_BARS; n++) {
        const struct viv_pci_bar *b = &d->bar[n];
        json_t *r;

        if (!b->region)
            continue;
        r = json_pack("{s:i, s:s, s:I, s:I}", "bar", n, "type", b->io ? "io" : "memory", "address", bar_address(d, n), "size",
                      (json_int_t)b->size);
        if (!b->io)
            json_object_update_new(r, json_pack("{s:b, s:b}", "prefetch", b->prefetch, "mem_type_64", b->mem64));
        json_array_append_new(list, r);
    }
    if (d->rom) {
        uint32_t at = conf(d, is_bridge(d) ? 0x38 : 0x30, 4);

        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:I, s:b, s:b}", "bar", 6, "type", "memory", "address",
                                              at & 1 ? (json_int_t)(at & ~0x7ffu) : -1, "size", (json_int_t)d->rom_size, "prefetch", 0,
                                              "mem_type_64", 0));
    }
    return list;
}

static json_t *bus_devices(struct viv_pci_bus *bus, unsigned number);

static json_t *range(uint64_t base, uint64_t limit)
{
    return json_pack("{s:I, s:I}", "base", (json_int_t)base, "limit", (json_int_t)limit);
}

/* The windows, PCI-to-PCI Bridge 1.2, 3.2.5.6 to 3.2.5.9. */
static json_t *bridge_json(const struct viv_pci_dev *d)
{
    unsigned secondary = d->config[0x19];
    struct viv_pci_bus *below = viv_pci_bus_behind(d);
    uint64_t pref_base = (uint64_t)(conf(d, 0x24, 2) & 0xfff0) << 16 | (uint64_t)conf(d, 0x28, 4) << 32;
    uint64_t pref_limit = (uint64_t)(conf(d, 0x26, 2) & 0xfff0) << 16 | 0xfffff | (uint64_t)conf(d, 0x2c, 4) << 32;
    json_t *o = json_pack("{s:{s:i, s:i, s:i, s:o, s:o, s:o}}", "bus", "number", (int)d->config[0x18], "secondary", (int)secondary,
                          "subordinate", (int)d->config[0x1a], "io_range",
                          range((d->config[0x1c] & 0xf0) << 8, (d->config[0x1d] & 0xf0) << 8 | 0xfff), "memory_range",
                          range((uint64_t)(conf(d, 0x20, 2) & 0xfff0) << 16, (uint64_t)(conf(d, 0x22, 2) & 0xfff0) << 16 | 0xfffff),
                          "prefetchable_range", range(pref_base, pref_limit));

    if (below && secondary) /* without a number nothing reaches it */
        json_object_set_new(o, "devices", bus_devices(below, secondary));
    return o;
}

static const char *class_text(unsigned cls)
{
    const char *text = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++)
        text = classes[i].class == cls ? classes[i].text : text;
    return text;
}

static json_t *device_json(const struct viv_pci_dev *d, unsigned bus)
{
    unsigned cls = conf(d, 0x0a, 2), pin = d->config[0x3d];
    const char *text = class_text(cls);
    json_t *o;

    o = json_pack("{s:i, s:i, s:i, s:{s:i}, s:{s:i, s:i}, s:i, s:s, s:o}", "bus", (int)bus, "slot", d->devfn >> 3, "function", d->devfn & 7,
                  "class_info", "class", (int)cls, "id", "device", (int)conf(d, 2, 2), "vendor", (int)conf(d, 0, 2), "irq_pin", (int)pin,
                  "qdev_id", d->dev.id ? d->dev.id : "", "regions", regions(d));
    if (text)
        json_object_set_new(json_object_get(o, "class_info"), "desc", json_string(text));
    if (pin)
        json_object_set_new(o, "irq", json_integer(d->config[0x3c]));
    if (is_bridge(d))
        json_object_set_new(o, "pci_bridge", bridge_json(d));
    else if (conf(d, 0x2c, 2))
        json_object_update_new(json_object_get(o, "id"), json_pack("{s:i, s:i}", "subsystem", (int)conf(d, 0x2e, 2), "subsystem-vendor",
                                                                   (int)conf(d, 0x2c, 2)));
    return o;
}

static json_t *bus_devices(struct viv_pci_bus *bus, unsigned number)
{
    json_t *list = json_array();

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        const struct viv_pci_dev *d = viv_pci_at(bus, devfn);

        if (d)
            json_array_append_new(list, device_json(d, number));
    }
    return list;
}

COMMAND(query_pci)
{
    struct viv_pci_bus *root = viv_vm_board()->pci;

    *result = json_array();
    if (root)
        json_array_append_new(*result, json_pack("{s:i, s:o}", "bus", 0, "devices", bus_devices(root, 0)));
    return 0;
}

/* --- for people --- */

static long long num(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void show_region(const json_t *r, GString *out)
{
    long long at = num(r, "address"), size = num(r, "size");

    g_string_append_printf(out, "      BAR%lld: ", num(r, "bar"));
    if (!strcmp(json_string_value(json_object_get(r, "type")), "io"))
        g_string_append_printf(out, "I/O, %#llx bytes", size);
    else
        g_string_append_printf(out, "%d bit %smemory, %#llx bytes", json_is_true(json_object_get(r, "mem_type_64")) ? 64 : 32,
                               json_is_true(json_object_get(r, "prefetch")) ? "prefetchable " : "", size);
    if (at >= 0)
        g_string_append_printf(out, " at %#llx [%#llx].\n", at, at + size - 1);
    else
        g_string_append(out, ", not mapped.\n");
}

void viv_mon_show_pci_device(const struct viv_dev *dev, unsigned indent, GString *out)
{
    const struct viv_pci_dev *d = VIV_CONTAINER(dev, const struct viv_pci_dev, dev), *bridge = viv_pci_bus_bridge(d->bus);
    unsigned cls = conf(d, 0x0a, 2), bus = bridge ? bridge->config[0x19] : 0;
    json_t *bars = regions(d), *r;
    size_t i;

    g_string_append_printf(out, "%*sclass ", indent, "");
    if (class_text(cls))
        g_string_append(out, class_text(cls));
    else
        g_string_append_printf(out, "Class %04x", cls);
    g_string_append_printf(out, ", addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n", bus, d->devfn >> 3, d->devfn & 7, conf(d, 0, 2), conf(d, 2, 2),
                           is_bridge(d) ? 0 : conf(d, 0x2c, 2), is_bridge(d) ? 0 : conf(d, 0x2e, 2));
    json_array_foreach(bars, i, r)
        g_string_append_printf(out, "%*sbar %lld: %s at 0x%llx [0x%llx]\n", indent, "", num(r, "bar"),
                               strcmp(json_string_value(json_object_get(r, "type")), "io") ? "mem" : "i/o", num(r, "address"),
                               num(r, "address") + num(r, "size") - 1);
    json_decref(bars);
}

static void show_range(const json_t *bus, const char *key, const char *what, GString *out)
{
    const json_t *r = json_object_get(bus, key);

    g_string_append_printf(out, "      %s range [0x%08llx, 0x%08llx]\n", what, num(r, "base"), num(r, "limit"));
}

static void show_device(const json_t *d, GString *out)
{
    const json_t *id = json_object_get(d, "id"), *cls = json_object_get(d, "class_info"), *bridge = json_object_get(d, "pci_bridge");
    const json_t *bus = json_object_get(bridge, "bus");
    const char *text = json_string_value(json_object_get(cls, "desc"));
    size_t i;
    json_t *x;

    g_string_append_printf(out, "  Bus %2lld, device %3lld, function %lld:\n    ", num(d, "bus"), num(d, "slot"), num(d, "function"));
    if (text)
        g_string_append(out, text);
    else
        g_string_append_printf(out, "Class %04llx", num(cls, "class"));
    g_string_append_printf(out, ": PCI device %04llx:%04llx\n", num(id, "vendor"), num(id, "device"));
    if (json_object_get(id, "subsystem"))
        g_string_append_printf(out, "      PCI subsystem %04llx:%04llx\n", num(id, "subsystem-vendor"), num(id, "subsystem"));
    if (num(d, "irq_pin"))
        g_string_append_printf(out, "      IRQ %lld, pin %c\n", num(d, "irq"), (char)('A' - 1 + num(d, "irq_pin")));
    if (bridge) {
        g_string_append_printf(out, "      BUS %lld.\n      secondary bus %lld.\n      subordinate bus %lld.\n", num(bus, "number"),
                               num(bus, "secondary"), num(bus, "subordinate"));
        show_range(bus, "io_range", "IO", out);
        show_range(bus, "memory_range", "memory", out);
        show_range(bus, "prefetchable_range", "prefetchable memory", out);
    }
    json_array_foreach(json_object_get(d, "regions"), i, x)
        show_region(x, out);
    g_string_append_printf(out, "      id \"%s\"\n", json_string_value(json_object_get(d, "qdev_id")));
    json_array_foreach(json_object_get(bridge, "devices"), i, x)
        show_device(x, out);
}

static void show_pci(const json_t *r, GString *out)
{
    size_t b, i;
    json_t *bus, *d;

    if (!json_array_size(r))
        g_string_append(out, "this machine has no PCI\n");
    json_array_foreach((json_t *)r, b, bus)
        json_array_foreach(json_object_get(bus, "devices"), i, d)
            show_device(d, out);
}

const struct viv_mon_cmd viv_mon_pci[] = {
    {"info pci", "query-pci", NULL, NULL, "show the PCI devices", query_pci, show_pci, .returns = "[PciInfo]"},
    {0},
};
