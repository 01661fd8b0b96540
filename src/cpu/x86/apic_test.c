/* The local APIC where time and order matter: timers that fire early, interrupts behind an ExtINT, and what a saved
 * state may not bring. */
#include "cpu/x86/apic_int.h"

#include "base/bytes.h"
#include "base/units.h"
#include "cpu/x86/interp/test_cpu.h"
#include "host/clock.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

#define MS ((int64_t)VIV_NS_PER_MS)

static int ack(void *opaque)
{
    viv_apic_set_extint(0);
    return 0x50;
}

static struct viv_intc intc = {.ack_extint = ack};

static struct viv_apic *new_apic(struct test_cpu *t)
{
    viv_dev_lock();
    viv_guest_clock_step(0);
    t->vcpu.apic = viv_apic_new(&t->vcpu, &intc);
    viv_dev_unlock();
    atomic_store(&t->vcpu.requests, 0);
    return t->vcpu.apic;
}

static void end(struct test_cpu *t)
{
    viv_dev_lock();
    viv_apic_free(t->vcpu.apic);
    viv_dev_unlock();
    t->vcpu.apic = NULL;
    atomic_store(&t->vcpu.requests, 0);
}

static void advance(int64_t ns)
{
    viv_dev_lock();
    viv_guest_clock_step(ns);
    viv_dev_unlock();
}

static uint64_t ticks(int64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * viv_tsc_hz() / VIV_NS_PER_SEC);
}

/* The TSC runs slower than we think, as against a host clock that NTP speeds up: the host timer is there before the
 * deadline, and has to be set again. */
static void test_early_deadline(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);

    viv_apic_mmio_write(a, VIV_REG_LVT_TIMER << 4, VIV_LVT_TSC_DEADLINE | 0x40, 4);
    viv_apic_set_deadline(a, viv_guest_tsc() + (uint64_t)t->c->tsc_offset + ticks(10 * MS));
    g_assert_cmpuint(viv_apic_get_deadline(a), !=, 0);
    viv_guest_tsc_set(viv_guest_tsc() - ticks(MS));
    advance(10 * MS + MS / 2);
    g_assert_false(viv_apic_pending(a));
    advance(MS);
    g_assert_true(viv_apic_pending(a));
    g_assert_cmpuint(viv_apic_get_deadline(a), ==, 0);
    end(t);
}

static void gate(struct test_cpu *t, unsigned vector, uint32_t handler, unsigned type)
{
    uint8_t *g = t->ram + TEST_IDT + 16 * vector;

    memset(g, 0, 16);
    viv_st_le32(g, 8u << 16 | (handler & 0xffff));
    viv_st_le32(g + 4, (handler & 0xffff0000) | 0x8000 | type << 8);
}

/* An interrupt of the local APIC behind one of the 8259 whose gate leaves IF set. */
static void test_behind_extint(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);

    gate(t, 0x50, 0x6000, 15); /* trap gate: nop; nop; hlt */
    gate(t, 0x40, 0x6100, 14); /* hlt */
    memcpy(t->ram + 0x6000, "\x90\x90\xf4", 3);
    memcpy(t->ram + 0x6100, "\xf4", 1);
    t->c->idtr.limit = 0xfff;
    test_cpu_code(t, "\xfb\x90\x90\xf4", 4); /* sti; nop; nop; hlt */
    viv_apic_set_extint(1);
    viv_apic_accept(a, 0x40, false);
    g_assert_cmpint(viv_interp_run(t->c), ==, VIV_RUN_HALT);
    g_assert_cmphex(t->c->rip, ==, 0x6101);
    end(t);
}

static int reload(const struct viv_state_table *table, void *obj)
{
    struct viv_state_writer *w = viv_state_writer_new();
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *blob;
    size_t len;
    int rc;

    viv_state_save(w, "it", table, obj);
    blob = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    r = viv_state_reader_new(blob, len);
    rc = viv_state_load(r, "it", table, obj, &err);
    viv_state_reader_free(r);
    viv_err_clear(&err);
    g_free(blob);
    return rc;
}

static void test_hostile_state(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);

    g_assert_cmpint(reload(&viv_apic_state, a), ==, 0);
    a->timer_start_ns = INT64_MAX;
    g_assert_cmpint(reload(&viv_apic_state, a), ==, 0);
    a->timer_start_ns = INT64_MAX - 1;
    g_assert_cmpint(reload(&viv_apic_state, a), <, 0);
    a->timer_start_ns = INT64_MIN;
    g_assert_cmpint(reload(&viv_apic_state, a), <, 0);
    end(t);

    g_assert_cmpint(reload(&viv_x86_state, t->c), ==, 0);
    t->c->fpu.mxcsr = 0x80001f80;
    g_assert_cmpint(reload(&viv_x86_state, t->c), <, 0);
    t->c->fpu.mxcsr = 0x1f80;
    t->c->xcr0 = 6;
    g_assert_cmpint(reload(&viv_x86_state, t->c), <, 0);
    t->c->xcr0 = 1;
}

/* The host let the vCPU wait between starting a count and arming its timer, or is late with the callback: the interrupt
 * comes all the same, and once. */
static void test_late_count(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);

    viv_apic_timer_set_lvt(a, 0x61);
    viv_apic_timer_set_divide(a, 0xb); /* by 1 */
    viv_apic_timer_start(a, 1000);
    viv_timer_cancel(a->timer);
    advance(2000);
    viv_apic_timer_update(a);
    g_assert_cmpint(viv_apic_take(a), ==, 0x61);
    viv_apic_mmio_write(a, 0xb0, 0, 4);
    viv_apic_timer_fired(a);
    viv_apic_timer_set_lvt(a, 0x62);
    g_assert_false(viv_apic_pending(a));
    end(t);
}

/* In x2APIC mode ID, LDR, DFR and the upper half of ICR are read-only or not there; as long as it lasts, and after it. */
static void test_x2_refused(void)
{
    static const uint8_t reg[] = {VIV_REG_ID, VIV_REG_LDR, VIV_REG_DFR, VIV_REG_ICR2};
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);
    struct viv_apic before;

    g_assert_true(viv_apic_set_base(a, viv_apic_get_base(a) | VIV_APIC_BASE_X2));
    before = *a;
    for (unsigned n = 0; n < G_N_ELEMENTS(reg); n++)
        g_assert_false(viv_apic_msr_write(a, 0x800 + reg[n], 0x05000000));
    g_assert_cmphex(a->id, ==, before.id);
    g_assert_cmphex(a->ldr, ==, before.ldr);
    g_assert_cmphex(a->dfr, ==, before.dfr);
    g_assert_cmphex(a->icr_high, ==, before.icr_high);
    end(t);
}

/* The shortest period does not keep the loop thread busy; the count that the guest reads is not coarser for it. */
static void test_short_period(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_apic *a = new_apic(t);
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    viv_apic_timer_set_divide(a, 0xb); /* by 1 */
    viv_apic_timer_set_lvt(a, VIV_LVT_PERIODIC | 0x61);
    for (uint32_t n = 1; n < 1000000; n = n * 3 + 1) {
        viv_apic_timer_start(a, n);
        for (int i = 0; i < 3; i++) {
            int64_t left = viv_timer_expiry_ns(a->timer) - now;

            g_assert_cmpint(left, >=, 20000);
            g_assert_cmpint(left, <, 20000 + n);
            g_assert_cmpint(left % n, ==, 0);
            advance(left);
            now += left;
            g_assert_cmpint(viv_apic_take(a), ==, 0x61);
            viv_apic_mmio_write(a, 0xb0, 0, 4);
        }
    }
    viv_apic_timer_start(a, 1000);
    advance(300);
    g_assert_cmpuint(viv_apic_timer_current(a), ==, 700);
    advance(1300);
    g_assert_cmpuint(viv_apic_timer_current(a), ==, 400);
    end(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/early-deadline", test_early_deadline);
    g_test_add_func("/apic/late-count", test_late_count);
    g_test_add_func("/apic/x2-refused", test_x2_refused);
    g_test_add_func("/apic/short-period", test_short_period);
    g_test_add_func("/apic/behind-extint", test_behind_extint);
    g_test_add_func("/apic/hostile-state", test_hostile_state);
    return g_test_run();
}
