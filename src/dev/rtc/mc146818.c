/* MC146818A real-time clock with 114 bytes of battery-backed memory, at ports 70h/71h. (Motorola
 * MC146818A, 1984; the century at 32h is what ACPI's FADT calls it.)
 *
 * The date is not counted: it is the host's wall clock (clock=host), the same as it went on from the start, whatever the host's was
 * set to since (clock=rt), or the guest clock (clock=vm), plus an offset, which the guest changes by setting the time. While B.SET or the divider's reset (A.DV = 11x) hold updates the registers keep what is
 * written; they do so without, too, until the second is over, and are taken for the date then, together: day and month of a new date may
 * not fit the old ones. The first update is half a second after the divider has left its reset. Flags of
 * events without an interrupt are worked out when C is read. Periodic ticks that the loop or the guest was
 * too late for are lost, or (lost_tick_policy=slew) made up for.
 *
 * Left out: square-wave output, daylight saving (B.DSE is kept, nothing else), the divider's test modes. */
#include "dev/rtc/mc146818.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/isa.h"
#include "bus/vmevent.h"
#include "dev/rtc/rtc_date.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define NVRAM         128
#define LINE          8
#define UIP_NS        244000 /* update in progress shows this long before the second ends */
#define MAX_OWED      8192   /* a second of the fastest ticks */
#define MIN_TICK_NS   100000 /* 8192 Hz and half of that are what drivers use; no more than 10 kHz */
#define MAX_OFFSET_NS 8000000000000000000 /* year 2223; the registers are clamped before that */
#define DIVIDER_NS    500000000 /* from the end of its reset to the first update */
#define DONT_CARE(v)  (((v)&0xc0) == 0xc0)

enum {
    REG_SECOND = 0,
    REG_SECOND_ALARM,
    REG_MINUTE,
    REG_MINUTE_ALARM,
    REG_HOUR,
    REG_HOUR_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_CENTURY = 0x32,

    A_UIP = 0x80,
    A_DV_RESET = 0x60, /* and bit 4, either way */
    B_SET = 0x80,
    B_PIE = 0x40,
    B_AIE = 0x20,
    B_UIE = 0x10,
    B_SQWE = 8,
    B_BINARY = 4,
    B_24H = 2,
    C_IRQF = 0x80,
    C_PF = 0x40,
    C_AF = 0x20,
    C_UF = 0x10,
    D_VRT = 0x80,
};

struct mc146818 {
    struct viv_dev dev;
    uint8_t index;
    uint8_t reg
        [NVRAM]; /* time bytes are valid while updates are held or `edited`; A without UIP; C without what is worked out */
    int64_t offset_ns;   /* date = clock + offset */
    bool edited;         /* time bytes were written in second `edited_s` of the date, and are not the date yet */
    int64_t edited_s;
    int64_t base_ns;     /* what -rtc base= made that */
    int64_t seen_second; /* up to which U and alarm flags are worked out */
    int64_t seen_tick;   /* the same for the periodic flag */
    uint32_t owed;       /* slew: ticks that found the flag set still, at most a second of them */
    struct viv_timer *update_timer, *periodic_timer;

    enum { FOLLOW_HOST, FOLLOW_RT, FOLLOW_VM } follows;
    int64_t rt_start_ns; /* rt: CLOCK_REALTIME less CLOCK_MONOTONIC at the start */
    bool slew;
    struct viv_region *region;
};

/* ---- the date ---- */

static int64_t clock_ns(const struct mc146818 *r)
{
    if (r->follows == FOLLOW_RT)
        return viv_clock_ns(VIV_CLOCK_HOST) + r->rt_start_ns;
    return r->follows == FOLLOW_HOST ? viv_clock_wall_ns() : viv_clock_ns(VIV_CLOCK_GUEST);
}

static int64_t date_ns(const struct mc146818 *r)
{
    return (int64_t)((uint64_t)clock_ns(r) + (uint64_t)r->offset_ns);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t date_s(const struct mc146818 *r)
{
    return floor_div(date_ns(r), VIV_NS_PER_SEC);
}

static uint8_t encode(const struct mc146818 *r, int v)
{
    return (uint8_t)(r->reg[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct mc146818 *r, uint8_t v)
{
    return r->reg[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *r, int hour)
{
    if (r->reg[REG_B] & B_24H)
        return encode(r, hour);
    return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct mc146818 *r, uint8_t v)
{
    if (r->reg[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static void date_to_regs(struct mc146818 *r, int64_t s)
{
    struct rtc_date d = rtc_from_seconds(s);

    r->reg[REG_SECOND] = encode(r, d.second);
    r->reg[REG_MINUTE] = encode(r, d.minute);
    r->reg[REG_HOUR] = encode_hour(r, d.hour);
    r->reg[REG_WEEKDAY] = encode(r, d.weekday);
    r->reg[REG_DAY] = encode(r, d.day);
    r->reg[REG_MONTH] = encode(r, d.month);
    r->reg[REG_YEAR] = encode(r, ((d.year % 100) + 100) % 100);
    r->reg[REG_CENTURY] = encode(r, d.year / 100 % 100);
}

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* Three centuries of ns are in 64 bits, the way between two of their ends is not. */
static int64_t change_s(const struct mc146818 *r)
{
    __int128 ns = (__int128)r->offset_ns - r->base_ns;
    int64_t part = (int64_t)(ns % VIV_NS_PER_SEC);

    return (int64_t)(ns / VIV_NS_PER_SEC) + floor_div(part + VIV_NS_PER_SEC / 2, VIV_NS_PER_SEC);
}

/* How far the guest's date is from that of -rtc base= now: who keeps the machine's configuration keeps that, too. */
static void tell_change(const struct mc146818 *r)
{
    g_autofree char *path = viv_dev_object_path(&r->dev);

    viv_vm_event_json("RTC_CHANGE", json_pack("{s:I, s:s}", "offset", (json_int_t)change_s(r), "qom-path", path));
}

/* `fraction`: ns into the second. */
static void regs_to_date(struct mc146818 *r, int64_t fraction)
{
    struct rtc_date d = {
        .year = decode(r, r->reg[REG_CENTURY]) * 100 + decode(r, r->reg[REG_YEAR]),
        .month = clamp(decode(r, r->reg[REG_MONTH]), 1, 12),
        .day = clamp(decode(r, r->reg[REG_DAY]), 1, 31),
        .hour = clamp(decode_hour(r, r->reg[REG_HOUR]), 0, 23),
        .minute = clamp(decode(r, r->reg[REG_MINUTE]), 0, 59),
        .second = clamp(decode(r, r->reg[REG_SECOND]), 0, 59),
    };

    /* ns since 1970 in 64 bits end in 2262. */
    d.year = clamp(d.year, 1900, 2200);
    r->seen_second = rtc_to_seconds(&d);
    r->offset_ns = (int64_t)((uint64_t)r->seen_second * VIV_NS_PER_SEC + (uint64_t)fraction - (uint64_t)clock_ns(r));
    tell_change(r);
}

static void take_edited(struct mc146818 *r)
{
    if (r->edited)
        regs_to_date(r, (int64_t)((uint64_t)date_ns(r) - (uint64_t)r->edited_s * VIV_NS_PER_SEC));
    r->edited = false;
}

/* What was written without holding the updates is the date when its second is over. */
static void settle(struct mc146818 *r)
{
    if (date_s(r) != r->edited_s)
        take_edited(r);
}

static bool divider_is_reset(uint8_t a)
{
    return (a & A_DV_RESET) == A_DV_RESET;
}

static bool held(const struct mc146818 *r)
{
    return (r->reg[REG_B] & B_SET) || divider_is_reset(r->reg[REG_A]);
}

/* From now on the registers are what counts. */
static void hold(struct mc146818 *r)
{
    if (!r->edited)
        date_to_regs(r, date_s(r));
    r->edited = false;
}

/* ---- events ---- */

/* ns between periodic ticks, 0: none (table 5; rates 1 and 2 are those of 8 and 9). */
static int64_t tick_ns(const struct mc146818 *r)
{
    unsigned rate = r->reg[REG_A] & 15;

    if (!rate || (r->reg[REG_A] & 0x70) != 0x20)
        return 0;
    if (rate <= 2)
        rate += 7;
    return (int64_t)((VIV_NS_PER_SEC << (rate - 1)) / 32768);
}

static int64_t tick_now(const struct mc146818 *r)
{
    int64_t period = tick_ns(r);

    return period ? viv_clock_ns(VIV_CLOCK_GUEST) / period : 0;
}

static bool alarm_at(const struct mc146818 *r, int64_t s)
{
    struct rtc_date d = rtc_from_seconds(s);
    const uint8_t *a = r->reg;

    return (DONT_CARE(a[REG_SECOND_ALARM]) || decode(r, a[REG_SECOND_ALARM]) == d.second) &&
           (DONT_CARE(a[REG_MINUTE_ALARM]) || decode(r, a[REG_MINUTE_ALARM]) == d.minute) &&
           (DONT_CARE(a[REG_HOUR_ALARM]) || decode_hour(r, a[REG_HOUR_ALARM]) == d.hour);
}

/* `passed` ticks since the last look, of which one fits into the flag. */
static void collect_ticks(struct mc146818 *r, int64_t passed)
{
    int64_t lost = passed - !(r->reg[REG_C] & C_PF);

    r->reg[REG_C] |= C_PF;
    if (r->slew && (r->reg[REG_B] & B_PIE) && passed > 0)
        r->owed = (uint32_t)MIN(r->owed + lost, (int64_t)VIV_NS_PER_SEC / tick_ns(r));
}

/* Brings the flags in C up to date. */
static void collect(struct mc146818 *r)
{
    int64_t s, tick = tick_now(r);

    if (tick != r->seen_tick)
        collect_ticks(r, tick - r->seen_tick);
    r->seen_tick = tick;
    if (held(r))
        return;
    settle(r);
    s = date_s(r);
    if (s != r->seen_second)
        r->reg[REG_C] |= C_UF;
    /* An alarm comes round within a day. */
    if (s - r->seen_second > 86400 || s < r->seen_second)
        r->seen_second = s - 1;
    while (r->seen_second < s && !(r->reg[REG_C] & C_AF)) {
        if (alarm_at(r, ++r->seen_second))
            r->reg[REG_C] |= C_AF;
    }
    r->seen_second = s;
}

static void update_irq(struct mc146818 *r)
{
    uint8_t *c = &r->reg[REG_C];
    bool level = *c & r->reg[REG_B] & (C_PF | C_AF | C_UF);

    *c = level ? *c | C_IRQF : *c & ~C_IRQF;
    viv_isa_set_irq(&r->dev, LINE, level);
}

/* When the timer for the periodic flag is due: with the next tick, or half a period after the guest has taken the last one if it
 * has others to catch up with. */
static int64_t next_tick(const struct mc146818 *r, int64_t now, int64_t period)
{
    int64_t next = (now / period + 1) * period;

    if (r->owed && !(r->reg[REG_C] & C_PF))
        next = MIN(next, now + period / 2);
    return MAX(next, now + MIN_TICK_NS);
}

static void schedule(struct mc146818 *r)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST), period = tick_ns(r);

    if (period && (r->reg[REG_B] & B_PIE))
        viv_timer_set(r->periodic_timer, next_tick(r, now, period));
    else
        viv_timer_cancel(r->periodic_timer);
    if (((r->reg[REG_B] & (B_AIE | B_UIE)) || r->edited) && !held(r))
        viv_timer_set(r->update_timer,
                      now + (date_s(r) + 1) * (int64_t)VIV_NS_PER_SEC - date_ns(r));
    else
        viv_timer_cancel(r->update_timer);
}

static void event(void *opaque)
{
    struct mc146818 *r = opaque;

    collect(r);
    if (r->owed && !(r->reg[REG_C] & C_PF)) {
        r->owed--;
        r->reg[REG_C] |= C_PF;
    }
    update_irq(r);
    schedule(r);
}

/* ---- registers ---- */

static bool is_time(unsigned i)
{
    return i == REG_SECOND || i == REG_MINUTE || i == REG_HOUR ||
           (i >= REG_WEEKDAY && i <= REG_YEAR) || i == REG_CENTURY;
}

static void write_time(struct mc146818 *r, unsigned i, uint8_t v)
{
    collect(r);
    if (!held(r) && !r->edited) {
        r->edited = true;
        r->edited_s = r->seen_second; /* now */
        date_to_regs(r, r->edited_s);
    }
    r->reg[i] = v;
    schedule(r);
}

static void write_a(struct mc146818 *r, uint8_t v)
{
    bool was_held = held(r);

    collect(r);
    if (!was_held && divider_is_reset(v))
        hold(r);
    r->reg[REG_A] = v & 0x7f;
    if (was_held && !held(r))
        regs_to_date(r, (int64_t)VIV_NS_PER_SEC - DIVIDER_NS);
    r->seen_tick = tick_now(r);
    r->owed = 0;
    schedule(r);
}

static void write_b(struct mc146818 *r, uint8_t v)
{
    uint8_t old = r->reg[REG_B];
    bool was_held = held(r);

    collect(r);
    if (v & B_SET)
        v &= ~B_UIE; /* setting SET clears UIE */
    if (!was_held && (v & B_SET))
        hold(r);
    else if ((v ^ old) & (B_BINARY | B_24H))
        take_edited(r); /* in the form that it was written in */
    r->reg[REG_B] = v;
    if (!(v & B_PIE))
        r->owed = 0;
    if (was_held && !held(r))
        regs_to_date(r, 0); /* setting starts a new second */
    update_irq(r);
    schedule(r);
}

static void data_write(struct mc146818 *r, uint8_t v)
{
    unsigned i = r->index & 0x7f;

    if (is_time(i)) {
        write_time(r, i, v);
        return;
    }
    switch (i) {
    case REG_A:
        write_a(r, v);
        break;
    case REG_B:
        write_b(r, v);
        break;
    case REG_C:
    case REG_D:
        break; /* read only */
    case REG_SECOND_ALARM:
    case REG_MINUTE_ALARM:
    case REG_HOUR_ALARM:
        collect(r);
        r->reg[i] = v;
        break;
    default:
        r->reg[i] = v;
    }
}

static uint8_t data_read(struct mc146818 *r)
{
    unsigned i = r->index & 0x7f;
    uint8_t v;

    if (is_time(i) && !held(r)) {
        settle(r);
        if (!r->edited)
            date_to_regs(r, date_s(r));
    }
    switch (i) {
    case REG_A: {
        int64_t left = (date_s(r) + 1) * (int64_t)VIV_NS_PER_SEC - date_ns(r);

        return r->reg[REG_A] | (left <= UIP_NS && !held(r) ? A_UIP : 0);
    }
    case REG_C:
        collect(r);
        update_irq(r);
        v = r->reg[REG_C];
        r->reg[REG_C] = 0;
        update_irq(r);
        if (r->owed)
            schedule(r);
        return v;
    case REG_D:
        return D_VRT;
    default:
        return r->reg[i];
    }
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned size)
{
    return off ? data_read(opaque) : 0xff; /* the index cannot be read */
}

static void rtc_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct mc146818 *r = opaque;

    if (off)
        data_write(r, (uint8_t)v);
    else
        r->index = (uint8_t)v; /* bit 7, the NMI mask, is kept: nothing raises an NMI here */
}

void viv_mc146818_set_nvram(struct viv_dev *d, unsigned index, uint8_t value)
{
    g_assert(index > REG_D && index < NVRAM && index != REG_CENTURY);
    ((struct mc146818 *)d)->reg[index] = value;
}

uint8_t viv_mc146818_nvram(struct viv_dev *d, unsigned index)
{
    g_assert(index > REG_D && index < NVRAM && index != REG_CENTURY);
    return ((struct mc146818 *)d)->reg[index];
}

/* ---- class ---- */

static int parse_date(const char *text, int64_t *s)
{
    struct tm tm = {.tm_mday = 1};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (!end || *end) {
        memset(&tm, 0, sizeof(tm));
        end = strptime(text, "%Y-%m-%d", &tm);
    }
    if (!end || *end || tm.tm_year < 0 || tm.tm_year > 299)
        return -EINVAL;
    *s = timegm(&tm);
    return 0;
}

/* -rtc base=: what the date is at start. */
static int set_base(struct mc146818 *r, struct viv_opts *opts, struct viv_err *err)
{
    const char *base = viv_opts_str(opts, "base");
    int64_t wall = viv_clock_wall_ns(), start = wall, s;
    time_t now = (time_t)(wall / (int64_t)VIV_NS_PER_SEC);
    struct tm tm;

    if (!strcmp(base, "localtime")) {
        localtime_r(&now, &tm);
        start += tm.tm_gmtoff * (int64_t)VIV_NS_PER_SEC;
    } else if (strcmp(base, "utc")) {
        if (parse_date(base, &s) < 0)
            return viv_fail(err, EINVAL,
                            "%s: base=%s is not a date: utc, localtime, 2026-01-31 or "
                            "2026-01-31T12:30:00 (years 1900 to 2199)",
                            viv_opts_what(opts), base);
        start = s * (int64_t)VIV_NS_PER_SEC;
    }
    r->offset_ns = r->base_ns = start - clock_ns(r);
    return 0;
}

static int mc146818_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {rtc_read, rtc_write, 1, 1, false, false};
    struct mc146818 *r = (struct mc146818 *)d;
    int rc;

    r->follows = !strcmp(viv_opts_str(opts, "clock"), "host") ? FOLLOW_HOST : !strcmp(viv_opts_str(opts, "clock"), "rt") ? FOLLOW_RT : FOLLOW_VM;
    r->rt_start_ns = viv_clock_wall_ns() - viv_clock_ns(VIV_CLOCK_HOST);
    r->slew = !strcmp(viv_opts_str(opts, "lost_tick_policy"), "slew");
    rc = set_base(r, opts, err);
    if (rc < 0)
        return rc;
    r->reg[REG_A] = 0x26; /* 32768 Hz base, 1024 Hz ticks, as a BIOS leaves it */
    r->reg[REG_B] = B_24H;
    r->seen_second = date_s(r);
    r->seen_tick = tick_now(r);
    r->update_timer = viv_timer_new(VIV_CLOCK_GUEST, event, r);
    r->periodic_timer = viv_timer_new(VIV_CLOCK_GUEST, event, r);
    r->region = viv_isa_add_ports(d, "rtc", 0x70, 2, &ops);
    return 0;
}

static void mc146818_unrealize(struct viv_dev *d)
{
    struct mc146818 *r = (struct mc146818 *)d;

    viv_timer_free(r->update_timer);
    viv_timer_free(r->periodic_timer);
    viv_region_free(r->region);
}

/* RESET clears the interrupt enables and flags; time and memory have a battery. */
static void mc146818_reset(struct viv_dev *d)
{
    struct mc146818 *r = (struct mc146818 *)d;

    write_b(r, r->reg[REG_B] & ~(B_PIE | B_AIE | B_UIE | B_SQWE));
    r->reg[REG_C] = 0;
    r->index = 0;
    update_irq(r);
}

/* Time registers that are worked out when read would make two saves differ. */
static void mc146818_pre_save(void *obj)
{
    struct mc146818 *r = obj;

    if (held(r) || r->edited)
        return;
    for (unsigned i = 0; i < NVRAM; i++) {
        if (is_time(i))
            r->reg[i] = 0;
    }
}

static bool is_date(int64_t s)
{
    const int64_t most = MAX_OFFSET_NS / (int64_t)VIV_NS_PER_SEC;

    return s <= most && s >= -most;
}

static int mc146818_post_load(void *obj, int version, struct viv_err *err)
{
    struct mc146818 *r = obj;

    if (r->offset_ns > MAX_OFFSET_NS || r->offset_ns < -MAX_OFFSET_NS || !is_date(r->seen_second) || r->seen_tick < 0)
        return viv_fail(err, EINVAL, "real-time clock with an impossible date");
    if (!is_date(r->edited_s))
        return viv_fail(err, EINVAL, "real-time clock whose date was set at an impossible one");
    if (held(r))
        r->edited = false;
    if (version < 3 && !(r->reg[REG_B] & B_SET) && held(r))
        date_to_regs(r, r->seen_second); /* the divider did not hold it then */
    if (r->owed > MAX_OWED)
        return viv_fail(err, EINVAL, "real-time clock with %u lost ticks", r->owed);
    if (!r->slew)
        r->owed = 0; /* the one that was saved made up for them */
    return 0;
}

static const struct viv_state_table mc146818_state = {
    .name = "mc146818",
    .ctype = "mc146818",
    .version = 3,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(mc146818, dev),
            VIV_F_INT(mc146818, index),
            VIV_F_BYTES(mc146818, reg),
            VIV_F_INT(mc146818, offset_ns),
            VIV_F_CONFIG(mc146818, base_ns),
            VIV_F_INT(mc146818, seen_second),
            VIV_F_INT(mc146818, seen_tick),
            {.name = "owed", .kind = VIV_FIELD_INT, .offset = offsetof(struct mc146818, owed),
             .size = sizeof(((struct mc146818 *)0)->owed), .count = 1, .since = 2},
            {.name = "edited", .kind = VIV_FIELD_BOOL, .offset = offsetof(struct mc146818, edited),
             .size = sizeof(((struct mc146818 *)0)->edited), .count = 1, .since = 3},
            {.name = "edited_s", .kind = VIV_FIELD_INT, .offset = offsetof(struct mc146818, edited_s),
             .size = sizeof(((struct mc146818 *)0)->edited_s), .count = 1, .since = 3},
            VIV_F_TIMER(mc146818, update_timer),
            VIV_F_TIMER(mc146818, periodic_timer),
            VIV_F_CONFIG(mc146818, follows),
            VIV_F_CONFIG(mc146818, rt_start_ns),
            VIV_F_CONFIG(mc146818, slew),
            VIV_F_CONFIG(mc146818, region),
            VIV_F_END,
        },
    .pre_save = mc146818_pre_save,
    .post_load = mc146818_post_load,
};

static const char *const lost_tick_policies[] = {"discard", "slew", NULL};
static const char *const clocks[] = {"host", "rt", "vm", NULL};
static const struct viv_opt_def props[] = {
    {.name = "base", .type = VIV_OPT_STR, .def = "utc", .help = "utc, localtime or a date"},
    {.name = "clock",
     .type = VIV_OPT_ENUM,
     .def = "host",
     .values = clocks,
     .help = "what it follows"},
    {.name = "lost_tick_policy", .type = VIV_OPT_ENUM, .values = lost_tick_policies, .def = "discard",
     .help = "what becomes of periodic ticks that came too late"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_mc146818 = {
    .name = "mc146818rtc",
    .desc = "real-time clock (MC146818A)",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct mc146818),
    .props = props,
    .state = &mc146818_state,
    .realize = mc146818_realize,
    .reset = mc146818_reset,
    .unrealize = mc146818_unrealize,
};
