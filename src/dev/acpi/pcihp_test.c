/* PCI hot-plug by ACPI: the registers as the DSDT's methods use them, and what becomes of the devices. */
#include "dev/acpi/pcihp.h"
#include "base/units.h"
#include "bus/vmevent.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct viv_dev_class slow_class;
extern const struct viv_dev_class viv_dev_i440fx, viv_dev_piix3, viv_dev_piix4_pm, viv_dev_pci_testdev, viv_dev_pci_bridge;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_piix3, &viv_dev_piix4_pm, &viv_dev_pci_testdev,
                                                   &viv_dev_pci_bridge, &slow_class, NULL};

enum { UP = 0xae00, DOWN = 0xae04, EJECT = 0xae08, REMOVABLE = 0xae0c, SELECT = 0xae10, REFUSE = 0xae18 };
enum { GPE_STS = 0x60c, GPE_EN = 0x60e };

static GString *events;
static struct viv_dev *pm;

static void heard(const char *event, const char *data)
{
    g_string_append_printf(events, "%s %s\n", event, data ? data : "");
}

/* The host bridge shows parts of it. */
static void need_ram(void)
{
    static struct viv_ram *ram; /* lives as long as the process */
    struct viv_err err = VIV_ERR_INIT;

    if (!ram)
        g_assert_cmpint(viv_ram_new("pc.ram", 2 * VIV_MIB, &ram, &err), ==, 0);
}

static void begin_with(const char *how)
{
    need_ram();
    rig_init();
    rig_add("i440FX", "addr=0");
    rig_add("PIIX3", "addr=1,multifunction=on");
    pm = rig_add("PIIX4_PM", how);
    viv_piix4_pm_setup(pm, VIV_PIIX4_PM_BASE);
    out16(GPE_EN, 1 << VIV_PCIHP_GPE);
    events = g_string_new(NULL);
    viv_vm_event_set_handler(heard);
}

static void begin(void)
{
    begin_with("addr=1.3");
}

static void end(void)
{
    viv_vm_event_set_handler(NULL);
    g_string_free(events, TRUE);
    rig_fini();
}

static int plug_class(const char *class, const char *id, const char *text, struct viv_err *err)
{
    const struct viv_dev_class *c = viv_dev_class_find(class);
    struct viv_opts *opts;
    int rc;

    g_assert_cmpint(viv_opts_parse("device_add", c->props, NULL, text, &opts, err), ==, 0);
    viv_dev_lock();
    rc = viv_dev_plug(&rig.board, c->name, id, opts, err);
    viv_dev_unlock();
    viv_opts_free(opts);
    return rc;
}

static int plug_err(const char *id, const char *text, struct viv_err *err)
{
    return plug_class("pci-testdev", id, text, err);
}

static void plug(const char *id, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(plug_err(id, text, &err), ==, 0);
}

static void refused(const char *id, const char *text, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(plug_err(id, text, &err), <, 0);
    g_assert_nonnull(strstr(err.text, word));
}

static int ask(const char *id)
{
    struct viv_err err = VIV_ERR_INIT;
    int rc;

    viv_dev_lock();
    rc = viv_dev_ask_unplug(viv_dev_find(id), &err);
    viv_dev_unlock();
    return rc;
}

static uint32_t id_at(unsigned slot)
{
    return viv_pci_config_read(rig.board.pci, slot << 3, 0, 4);
}

static void test_plug(void)
{
    begin();
    g_assert_cmphex(in32(REMOVABLE), ==, 0xfffffffc); /* not host bridge and PIIX */
    plug("a", "addr=5");
    g_assert_cmpint(rig.line[9], ==, 1); /* SCI */
    g_assert_cmphex(in16(GPE_STS), ==, 1 << VIV_PCIHP_GPE);
    out16(GPE_STS, 1 << VIV_PCIHP_GPE);
    g_assert_cmpint(rig.line[9], ==, 0);
    g_assert_cmphex(in32(UP), ==, 1 << 5);
    g_assert_cmphex(in32(UP), ==, 0); /* told once */
    g_assert_cmphex(in32(DOWN), ==, 0);
    g_assert_cmphex(id_at(5), ==, 0x00051b36);
    /* Function 1 first: the guest looks when function 0 is there. */
    plug("c", "addr=6.1");
    g_assert_cmphex(in32(UP), ==, 0);
    plug("b", "addr=6,multifunction=on");
    g_assert_cmphex(in32(UP), ==, 1 << 6);
    refused("b", "addr=7", "Duplicate device ID 'b'");
    refused("9x", "addr=7", "expects an identifier");
    refused("d", "addr=5", "is taken");
    end();
}

static void test_unplug(void)
{
    begin();
    plug("a", "addr=5");
    viv_pci_config_write(rig.board.pci, 5 << 3, 0x10, 0xe0000000, 4);
    viv_pci_config_write(rig.board.pci, 5 << 3, 4, 3, 2);
    out16(GPE_STS, 0xffff);
    in32(UP);
    g_assert_cmpint(ask("a"), ==, 0);
    g_assert_cmpint(rig.line[9], ==, 1);
    g_assert_cmphex(in32(DOWN), ==, 1 << 5);
    g_assert_cmphex(in32(DOWN), ==, 1 << 5); /* until it is done */
    g_assert_cmphex(id_at(5), ==, 0x00051b36);
    rig_turn();
    g_assert_cmpuint(events->len, ==, 0);
    out32(EJECT, 1 << 5);
    g_assert_cmphex(id_at(5), ==, 0xffffffff); /* at once */
    g_assert_cmphex(mem32(0xe0000000), ==, 0xffffffff);
    g_assert_cmphex(in32(DOWN), ==, 0);
    plug("b", "addr=5"); /* the place is free, the id not yet */
    refused("a", "addr=7", "Duplicate device ID 'a'");
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED {\"path\": \"/machine/peripheral/a\", \"device\": \"a\"}\n");
    plug("a", "addr=7");
    end();
}

/* What the guest lets go of unasked; slots that have nothing, or what cannot go. */
static void test_eject(void)
{
    begin();
    plug("a", "addr=5,multifunction=on");
    plug("b", "addr=5.3");
    out32(EJECT, 0xffffffff);
    g_assert_cmphex(id_at(5), ==, 0xffffffff);
    g_assert_cmphex(id_at(0), ==, 0x12378086);
    g_assert_cmphex(viv_pci_config_read(rig.board.pci, 0x0b, 0, 4), ==, 0x71138086);
    rig_turn();
    g_assert_nonnull(strstr(events->str, "\"device\": \"a\""));
    g_assert_nonnull(strstr(events->str, "\"device\": \"b\""));
    out32(SELECT, 1); /* no such bus */
    g_assert_cmphex(in32(UP) | in32(DOWN) | in32(REMOVABLE), ==, 0);
    out32(EJECT, 0xffffffff);
    g_assert_cmphex(in32(SELECT), ==, 1);
    out32(SELECT, 0xffffffff);
    out32(EJECT, 0xffffffff);
    out32(REFUSE, 0xffffffff);
    end();
}

static void test_refused(void)
{
    begin();
    plug("a", "addr=5");
    in32(UP);
    out32(REFUSE, 5); /* nobody asked */
    rig_turn();
    g_assert_cmpuint(events->len, ==, 0);
    ask("a");
    out32(REFUSE, 5);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_UNPLUG_GUEST_ERROR {\"path\": \"/machine/peripheral/a\", \"device\": \"a\"}\n");
    g_assert_cmphex(in32(DOWN), ==, 0);
    g_string_truncate(events, 0);
    ask("a");
    ask("a");
    g_assert_cmphex(in32(DOWN), ==, 1 << 5);
    viv_dev_lock();
    viv_dev_unplug_asked(); /* a reset of the machine */
    viv_dev_unlock();
    g_assert_cmphex(id_at(5), ==, 0xffffffff);
    g_assert_cmphex(in32(DOWN), ==, 0);
    rig_turn();
    g_assert_nonnull(strstr(events->str, "DEVICE_DELETED"));
    end();
}

/* The root bus has its number, and nothing comes or goes there; or only there. */
static void test_stays(void)
{
    struct viv_pci_dev *bridge;
    struct viv_pcihp *h;

    begin_with("addr=1.3,acpi-root-pci-hotplug=off");
    bridge = (struct viv_pci_dev *)rig_add("pci-bridge", "addr=3,chassis_nr=1");
    refused("a", "addr=5", "Bus 'pci.0' does not support hotplugging");
    rig_add("pci-testdev", "addr=5");
    g_assert_cmphex(in32(REMOVABLE), ==, 0);
    out32(EJECT, 1 << 5);
    g_assert_cmphex(id_at(5), !=, 0xffffffff);
    g_assert_true(viv_pcihp_add(viv_piix4_pm_hotplug(pm), viv_pci_bus_behind(bridge)));
    plug("a", "bus=pci.0.03.0,addr=1");
    out32(SELECT, 1);
    g_assert_cmphex(in32(UP), ==, 2);
    end();

    begin_with("addr=1.3,acpi-pci-hotplug-with-bridge-support=off");
    bridge = (struct viv_pci_dev *)rig_add("pci-bridge", "addr=3,chassis_nr=1");
    h = viv_piix4_pm_hotplug(pm);
    g_assert_false(viv_pcihp_add(h, viv_pci_bus_behind(bridge)));
    refused("a", "bus=pci.0.03.0,addr=1", "Bus 'pci.0.03.0' does not support hotplugging");
    plug("a", "addr=5");
    g_assert_cmphex(in32(UP), ==, 1 << 5);
    end();
}

static void test_bridge(void)
{
    struct viv_pci_dev *bridge;

    begin();
    bridge = (struct viv_pci_dev *)rig_add("pci-bridge", "addr=3,chassis_nr=1");
    refused("a", "bus=pci.0.03.0,addr=1", "Bus 'pci.0.03.0' does not support hotplugging; guests are told by ACPI");
    g_assert_true(viv_pcihp_add(viv_piix4_pm_hotplug(pm), viv_pci_bus_behind(bridge)));
    plug("a", "bus=pci.0.03.0,addr=1");
    g_assert_cmphex(in32(UP), ==, 0);
    out32(SELECT, 1);
    g_assert_cmphex(in32(UP), ==, 2);
    ask("a");
    g_assert_cmphex(in32(DOWN), ==, 2);
    out32(EJECT, 2);
    g_assert_null(viv_pci_at(viv_pci_bus_behind(bridge), 8));
    rig_turn();
    g_assert_nonnull(strstr(events->str, "DEVICE_DELETED"));
    out32(SELECT, 0);
    g_assert_cmphex(in32(REMOVABLE), ==, 0xfffffff4); /* not the bridge's */
    end();
}

/* A function that lets go of the device lock while it is made, as one does whose image must be closed again; then it fails or not.
 * Meanwhile the guest does all that reaches a function on a bus. */
static void poke(void)
{
    out32(SELECT, 1);
    out32(EJECT, 1 << 1);
    g_assert_cmphex(in32(UP), ==, 0);
    for (unsigned on = 1; on < 3; on++) /* a secondary bus reset */
        viv_pci_config_write(rig.board.pci, 3 << 3, 0x3e, on & 1 ? 0x40 : 0, 2);
}

static int slow_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {.vendor = 0x1234, .device = 0x5678};
    struct viv_pci_dev *p = (struct viv_pci_dev *)d;
    int rc = viv_pci_dev_init(p, &ids, opts, err);

    if (rc < 0)
        return rc;
    viv_dev_unlock();
    poke();
    viv_dev_lock();
    g_assert_cmpint(d->life, ==, VIV_DEV_MAKING);
    if (viv_opts_bool(opts, "multifunction")) {
        viv_pci_dev_fini(p);
        return viv_fail(err, EIO, "no such image");
    }
    p->cap_end = 0x41; /* made: see slow_reset */
    return 0;
}

static void slow_reset(struct viv_dev *d)
{
    g_assert_cmpuint(((struct viv_pci_dev *)d)->cap_end, ==, 0x41);
    viv_pci_dev_reset((struct viv_pci_dev *)d);
}

static void slow_running(struct viv_dev *d, bool running)
{
    g_assert_cmpuint(((struct viv_pci_dev *)d)->cap_end, ==, 0x41);
}

static void slow_unrealize(struct viv_dev *d)
{
    viv_pci_dev_fini((struct viv_pci_dev *)d);
}

static const struct viv_opt_def slow_props[] = {VIV_PCI_PROPS, VIV_OPT_END};
static const struct viv_dev_class slow_class = {
    .name = "slow",
    .desc = "test",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct viv_pci_dev),
    .props = slow_props,
    .state = &viv_pci_dev_state,
    .realize = slow_realize,
    .reset = slow_reset,
    .unrealize = slow_unrealize,
    .vm_running = slow_running,
    .hotplug = &viv_pci_hotplug,
};

static void test_making(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_pci_dev *bridge;

    begin();
    bridge = (struct viv_pci_dev *)rig_add("pci-bridge", "addr=3,chassis_nr=1");
    viv_pcihp_add(viv_piix4_pm_hotplug(pm), viv_pci_bus_behind(bridge));
    rig.board.made = true;
    g_assert_cmpint(plug_class("slow", "a", "bus=pci.0.03.0,addr=1,multifunction=on", &err), ==, -EIO);
    g_assert_cmpint(plug_class("slow", "a", "bus=pci.0.03.0,addr=1", &err), ==, 0);
    g_assert_cmphex(in32(UP), ==, 2);
    rig_turn();
    g_assert_cmpuint(events->len, ==, 0);
    out32(EJECT, 2);
    rig_turn();
    g_assert_nonnull(strstr(events->str, "DEVICE_DELETED"));
    end();
}

/* Saved between the question and the answer; what was plugged in is made earlier where it is loaded. */
static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin();
    plug("a", "addr=5");
    plug("b", "addr=4");
    ask("b");
    data = rig_save(&len);
    end();

    rig_init();
    rig_add("i440FX", "addr=0");
    rig_add("pci-testdev", "addr=4");
    rig_add("PIIX3", "addr=1,multifunction=on");
    rig_add("pci-testdev", "addr=5");
    pm = rig_add("PIIX4_PM", "addr=1.3");
    rig_load(data, len);
    g_assert_cmphex(in32(DOWN), ==, 1 << 4);
    viv_dev_lock();
    viv_dev_unplug_asked();
    viv_dev_unlock();
    g_assert_cmphex(id_at(4), ==, 0xffffffff);
    g_assert_cmphex(id_at(5), ==, 0x00051b36);
    rig_turn();
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pcihp/plug", test_plug);
    g_test_add_func("/pcihp/unplug", test_unplug);
    g_test_add_func("/pcihp/eject", test_eject);
    g_test_add_func("/pcihp/refused", test_refused);
    g_test_add_func("/pcihp/bridge", test_bridge);
    g_test_add_func("/pcihp/stays", test_stays);
    g_test_add_func("/pcihp/making", test_making);
    g_test_add_func("/pcihp/state", test_state);
    return g_test_run();
}
