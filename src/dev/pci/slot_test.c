/* Native hot-plug of a root port's slot, by its registers (PCI Express Base 3.0, 6.7, 7.8.9 to 7.8.11). */
#include "base/units.h"
#include "bus/pci.h"
#include "bus/vmevent.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_pcie_root_port, viv_dev_pci_testdev;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_pcie_root_port, &viv_dev_pci_testdev, NULL};

enum { LINK_STATUS = 0x12, SLOT_CAP = 0x14, CONTROL = 0x18, STATUS = 0x1a };
enum { PRESSED = 1, CHANGED = 8, COMPLETED = 0x10, PRESENT = 0x40, LINK_CHANGED = 0x100 };
enum { ON = 1 << 8, BLINKS = 2 << 8, OFF = 3 << 8, NO_POWER = 1 << 10, INTERRUPTS = 1 << 5, ALL = 0x1f | 1 << 12 };

static GString *events;
static struct viv_pci_dev *port;
static unsigned cap, msi;

static void heard(const char *event, const char *data)
{
    g_string_append_printf(events, "%s\n", event);
}

static unsigned find_cap(uint8_t id)
{
    unsigned at = viv_pci_config_read(rig.board.pci, 0x10, 0x34, 1);

    while (at && viv_pci_config_read(rig.board.pci, 0x10, at, 1) != id)
        at = viv_pci_config_read(rig.board.pci, 0x10, at + 1, 1);
    g_assert_cmpuint(at, !=, 0);
    return at;
}

static uint32_t rd(unsigned reg, unsigned len)
{
    return viv_pci_config_read(rig.board.pci, 0x10, cap + reg, len);
}

static void wr(unsigned reg, uint32_t v)
{
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 0x10, cap + reg, v, 2);
    viv_dev_unlock();
}

/* A root complex with a port, bus 1 behind it; `cold`: with something in it from the start. */
static void begin(const char *how, bool cold)
{
    g_autofree char *opts = g_strdup_printf("addr=2,slot=7%s", how);

    rig_init();
    rig.board.pci = viv_pcie_bus_new(&rig.board, "pcie.0");
    port = (struct viv_pci_dev *)rig_add("pcie-root-port", opts);
    if (cold)
        rig_add("pci-testdev", "bus=pcie.0.02.0");
    rig.board.made = true;
    cap = find_cap(0x10);
    msi = find_cap(0x05);
    viv_pci_config_write(rig.board.pci, 0x10, 0x18, 0x00010100, 4);
    events = g_string_new(NULL);
    viv_vm_event_set_handler(heard);
}

static void end(void)
{
    viv_vm_event_set_handler(NULL);
    g_string_free(events, TRUE);
    viv_dev_lock();
    viv_dev_free_all();
    viv_dev_unlock();
    viv_pci_bus_free(rig.board.pci);
    rig_fini();
}

static uint32_t behind(void)
{
    return viv_pci_config_read(viv_pci_bus_at(rig.board.pci, 1), 0, 0, 4);
}

static int plug_at(const char *id, const char *at)
{
    const struct viv_dev_class *c = viv_dev_class_find("pci-testdev");
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts;
    int rc;

    g_assert_cmpint(viv_opts_parse("device_add", c->props, NULL, at, &opts, &err), ==, 0);
    viv_dev_lock();
    rc = viv_dev_plug(&rig.board, c->name, id, opts, &err);
    viv_dev_unlock();
    viv_opts_free(opts);
    return rc;
}

static int plug(const char *id)
{
    return plug_at(id, "bus=pcie.0.02.0");
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

static void test_registers(void)
{
    begin("", false);
    g_assert_cmphex(rd(SLOT_CAP, 4), ==, 7 << 19 | 0x5b);
    g_assert_cmphex(rd(STATUS, 2), ==, 0);
    g_assert_cmphex(rd(CONTROL, 2), ==, NO_POWER | OFF | 3 << 6);
    g_assert_cmphex(rd(LINK_STATUS, 2) & 0x2000, ==, 0);
    end();
    begin("", true);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT);
    g_assert_cmphex(rd(CONTROL, 2), ==, ON | 3 << 6);
    g_assert_cmphex(rd(LINK_STATUS, 2) & 0x2000, ==, 0x2000);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    end();
    begin(",hotplug=off", true);
    g_assert_cmphex(rd(SLOT_CAP, 4), ==, 7 << 19);
    wr(CONTROL, 0xffff);
    g_assert_cmphex(rd(CONTROL, 2), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    g_assert_cmpint(plug("a"), <, 0);
    end();
}

static void test_plug(void)
{
    begin("", false);
    viv_pci_config_write(rig.board.pci, 0x10, 4, 7, 2);
    viv_pci_config_write(rig.board.pci, 0x10, msi + 4, 0xfee00000, 4);
    viv_pci_config_write(rig.board.pci, 0x10, msi + 12, 0x4041, 2);
    viv_pci_config_write(rig.board.pci, 0x10, msi + 2, 1, 2);
    wr(CONTROL, INTERRUPTS | ALL | OFF | NO_POWER);
    g_assert_cmphex(rd(STATUS, 2), ==, COMPLETED);
    g_assert_cmpuint(rig.msis, ==, 1);
    wr(STATUS, COMPLETED);
    g_assert_cmphex(rd(STATUS, 2), ==, 0);

    g_assert_cmpint(plug("a"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT | CHANGED | PRESSED);
    g_assert_cmpuint(rig.msis, ==, 2);
    g_assert_cmphex(rig.msi_data, ==, 0x4041);
    g_assert_cmphex(behind(), ==, 0xffffffff); /* no power yet */
    g_assert_cmpint(plug("b"), <, 0);          /* one slot */
    wr(STATUS, CHANGED | PRESSED);
    wr(CONTROL, INTERRUPTS | ALL | BLINKS);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT | COMPLETED | LINK_CHANGED);
    g_assert_cmphex(rd(LINK_STATUS, 2) & 0x2000, ==, 0x2000);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    g_assert_cmpuint(rig.msis, ==, 3);
    wr(CONTROL, INTERRUPTS | ALL | ON); /* nobody asked: it is not a change of mind */
    g_assert_cmpuint(rig.msis, ==, 3);  /* the reasons before were not cleared: one message */
    rig_turn();
    g_assert_cmpuint(events->len, ==, 0);
    end();
}

/* Before anybody has given the bus a number what is plugged in has power, as if it had been there from the start, and may be taken out. */
static void test_before_boot(void)
{
    begin("", false);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmpint(plug("a"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT);
    g_assert_cmphex(rd(CONTROL, 2), ==, ON | 3 << 6);
    g_assert_cmpint(ask("a"), ==, 0);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED\n");
    g_assert_cmphex(rd(STATUS, 2), ==, 0);
    g_assert_cmphex(rd(CONTROL, 2), ==, NO_POWER | OFF | 3 << 6);
    g_assert_cmpint(plug("a"), ==, 0);
    viv_pci_config_write(rig.board.pci, 0x10, 0x18, 0x00010100, 4);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    g_assert_cmpint(ask("a"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT | PRESSED);
    end();
}

static void test_unplug(void)
{
    begin("", false);
    plug("a");
    wr(CONTROL, ON);
    wr(STATUS, 0xffff);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT);
    g_assert_cmpint(ask("a"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT | PRESSED);
    g_assert_cmpint(ask("a"), ==, -EBUSY);
    wr(STATUS, PRESSED);
    wr(CONTROL, BLINKS);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    wr(CONTROL, BLINKS | NO_POWER);
    g_assert_cmphex(behind(), ==, 0xffffffff);
    g_assert_cmphex(rd(STATUS, 2), ==, COMPLETED | CHANGED | LINK_CHANGED);
    g_assert_cmphex(rd(LINK_STATUS, 2) & 0x2000, ==, 0);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED\n");
    /* Without power nobody need be asked. */
    plug("a");
    g_assert_cmpint(ask("a"), ==, 0);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED\nDEVICE_DELETED\n");
    end();
}

static void test_refused(void)
{
    begin("", false);
    plug("a");
    wr(CONTROL, ON);
    ask("a");
    wr(STATUS, PRESSED);
    wr(CONTROL, BLINKS);
    wr(CONTROL, ON);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_UNPLUG_GUEST_ERROR\n");
    g_assert_cmpint(ask("a"), ==, 0);
    viv_dev_lock();
    viv_dev_unplug_asked(); /* a reset of the machine */
    viv_dev_reset_all();
    viv_dev_unlock();
    rig_turn();
    g_assert_nonnull(strstr(events->str, "DEVICE_DELETED"));
    g_assert_cmphex(rd(CONTROL, 2) & (NO_POWER | OFF), ==, NO_POWER | OFF);
    g_assert_cmphex(rd(STATUS, 2), ==, 0);
    end();
}

/* A guest that clears what happened before it was up has not heard: it can be asked anew, though not while it is at it. */
static void test_again(void)
{
    begin("", false);
    plug("a");
    wr(CONTROL, ON);
    wr(STATUS, 0xffff);
    g_assert_cmpint(ask("a"), ==, 0);
    wr(STATUS, 0xffff);
    rig_step(4 * (int64_t)VIV_NS_PER_SEC);
    g_assert_cmpint(ask("a"), ==, -EBUSY);
    rig_step(2 * (int64_t)VIV_NS_PER_SEC);
    g_assert_cmpint(ask("a"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2), ==, PRESENT | PRESSED);
    wr(STATUS, PRESSED);
    wr(CONTROL, BLINKS);
    rig_step(60 * (int64_t)VIV_NS_PER_SEC);
    g_assert_cmpint(ask("a"), ==, -EBUSY);
    wr(CONTROL, BLINKS | NO_POWER);
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED\n");
    end();
}

/* The functions of a slot go together: one press is for all. Who is at something is not disturbed. */
static void test_functions(void)
{
    begin("", false);
    g_assert_cmpint(plug_at("b", "bus=pcie.0.02.0,addr=0.1"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2) & PRESSED, ==, 0);
    g_assert_cmpint(plug_at("a", "bus=pcie.0.02.0,addr=0.0,multifunction=on"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2) & PRESSED, ==, PRESSED);
    wr(CONTROL, BLINKS); /* it comes up */
    wr(STATUS, 0xffff);
    g_assert_cmpint(ask("a"), ==, -EBUSY);
    g_assert_cmphex(rd(STATUS, 2) & PRESSED, ==, 0);
    wr(CONTROL, ON);
    g_assert_cmpint(ask("a"), ==, 0);
    wr(STATUS, 0xffff);
    g_assert_cmpint(ask("b"), ==, 0);
    g_assert_cmphex(rd(STATUS, 2) & PRESSED, ==, 0);
    wr(CONTROL, BLINKS);
    rig_step(10 * (int64_t)VIV_NS_PER_SEC);
    g_assert_cmpint(ask("b"), ==, -EBUSY);
    wr(CONTROL, ON); /* it does not want to: for both */
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_UNPLUG_GUEST_ERROR\nDEVICE_UNPLUG_GUEST_ERROR\n");
    g_assert_cmpint(ask("b"), ==, 0);
    wr(CONTROL, BLINKS | NO_POWER);
    rig_turn();
    g_assert_nonnull(strstr(events->str, "DEVICE_DELETED\nDEVICE_DELETED\n"));
    end();
}

/* INTx follows the reasons for it. */
static void test_line(void)
{
    begin("", false);
    wr(CONTROL, INTERRUPTS | CHANGED | NO_POWER | OFF);
    g_assert_false(port->intx_level);
    plug("a");
    g_assert_true(port->intx_level);
    wr(STATUS, CHANGED);
    g_assert_false(port->intx_level);
    end();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin("", false);
    plug("a");
    wr(CONTROL, INTERRUPTS | ALL | ON);
    ask("a");
    data = rig_save(&len);
    end();
    begin("", true);
    rig_load(data, len);
    g_assert_cmphex(rd(STATUS, 2) & (PRESENT | PRESSED), ==, PRESENT | PRESSED);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    viv_dev_lock();
    viv_dev_unplug_asked();
    viv_dev_unlock();
    rig_turn();
    g_assert_cmpstr(events->str, ==, "DEVICE_DELETED\n");
    end();
    g_clear_pointer(&data, g_free);

    /* In a slot that has no power yet. */
    begin("", false);
    plug("a");
    data = rig_save(&len);
    end();
    begin("", true);
    rig_load(data, len);
    g_assert_cmphex(behind(), ==, 0xffffffff);
    g_assert_cmphex(rd(LINK_STATUS, 2) & 0x2000, ==, 0);
    wr(CONTROL, ON);
    g_assert_cmphex(behind(), ==, 0x00051b36);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/slot/registers", test_registers);
    g_test_add_func("/slot/plug", test_plug);
    g_test_add_func("/slot/before-boot", test_before_boot);
    g_test_add_func("/slot/unplug", test_unplug);
    g_test_add_func("/slot/again", test_again);
    g_test_add_func("/slot/functions", test_functions);
    g_test_add_func("/slot/refused", test_refused);
    g_test_add_func("/slot/line", test_line);
    g_test_add_func("/slot/state", test_state);
    return g_test_run();
}
