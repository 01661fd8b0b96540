/* The local APIC's timer (SDM 3A 10.5.4): one-shot, periodic, TSC-deadline.
 *
 * It counts at VIV_APIC_HZ of guest time, divided. Nothing ticks: a host timer stands at the next expiry, the current
 * count is computed when read. */
#include "cpu/x86/apic_int.h"

#include "base/units.h"
#include "cpu/x86/state.h"

#include <glib.h>

_Static_assert(VIV_APIC_HZ == VIV_NS_PER_SEC, "one count is one nanosecond");

/* timer_start_ns of a one-shot count that ran out: a later change to periodic does not start it again. */
#define RAN_OUT INT64_MAX

/* Faster than this nothing fires, whatever the guest programs: each firing costs the loop thread. */
#define SHORTEST_NS 20000ll

static unsigned divide_shift(const struct viv_apic *a)
{
    unsigned d = (a->timer_divide & 3) | (a->timer_divide >> 1 & 4);

    return d == 7 ? 0 : d + 1;
}

static uint32_t mode(const struct viv_apic *a)
{
    return __atomic_load_n(&a->lvt[VIV_LVT_TIMER], __ATOMIC_RELAXED) & VIV_LVT_TIMER_MODE;
}

static int64_t period_ns(const struct viv_apic *a)
{
    return (int64_t)((uint64_t)a->timer_initial << divide_shift(a));
}

uint32_t viv_apic_timer_current(const struct viv_apic *a)
{
    int64_t period = period_ns(a), since;

    if (!period || mode(a) == VIV_LVT_TSC_DEADLINE || a->timer_start_ns == RAN_OUT)
        return 0;
    since = viv_clock_ns(VIV_CLOCK_GUEST) - a->timer_start_ns;
    if (since >= period) {
        if (mode(a) != VIV_LVT_PERIODIC)
            return 0;
        since %= period;
    }
    return a->timer_initial - (uint32_t)(since >> divide_shift(a));
}

static uint64_t own_tsc(const struct viv_apic *a)
{
    return viv_guest_tsc() + (uint64_t)a->vcpu->x86->tsc_offset;
}

/* At a deadline that is over the timer disarms itself and interrupts (10.5.4.1), once: the vCPU and the timer's
 * callback may both come here. */
static bool deadline_over(struct viv_apic *a)
{
    uint64_t d = __atomic_load_n(&a->deadline, __ATOMIC_SEQ_CST);
    uint32_t lvt = __atomic_load_n(&a->lvt[VIV_LVT_TIMER], __ATOMIC_SEQ_CST);

    if (!d || d > own_tsc(a))
        return false;
    if (__atomic_compare_exchange_n(&a->deadline, &d, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
        !(lvt & VIV_LVT_MASKED))
        viv_apic_accept(a, (uint8_t)lvt, false);
    return true;
}

/* timer_lock held. A deadline that is over already does not wait for the loop: the interrupt is there before the next
 * instruction. */
static void arm_deadline(struct viv_apic *a)
{
    uint64_t now, left;
    int64_t ns;

    if (!a->deadline || deadline_over(a)) {
        viv_timer_cancel(a->timer);
        return;
    }
    now = own_tsc(a);
    left = a->deadline > now ? a->deadline - now : 0;
    /* Rounded up: an early interrupt would find the deadline in the future. */
    ns = (int64_t)MIN((unsigned __int128)left * VIV_NS_PER_SEC / viv_tsc_hz() + (left != 0), INT64_MAX / 4);
    viv_timer_set(a->timer, viv_clock_ns(VIV_CLOCK_GUEST) + ns);
}

/* timer_lock held. A one-shot count that is over interrupts, once, whoever finds out first: the callback, or the vCPU
 * before it changes what decides it. */
static bool count_over(struct viv_apic *a)
{
    int64_t period = period_ns(a);

    if (mode(a) || !period || a->timer_start_ns == RAN_OUT ||
        viv_clock_ns(VIV_CLOCK_GUEST) - a->timer_start_ns < period)
        return false;
    a->timer_start_ns = RAN_OUT;
    if (!(a->lvt[VIV_LVT_TIMER] & VIV_LVT_MASKED))
        viv_apic_accept(a, (uint8_t)a->lvt[VIV_LVT_TIMER], false);
    return true;
}

/* When a periodic count next runs out; of counts too short to be told apart only some. */
static int64_t next_tick(const struct viv_apic *a, int64_t period)
{
    int64_t step = (SHORTEST_NS + period - 1) / period * period; /* a period at least */
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST), since = now - a->timer_start_ns;

    return since < 0 ? a->timer_start_ns + step : now + step - since % step;
}

static void arm_count(struct viv_apic *a)
{
    int64_t period = period_ns(a);

    /* Over already: the host let us wait since the count began. Dropping it would stop a guest's clock for good. */
    if (!period || a->timer_start_ns == RAN_OUT || count_over(a)) {
        viv_timer_cancel(a->timer);
        return;
    }
    viv_timer_set(a->timer, mode(a) == VIV_LVT_PERIODIC ? next_tick(a, period) : a->timer_start_ns + period);
}

static void update_locked(struct viv_apic *a)
{
    if (mode(a) == VIV_LVT_TSC_DEADLINE)
        arm_deadline(a);
    else
        arm_count(a);
}

void viv_apic_timer_update(struct viv_apic *a)
{
    pthread_mutex_lock(&a->timer_lock);
    update_locked(a);
    pthread_mutex_unlock(&a->timer_lock);
}

static void fired_locked(struct viv_apic *a)
{
    uint32_t lvt = __atomic_load_n(&a->lvt[VIV_LVT_TIMER], __ATOMIC_SEQ_CST);

    if ((lvt & VIV_LVT_TIMER_MODE) == VIV_LVT_TSC_DEADLINE) {
        /* Not there yet: the host's clock and its TSC drift apart (NTP slews by up to 500 ppm, and the TSC's rate is a
         * measurement), or the deadline was set again while we were on our way. Nobody else would look again. */
        arm_deadline(a);
        return;
    }
    if (!(lvt & VIV_LVT_TIMER_MODE)) {
        arm_count(a); /* over, or begun again while we were on our way */
        return;
    }
    if ((lvt & VIV_LVT_TIMER_MODE) == VIV_LVT_PERIODIC) {
        int64_t period = period_ns(a);

        if (period && a->timer_start_ns != RAN_OUT)
            viv_timer_set(a->timer, next_tick(a, period));
    }
    if (!(lvt & VIV_LVT_MASKED))
        viv_apic_accept(a, (uint8_t)lvt, false);
}

/* Loop thread, device lock held. A late periodic timer gives one interrupt, not the ones missed. */
void viv_apic_timer_fired(void *opaque)
{
    struct viv_apic *a = opaque;

    pthread_mutex_lock(&a->timer_lock);
    fired_locked(a);
    pthread_mutex_unlock(&a->timer_lock);
}

static void reset_locked(struct viv_apic *a)
{
    a->timer_initial = 0;
    a->timer_divide = 0;
    a->timer_start_ns = 0;
    __atomic_store_n(&a->deadline, 0, __ATOMIC_SEQ_CST);
    if (a->timer)
        viv_timer_cancel(a->timer);
}

void viv_apic_timer_reset(struct viv_apic *a)
{
    pthread_mutex_lock(&a->timer_lock);
    reset_locked(a);
    pthread_mutex_unlock(&a->timer_lock);
}

static void start_locked(struct viv_apic *a, uint32_t initial)
{
    if (mode(a) == VIV_LVT_TSC_DEADLINE)
        return; /* ignored in this mode */
    a->timer_initial = initial;
    a->timer_start_ns = viv_clock_ns(VIV_CLOCK_GUEST);
    update_locked(a);
}

void viv_apic_timer_start(struct viv_apic *a, uint32_t initial)
{
    pthread_mutex_lock(&a->timer_lock);
    start_locked(a, initial);
    pthread_mutex_unlock(&a->timer_lock);
}

static void set_divide_locked(struct viv_apic *a, uint32_t divide)
{
    uint32_t current;

    count_over(a);
    current = viv_apic_timer_current(a);
    a->timer_divide = divide;
    if (!a->timer_initial || mode(a) == VIV_LVT_TSC_DEADLINE || a->timer_start_ns == RAN_OUT)
        return;
    /* The count goes on from where it stands, at the new rate. */
    a->timer_start_ns = viv_clock_ns(VIV_CLOCK_GUEST) -
                        (int64_t)((uint64_t)(a->timer_initial - current) << divide_shift(a));
    update_locked(a);
}

void viv_apic_timer_set_divide(struct viv_apic *a, uint32_t divide)
{
    pthread_mutex_lock(&a->timer_lock);
    set_divide_locked(a, divide);
    pthread_mutex_unlock(&a->timer_lock);
}

/* A change between TSC-deadline and the others disarms (10.5.4.1). */
static void set_lvt_locked(struct viv_apic *a, uint32_t lvt)
{
    uint32_t old = mode(a);

    count_over(a);
    if ((lvt & VIV_LVT_TIMER_MODE) == VIV_LVT_TIMER_MODE ||
        ((lvt & VIV_LVT_TSC_DEADLINE) &&
         !viv_cpuid_has(a->vcpu->x86->cpuid, VIV_FT_TSC_DEADLINE)))
        lvt &= ~VIV_LVT_TSC_DEADLINE;
    __atomic_store_n(&a->lvt[VIV_LVT_TIMER], lvt, __ATOMIC_SEQ_CST);
    if ((old == VIV_LVT_TSC_DEADLINE) != ((lvt & VIV_LVT_TIMER_MODE) == VIV_LVT_TSC_DEADLINE)) {
        a->timer_initial = 0;
        __atomic_store_n(&a->deadline, 0, __ATOMIC_SEQ_CST);
    }
    update_locked(a);
}

void viv_apic_timer_set_lvt(struct viv_apic *a, uint32_t lvt)
{
    pthread_mutex_lock(&a->timer_lock);
    set_lvt_locked(a, lvt);
    pthread_mutex_unlock(&a->timer_lock);
}

uint64_t viv_apic_get_deadline(const struct viv_apic *a)
{
    return mode(a) == VIV_LVT_TSC_DEADLINE ? __atomic_load_n(&a->deadline, __ATOMIC_SEQ_CST) : 0;
}

void viv_apic_set_deadline(struct viv_apic *a, uint64_t tsc)
{
    if (mode(a) != VIV_LVT_TSC_DEADLINE)
        return;
    pthread_mutex_lock(&a->timer_lock);
    __atomic_store_n(&a->deadline, tsc, __ATOMIC_SEQ_CST);
    arm_deadline(a);
    pthread_mutex_unlock(&a->timer_lock);
}

void viv_apic_tsc_moved(struct viv_apic *a)
{
    pthread_mutex_lock(&a->timer_lock);
    if (mode(a) == VIV_LVT_TSC_DEADLINE)
        arm_deadline(a);
    pthread_mutex_unlock(&a->timer_lock);
}
