/* xHCI: a small driver: slots, contexts, transfers, events, errors, ports, interrupts; what a hostile one may write. */
#include "bus/pci.h"
#include "dev/usb/usb_test.h"
#include "ui/input.h"

#include <linux/input-event-codes.h>

extern const struct viv_dev_class viv_dev_qemu_xhci, viv_dev_i440fx, viv_dev_usb_kbd;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_qemu_xhci, &viv_dev_usb_kbd, &test_hc_class, NULL};

enum { BASE = 0xe0000000, MSIX = 0xe0010000, OPER = BASE + 0x40, PORT = BASE + 0x440, INTR = BASE + 0x1020, BELL = BASE + 0x2000 };
enum { DCBAA = 0x4000, COMMANDS = 0x5000, EVENTS = 0x6000, TABLE = 0x7000, INPUT = 0x8000, CONTEXT = 0x9000, RING0 = 0xa000, RING1 = 0xb000 };
enum { EVENT_SIZE = 64 };

static struct viv_usb_dev *kbd;
static unsigned command_at, event_at, ring0_at, ring1_at;
static bool event_cycle;
static int pirq[4];

static void set_pirq(void *opaque, int n, int level)
{
    pirq[n] = level;
}

static void w64(uint64_t at, uint64_t v)
{
    set_mem32(at, (uint32_t)v);
    set_mem32(at + 4, (uint32_t)(v >> 32));
}

static void set_running(bool running)
{
    viv_dev_lock();
    viv_dev_set_running_all(running);
    viv_dev_unlock();
}

static void begin(const char *opts)
{
    usb_begin(true);
    memset(pirq, 0, sizeof(pirq));
    command_at = event_at = ring0_at = ring1_at = 0;
    event_cycle = true;
    rig_add("i440FX", "addr=0");
    viv_pci_bus_set_pirq(rig.board.pci, set_pirq, NULL);
    rig_add("qemu-xhci", opts ? opts : "addr=2");
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 16, 0x10, BASE, 4);
    viv_pci_config_write(rig.board.pci, 16, 0x18, MSIX, 4);
    viv_pci_config_write(rig.board.pci, 16, 4, 6, 2);
    viv_dev_unlock();
    kbd = (struct viv_usb_dev *)rig_add("usb-kbd", NULL);
    set_mem32(OPER + 0x38, 8);
    w64(OPER + 0x30, DCBAA);
    w64(OPER + 0x18, COMMANDS | 1);
    w64(TABLE, EVENTS);
    set_mem32(TABLE + 8, EVENT_SIZE);
    set_mem32(INTR + 8, 1);
    w64(INTR + 0x18, EVENTS);
    w64(INTR + 0x10, TABLE);
    set_mem32(INTR, 2);
    set_running(true);
    set_mem32(OPER, 5);
}

/* The next event's type; 0: none. */
static unsigned event(uint64_t *param, unsigned *code, unsigned *slot)
{
    uint64_t at = EVENTS + 16 * event_at;
    uint32_t control = mem32(at + 12);

    if ((control & 1) != event_cycle)
        return 0;
    *param = mem64(at);
    *code = mem32(at + 8) >> 24;
    *slot = control >> 24;
    if (++event_at == EVENT_SIZE) {
        event_at = 0;
        event_cycle = !event_cycle;
    }
    w64(INTR + 0x18, (EVENTS + 16 * event_at) | 8);
    return control >> 10 & 63;
}

static void expect(unsigned type, uint64_t param, unsigned code)
{
    uint64_t p;
    unsigned c, slot;

    g_assert_cmpuint(event(&p, &c, &slot), ==, type);
    g_assert_cmphex(p, ==, param);
    g_assert_cmpuint(c, ==, code);
}

static void expect_none(void)
{
    uint64_t p;
    unsigned c, slot;

    g_assert_cmpuint(event(&p, &c, &slot), ==, 0);
}

static void trb(uint64_t at, uint64_t param, uint32_t status, uint32_t control)
{
    set_mem64(at, param);
    set_mem32(at + 8, status);
    set_mem32(at + 12, control | 1);
}

static void command(uint64_t param, uint32_t control, unsigned code)
{
    uint64_t at = COMMANDS + 16 * command_at++;

    trb(at, param, 0, control);
    set_mem32(BELL, 0);
    expect(33, at, code);
}

/* Port 1 reset, slot 1 addressed with endpoint 0's ring at RING0. */
static void address(void)
{
    expect(34, 1 << 24, 1);
    set_mem32(PORT, 1 << 9 | 1 << 17 | 1 << 4);
    g_assert_cmphex(mem32(PORT), ==, 0xe03 | 1 << 21); /* enabled, U0, high speed, reset change */
    expect(34, 1 << 24, 1);
    set_mem32(PORT, 1 << 9 | 1 << 21);
    command(0, 9 << 10, 1);
    set_mem64(DCBAA + 8, CONTEXT);
    set_mem32(INPUT + 4, 3);
    set_mem32(INPUT + 32, 1 << 27 | 3 << 20);
    set_mem32(INPUT + 36, 1 << 16);
    set_mem32(INPUT + 64 + 4, 64 << 16 | 4 << 3);
    set_mem64(INPUT + 64 + 8, RING0 | 1);
    command(INPUT, 11 << 10 | 1 << 24, 1);
    g_assert_cmpint(kbd->address, ==, 1);
    g_assert_cmphex(mem32(CONTEXT + 12), ==, 2 << 27 | 1);
    g_assert_cmphex(mem32(CONTEXT + 32) & 7, ==, 1);
}

/* SETUP, data if there is, status with IOC; returns the place of the status stage. */
static uint64_t control_td(uint64_t setup, unsigned len)
{
    uint64_t at = RING0 + 16 * ring0_at;

    trb(at, setup, 8, 2 << 10 | 1 << 6 | (len ? 3 << 16 : 0));
    if (len)
        trb(at + 16, USB_DATA, len, 3 << 10 | 1 << 16 | 1 << 2);
    trb(at + (len ? 32 : 16), 0, 0, 4 << 10 | 1 << 5 | (len ? 0 : 1 << 16));
    ring0_at += len ? 3 : 2;
    set_mem32(BELL + 4, 1);
    return at + (len ? 32 : 16);
}

static void configure(void)
{
    uint64_t at = control_td(0x0000000000010900ull, 0);

    expect(32, at, 1);
    set_mem32(INPUT, 0);
    set_mem32(INPUT + 4, 1 | 1 << 3);
    set_mem32(INPUT + 32, 3u << 27 | 3 << 20);
    set_mem32(INPUT + 32 + 3 * 32 + 4, 8 << 16 | 7 << 3);
    set_mem64(INPUT + 32 + 3 * 32 + 8, RING1 | 1);
    command(INPUT, 12 << 10 | 1 << 24, 1);
    g_assert_cmphex(mem32(CONTEXT + 12) >> 27, ==, 3);
    g_assert_cmphex(mem32(CONTEXT) >> 27, ==, 3);
}

static uint64_t report_td(void)
{
    uint64_t at = RING1 + 16 * ring1_at++;

    trb(at, USB_DATA, 8, 1 << 10 | 1 << 5 | 1 << 2);
    set_mem32(BELL + 4, 3);
    return at;
}

static void key(unsigned code, bool down)
{
    viv_dev_lock();
    viv_input_key(code, down);
    viv_dev_unlock();
}

/* ---- tests ---- */

static void test_registers(void)
{
    begin("addr=2,p2=3,p3=2,slots=8,intrs=4");
    g_assert_cmphex(mem32(BASE), ==, 0x01000040);
    g_assert_cmphex(mem32(BASE + 4), ==, 0x05000408);
    g_assert_cmphex(mem32(BASE + 0x28), ==, 0x301);
    g_assert_cmphex(mem32(BASE + 0x38), ==, 0x204);
    g_assert_cmphex(mem32(OPER + 4), ==, 0x18); /* EINT and PCD: the keyboard */
    g_assert_cmphex(mem32(PORT), ==, 0x20ee1);
    g_assert_cmphex(mem32(PORT + 0x40), ==, 0x2a0);
    g_assert_cmphex(mem32(PORT + 0x50), ==, 0);
    g_assert_cmpint(pirq[1], ==, 1); /* slot 2, pin A */
    set_mem32(INTR, 3);
    g_assert_cmpint(pirq[1], ==, 0);
    rig_step(125000 * 100);
    g_assert_cmpuint(mem32(BASE + 0x1000), ==, 100);
    set_mem32(OPER, 0);
    g_assert_cmphex(mem32(OPER + 4) & 1, ==, 1);
    set_mem32(OPER, 0x200); /* restore: there is nothing to restore from */
    g_assert_cmphex(mem32(OPER + 4) & 0x400, ==, 0x400);
    set_mem32(OPER, 2);
    g_assert_cmphex(mem32(OPER), ==, 0);
    rig_fini();
}

static void test_control(void)
{
    uint64_t at;

    begin(NULL);
    address();
    at = control_td(0x0012000001000680ull, 18);
    expect(32, at, 1);
    g_assert_cmphex(mem32(USB_DATA + 8), ==, 0x00010627);
    at = control_td(0x00ff000001000680ull, 255); /* short */
    expect(32, at - 16, 13);
    g_assert_cmphex(mem32(EVENTS + 16 * (event_at - 1) + 8) & 0xffffff, ==, 255 - 18);
    expect(32, at, 1);
    at = control_td(0x0012000009000680ull, 18); /* no such descriptor: stall at the data stage */
    expect(32, at - 16, 6);
    expect_none();
    g_assert_cmphex(mem32(CONTEXT + 32) & 7, ==, 2);
    set_mem32(BELL + 4, 1); /* a halted endpoint does not listen */
    expect_none();
    command(0, 14 << 10 | 1 << 24 | 1 << 16, 1);
    command((at + 16) | 1, 16 << 10 | 1 << 24 | 1 << 16, 1);
    at = control_td(0x0012000001000680ull, 18);
    expect(32, at, 1);
    command(0, 14 << 10 | 1 << 24 | 1 << 16, 19); /* not halted */
    command(0, 14 << 10 | 2 << 24 | 1 << 16, 11); /* no such slot */
    command(0, 23 << 10, 1);
    command(0, 40 << 10, 5);
    command(0, 10 << 10 | 1 << 24, 1);
    set_mem32(BELL + 4, 1);
    expect_none();
    rig_fini();
}

static void test_interrupt_endpoint(void)
{
    uint64_t first, second;

    begin(NULL);
    address();
    configure();
    first = report_td();
    second = report_td();
    expect_none();
    rig_step(1000000000);
    expect_none();
    key(KEY_A, true);
    expect(32, first, 1);
    g_assert_cmphex(mem64(USB_DATA), ==, 0x040000);
    key(KEY_A, false);
    expect(32, second, 1);
    key(KEY_B, true); /* nothing is queued */
    expect_none();
    first = report_td();
    expect(32, first, 1);
    report_td();
    command(0, 15 << 10 | 1 << 24 | 3 << 16, 1);
    g_assert_cmphex(mem32(CONTEXT + 96) & 7, ==, 3);
    g_assert_cmphex(mem64(CONTEXT + 96 + 8), ==, (RING1 + 48) | 1);
    key(KEY_B, false);
    expect_none();
    set_mem32(BELL + 4, 3);
    expect(32, RING1 + 48, 1);
    rig_fini();
}

/* A ring with a link, an event data TRB, a chain, a no-op. */
static void test_rings(void)
{
    begin(NULL);
    address();
    configure();
    trb(RING1, USB_DATA, 5, 1 << 10 | 1 << 4);
    trb(RING1 + 16, RING1 + 0x100, 0, 6 << 10 | 1 << 4);
    trb(RING1 + 0x100, USB_DATA + 0x100, 3, 1 << 10 | 1 << 4);
    trb(RING1 + 0x110, 0x1234567812345678ull, 0, 7 << 10 | 1 << 5);
    trb(RING1 + 0x120, 0, 0, 8 << 10 | 1 << 5);
    trb(RING1 + 0x130, RING1, 0, 6 << 10 | 1 << 1); /* back, the other cycle */
    set_mem32(BELL + 4, 3);
    key(KEY_A, true);
    expect(32, 0x1234567812345678ull, 1);
    expect(32, RING1 + 0x120, 1);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x040000);
    expect_none();
    set_mem32(RING1, USB_DATA);
    set_mem32(RING1 + 8, 8);
    set_mem32(RING1 + 12, 1 << 10 | 1 << 5); /* cycle 0 */
    set_mem32(BELL + 4, 3);
    key(KEY_A, false);
    expect(32, RING1, 1);
    rig_fini();
}

static void msix_on(void)
{
    viv_dev_lock();
    for (unsigned at = viv_pci_config_read(rig.board.pci, 16, 0x34, 1); at; at = viv_pci_config_read(rig.board.pci, 16, at + 1, 1)) {
        if (viv_pci_config_read(rig.board.pci, 16, at, 1) == 0x11)
            viv_pci_config_write(rig.board.pci, 16, at + 2, 0x8000, 2);
    }
    viv_dev_unlock();
    w64(MSIX, 0xfee01000);
    set_mem32(MSIX + 8, 0x55);
    set_mem32(MSIX + 12, 0);
}

static void test_msix(void)
{
    begin(NULL);
    msix_on();
    address();
    g_assert_cmpuint(rig.msis, >=, 3);
    g_assert_cmphex(rig.msi_data, ==, 0x55);
    g_assert_cmpint(pirq[1], ==, 0);
    rig_fini();
}

/* What came while interrupts were off is told when they are on again: of the interrupter, of the controller. */
static void test_late(void)
{
    unsigned msis;

    begin(NULL);
    msix_on();
    address();
    set_mem32(INTR, 0);
    msis = rig.msis;
    trb(COMMANDS + 16 * command_at++, 0, 0, 23 << 10);
    set_mem32(BELL, 0);
    g_assert_cmpuint(rig.msis, ==, msis);
    g_assert_cmphex(mem32(INTR), ==, 1);
    set_mem32(INTR, 2);
    g_assert_cmpuint(rig.msis, ==, msis + 1);
    g_assert_cmphex(mem32(INTR), ==, 2);
    expect(33, COMMANDS + 16 * (command_at - 1), 1);
    set_mem32(OPER, 1);
    trb(COMMANDS + 16 * command_at++, 0, 0, 23 << 10);
    set_mem32(BELL, 0);
    g_assert_cmpuint(rig.msis, ==, msis + 1);
    set_mem32(OPER, 5);
    g_assert_cmpuint(rig.msis, ==, msis + 2);
    expect(33, COMMANDS + 16 * (command_at - 1), 1);
    rig_fini();
}

/* Software that does not take events: work waits, and goes on. */
/* What happens while the VM is stopped changes nothing in its memory, and is told when it goes on. */
static void test_stopped(void)
{
    uint64_t at;

    begin(NULL);
    address();
    configure();
    at = report_td();
    set_running(false);
    key(KEY_A, true);
    rig_add("usb-kbd", "port=2");
    expect_none();
    set_running(true);
    expect(34, 2 << 24, 1);
    expect(32, at, 1);
    expect_none();
    g_assert_cmpuint(usb_byte(2), ==, 4);
    set_mem32(PORT + 16, 1 << 9 | 1 << 17);
    set_running(false);
    set_running(true);
    expect_none();
    rig_fini();
}

static void test_full(void)
{
    uint64_t p;
    unsigned code, slot, n = 0;

    begin(NULL);
    address();
    for (unsigned i = 0; i < 200; i++)
        trb(COMMANDS + 16 * command_at++, 0, 0, 23 << 10);
    set_mem32(BELL, 0);
    while (event(&p, &code, &slot) == 33 && code == 1)
        n++;
    g_assert_cmpuint(n, ==, 200);
    rig_fini();
}

static void test_suspend(void)
{
    begin(NULL);
    address();
    configure();
    expect(32, control_td(0x0000000000010300ull, 0), 1); /* remote wake-up */
    report_td();
    set_mem32(PORT, 1 << 9 | 1 << 16 | 3 << 5);
    g_assert_cmphex(mem32(PORT) >> 5 & 15, ==, 3);
    key(KEY_A, true);
    expect(34, 1 << 24, 1);
    g_assert_cmphex(mem32(PORT) >> 5 & 15, ==, 15);
    expect_none();
    set_mem32(PORT, 1 << 9 | 1 << 22);
    set_mem32(PORT, 1 << 9 | 1 << 16);
    expect(34, 1 << 24, 1);
    expect(32, RING1, 1);
    rig_fini();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin(NULL);
    address();
    configure();
    report_td();
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmphex(mem32(OPER), ==, 0xffffffff);
    rig_load(data, len);
    g_assert_cmphex(mem32(OPER), ==, 5);
    key(KEY_A, true);
    expect(32, RING1, 1);
    rig_fini();
}

/* What refuses to be loaded is unplugged after that, with a speed that there is. */
static void test_bad_speed(void)
{
    struct viv_err err = VIV_ERR_INIT;

    begin(NULL);
    kbd->speed = (enum viv_usb_speed)0x40000002;
    g_assert_cmpint(viv_usb_dev_state.post_load(kbd, 1, &err), <, 0);
    g_assert_cmpuint(kbd->speed, <, VIV_USB_SPEEDS);
    g_assert_nonnull(kbd->desc->face[kbd->speed]);
    rig_fini();
}

/* Events that go nowhere stop the controller (4.10.2), whatever its endpoints still have to do; a reset wakes it. */
static void test_dead(void)
{
    begin(NULL);
    address();
    set_mem64(TABLE, 0xd0000000);
    w64(INTR + 0x10, TABLE);
    for (unsigned i = 0; i < 4; i++)
        trb(RING0 + 16 * i, 0, 0, 8 << 10 | 1 << 5);
    set_mem32(BELL + 4, 1);
    g_assert_cmphex(mem32(OPER + 4) & 5, ==, 5);
    g_assert_cmphex(mem32(OPER) & 1, ==, 0);
    set_mem32(OPER, 2);
    g_assert_cmphex(mem32(OPER + 4) & 5, ==, 1);
    rig_fini();
}

static void test_hostile(void)
{
    GRand *r = g_rand_new_with_seed(3);

    begin(NULL);
    address();
    configure();
    trb(RING1, RING1, 0, 6 << 10); /* a link to itself */
    set_mem32(BELL + 4, 3);
    expect(32, RING1, 5);
    g_assert_cmphex(mem32(CONTEXT + 96) & 7, ==, 4);
    for (unsigned i = 0; i < 250; i++) /* a chain without an end */
        trb(RING0 + 16 * i, USB_DATA, 1, 1 << 10 | 1 << 4);
    trb(RING0 + 16 * 250, RING0, 0, 6 << 10 | 1 << 4);
    set_mem32(BELL + 4, 1);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t v = g_rand_int(r), where = g_rand_int(r) % 9;
        static const uint32_t areas[] = {DCBAA, COMMANDS, EVENTS, TABLE, INPUT, CONTEXT, RING0, RING1, USB_DATA};

        for (unsigned n = 0; n < 40; n++) {
            v = g_rand_int(r);
            set_mem64(areas[where] + (v & 0xff8), g_rand_int(r) % 3 ? (areas[v % 9] | (v >> 8 & 0x1f)) : (uint64_t)v << 32 | v);
            set_mem32(areas[where] + (v >> 12 & 0xff0) + 12, (v % 24) << 10 | (v >> 24 & 1) << 16 | (v & 0x33) | 1 << 24);
        }
        set_mem32(BELL + 4 * (v % 3), v >> 4 & 7);
        if (i % 50 == 0) {
            set_mem32(OPER, 2);
            set_mem32(OPER + 0x38, 8);
            w64(OPER + 0x30, DCBAA);
            w64(OPER + 0x18, COMMANDS | 1);
            set_mem32(INTR + 8, 1);
            w64(INTR + 0x18, EVENTS);
            set_mem64(TABLE, EVENTS);
            set_mem32(TABLE + 8, EVENT_SIZE);
            w64(INTR + 0x10, TABLE);
            set_mem32(OPER, 5);
        }
        rig_step(1000000);
    }
    g_rand_free(r);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xhci/registers", test_registers);
    g_test_add_func("/xhci/control", test_control);
    g_test_add_func("/xhci/interrupt-endpoint", test_interrupt_endpoint);
    g_test_add_func("/xhci/rings", test_rings);
    g_test_add_func("/xhci/msix", test_msix);
    g_test_add_func("/xhci/late", test_late);
    g_test_add_func("/xhci/stopped", test_stopped);
    g_test_add_func("/xhci/full", test_full);
    g_test_add_func("/xhci/suspend", test_suspend);
    g_test_add_func("/xhci/state", test_state);
    g_test_add_func("/xhci/bad-speed", test_bad_speed);
    g_test_add_func("/xhci/dead", test_dead);
    g_test_add_func("/xhci/hostile", test_hostile);
    return g_test_run();
}
