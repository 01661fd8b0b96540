/* What gdb asks (its manual, appendix E.2 to E.5). Threads are vCPUs, numbered from 1. A packet that is not known is answered with an
 * empty one, which is how gdb finds out what there is. */
#include "mon/gdb/gdb.h"
#include "mon/gdb/gdb_int.h"

#include "base/log.h"
#include "cpu/breakpoint.h"
#include "cpu/vcpu.h"
#include "cpu/x86/state.h"
#include "host/broker.h"
#include "machine/vm.h"
#include "mon/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SSTEP_ENABLE = 1, SSTEP_NOIRQ = 2, SSTEP_NOTIMER = 4 };

static struct viv_vcpu *g_thread(struct gdb *s)
{
    return s->g ? s->g : viv_vcpus[0];
}

static void ok(struct gdb *s, bool good)
{
    gdb_say(s, good ? "OK" : "E01");
}

/* A hexadecimal number; `end` is behind it. */
static bool number(const char **p, uint64_t *v)
{
    char *end;

    if (!g_ascii_isxdigit(**p))
        return false;
    errno = 0;
    *v = g_ascii_strtoull(*p, &end, 16);
    *p = end;
    return !errno;
}

static bool expect(const char **p, char c)
{
    if (**p != c)
        return false;
    ++*p;
    return true;
}

/* -1 and 0 (all, any) give NULL. */
static bool thread(const char **p, struct viv_vcpu **v)
{
    uint64_t n;

    *v = NULL;
    if (g_str_has_prefix(*p, "-1")) {
        *p += 2;
        return true;
    }
    if (!number(p, &n) || n > viv_vcpu_count)
        return false;
    *v = n ? viv_vcpus[n - 1] : NULL;
    return true;
}

/* ---- stopping and going on ---- */

static void stop_reply(struct gdb *s, struct viv_vcpu *v, const struct viv_break_hit *hit)
{
    static const char *const watch[] = {[VIV_BREAK_WRITE] = "watch", [VIV_BREAK_READ] = "rwatch", [VIV_BREAK_ACCESS] = "awatch"};
    g_autofree char *text = NULL;

    s->g = v;
    if (hit && !hit->step && hit->kind != VIV_BREAK_EXEC)
        text = g_strdup_printf("T05thread:%x;%s:%llx;", v->index + 1, watch[hit->kind], (unsigned long long)hit->lin);
    else
        text = g_strdup_printf("T%02xthread:%x;", hit ? 5 : viv_vm_state() == VIV_RUN_INTERNAL_ERROR ? 6 : 2, v->index + 1);
    gdb_say(s, text);
}

void gdb_stopped(struct gdb *s)
{
    struct viv_break_hit hit;

    if (!s->running)
        return;
    s->running = false;
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        if (viv_break_take_hit(viv_vcpus[i], &hit)) {
            stop_reply(s, viv_vcpus[i], &hit);
            return;
        }
    }
    stop_reply(s, g_thread(s), NULL);
}

/* All others stay where they are while `only` runs, if it is not NULL. */
static void go_on(struct gdb *s, struct viv_vcpu *only)
{
    struct viv_err err = VIV_ERR_INIT;

    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_vcpus[i]->held = only && viv_vcpus[i] != only;
    s->running = true;
    if (viv_vm_cont(&err) < 0) {
        s->running = false;
        for (unsigned i = 0; i < viv_vcpu_count; i++) /* no STOP will come that lets them go */
            viv_vcpus[i]->held = false;
        viv_break_unstep();
        gdb_say(s, "E01");
    }
    viv_err_clear(&err);
}

static void step(struct gdb *s, struct viv_vcpu *v)
{
    viv_break_step(v, s->sstep & SSTEP_NOIRQ);
}

/* c, s, and C, S with a signal, which no CPU takes; all with an address to go on at. */
static void go_on_old(struct gdb *s, char how, const char *p)
{
    struct viv_vcpu *v = s->c ? s->c : g_thread(s);
    uint64_t at;

    if ((how == 'C' || how == 'S') && (!number(&p, &at) || (*p && !expect(&p, ';')))) {
        gdb_say(s, "E22");
        return;
    }
    if (*p) {
        if (!number(&p, &at)) {
            gdb_say(s, "E22");
            return;
        }
        v->x86->rip = v->x86->next_rip = at;
    }
    viv_break_unstep();
    if (how == 's' || how == 'S')
        step(s, v);
    go_on(s, how == 's' || how == 'S' ? v : NULL);
}

/* vCont;ACTION[:THREAD]...: the first that fits a thread counts; a thread without one stays. */
static void v_cont(struct gdb *s, const char *p)
{
    bool runs[1024] = {false}, steps[1024] = {false}, all = true;
    struct viv_vcpu *one = NULL;
    unsigned count = 0;

    while (expect(&p, ';')) {
        char how = *p ? *p++ : 0;
        struct viv_vcpu *v = NULL;
        uint64_t signal;

        if (!strchr("cCsS", how) || !how || ((how == 'C' || how == 'S') && !number(&p, &signal)) ||
            (expect(&p, ':') && !thread(&p, &v))) {
            gdb_say(s, "E22");
            return;
        }
        for (unsigned i = 0; i < MIN(viv_vcpu_count, 1024); i++) {
            if (runs[i] || (v && viv_vcpus[i] != v))
                continue;
            runs[i] = true;
            steps[i] = how == 's' || how == 'S';
        }
    }
    for (unsigned i = 0; i < MIN(viv_vcpu_count, 1024); i++) {
        all &= runs[i];
        one = runs[i] ? viv_vcpus[i] : one;
        count += runs[i];
    }
    if (*p || !count || (!all && count > 1)) {
        gdb_say(s, "E22");
        return;
    }
    viv_break_unstep();
    for (unsigned i = 0; i < MIN(viv_vcpu_count, 1024); i++)
        if (steps[i])
            step(s, viv_vcpus[i]);
    go_on(s, all ? NULL : one);
}

/* ---- memory and registers ---- */

static void read_memory(struct gdb *s, const char *p)
{
    uint8_t buf[GDB_PACKET / 2];
    uint64_t addr, len;
    GString *hex;
    size_t got;

    if (!number(&p, &addr) || !expect(&p, ',') || !number(&p, &len)) {
        gdb_say(s, "E22");
        return;
    }
    got = viv_mon_mem_read(s->physical ? NULL : g_thread(s), addr, buf, MIN(len, sizeof(buf)));
    if (!got && len) {
        gdb_say(s, "E14");
        return;
    }
    hex = g_string_new(NULL);
    gdb_put_hex(hex, buf, got);
    gdb_say(s, hex->str);
    g_string_free(hex, TRUE);
}

/* M: hexadecimal digits; X: the bytes themselves. */
static void write_memory(struct gdb *s, char how, const char *p, const char *end)
{
    uint8_t buf[GDB_PACKET];
    uint64_t addr, len;

    if (!number(&p, &addr) || !expect(&p, ',') || !number(&p, &len) || !expect(&p, ':') || len > sizeof(buf) ||
        (uint64_t)(end - p) < (how == 'X' ? len : 2 * len)) {
        gdb_say(s, "E22");
        return;
    }
    if (how == 'X')
        memcpy(buf, p, len);
    else if (!gdb_take_hex(p, buf, len)) {
        gdb_say(s, "E22");
        return;
    }
    gdb_say(s, viv_mon_mem_write(s->physical ? NULL : g_thread(s), addr, buf, len) == len ? "OK" : "E14");
}

static void registers(struct gdb *s, char how, const char *p)
{
    GString *hex = g_string_new(NULL);
    uint64_t n;

    if (how == 'g') {
        gdb_read_all(g_thread(s), hex);
        gdb_say(s, hex->str);
    } else if (how == 'G') {
        ok(s, gdb_write_all(g_thread(s), p));
    } else if (!number(&p, &n) || n > 1000 || (how == 'P' && !expect(&p, '='))) {
        gdb_say(s, "E22");
    } else if (how == 'P') {
        ok(s, gdb_write_one(g_thread(s), (unsigned)n, p));
    } else {
        gdb_say(s, gdb_read_one(g_thread(s), (unsigned)n, hex) ? hex->str : "E22");
    }
    g_string_free(hex, TRUE);
}

/* gdb has no ears for a reason. */
static void set_point(struct gdb *s, enum viv_break_kind kind, uint64_t addr, uint64_t len)
{
    struct viv_err err = VIV_ERR_INIT;
    int rc = viv_break_set(kind, addr, len, &err);

    if (rc == -ENOSPC || rc == -ENOTSUP)
        viv_info("gdb: %s", err.text);
    ok(s, rc == 0);
    viv_err_clear(&err);
}

static void point(struct gdb *s, bool set, const char *p)
{
    static const enum viv_break_kind kinds[] = {VIV_BREAK_EXEC, VIV_BREAK_HARD, VIV_BREAK_WRITE, VIV_BREAK_READ, VIV_BREAK_ACCESS};
    uint64_t type, addr, len;

    if (!number(&p, &type) || type > 4 || !expect(&p, ',') || !number(&p, &addr) || !expect(&p, ',') || !number(&p, &len)) {
        gdb_say(s, "");
        return;
    }
    if (*p) { /* a condition or commands, which a stub may only be sent when it says that it runs them */
        gdb_say(s, "E22");
        return;
    }
    if (type <= 1)
        len = 1; /* of these it is a kind, which tells how an instruction would be replaced */
    if (set)
        set_point(s, kinds[type], addr, len);
    else
        ok(s, viv_break_remove(kinds[type], addr, len) == 0);
}

/* ---- questions ---- */

static void xfer(struct gdb *s, const char *p)
{
    g_autofree char *xml = NULL;
    uint64_t off, len;
    GString *out;
    size_t all;

    if (!g_str_has_prefix(p, "features:read:target.xml:")) {
        gdb_say(s, "E00");
        return;
    }
    p += strlen("features:read:target.xml:");
    if (!number(&p, &off) || !expect(&p, ',') || !number(&p, &len)) {
        gdb_say(s, "E22");
        return;
    }
    xml = gdb_target_xml();
    all = strlen(xml);
    off = MIN(off, all);
    len = MIN(MIN(len, GDB_PACKET / 2), all - off);
    out = g_string_new(off + len == all ? "l" : "m");
    g_string_append_len(out, xml + off, (gssize)len);
    gdb_send(s, out->str, out->len);
    g_string_free(out, TRUE);
}

static void thread_list(struct gdb *s)
{
    GString *out = g_string_new("m");

    for (unsigned i = 0; i < viv_vcpu_count; i++)
        g_string_append_printf(out, "%s%x", i ? "," : "", i + 1);
    gdb_say(s, out->str);
    g_string_free(out, TRUE);
}

static void thread_about(struct gdb *s, const char *p)
{
    g_autofree char *text = NULL;
    struct viv_vcpu *v;
    GString *hex;

    if (!thread(&p, &v) || !v) {
        gdb_say(s, "E22");
        return;
    }
    text = g_strdup_printf("CPU#%u [%s]", v->index, v->x86->halted || v->x86->wait_sipi ? "halted " : "running");
    hex = g_string_new(NULL);
    gdb_put_hex(hex, text, strlen(text));
    gdb_say(s, hex->str);
    g_string_free(hex, TRUE);
}

/* Console output, in as many packets as it takes. */
static void print(struct gdb *s, const GString *text)
{
    const size_t piece = GDB_PACKET / 2 - 1;

    for (size_t at = 0; at < text->len; at += piece) {
        GString *hex = g_string_new("O");

        gdb_put_hex(hex, text->str + at, MIN(piece, text->len - at));
        gdb_say(s, hex->str);
        g_string_free(hex, TRUE);
    }
}

/* "monitor ...": a line for HMP. */
static void monitor(struct gdb *s, const char *p)
{
    size_t len = strlen(p) / 2;
    g_autofree char *line = g_malloc0(len + 1);
    GString *text;

    if (!gdb_take_hex(p, line, len)) {
        gdb_say(s, "E22");
        return;
    }
    text = g_string_new(NULL);
    viv_broker_words(line);
    viv_hmp_run(line, text);
    print(s, text);
    gdb_say(s, "OK");
    g_string_free(text, TRUE);
}

static void set_sstep(struct gdb *s, const char *p)
{
    uint64_t bits;

    /* Timers of the guest stand still with it and run on with it: what is left of NOTIMER is no interrupt. */
    if (number(&p, &bits) && bits & SSTEP_ENABLE && bits <= 7)
        s->sstep = (unsigned)bits, gdb_say(s, "OK");
    else
        gdb_say(s, "E22");
}

static void query(struct gdb *s, const char *p)
{
    g_autofree char *text = NULL;

    if (g_str_has_prefix(p, "Supported"))
        text = g_strdup_printf("PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+", GDB_PACKET);
    else if (!strcmp(p, "C"))
        text = g_strdup_printf("QC%x", g_thread(s)->index + 1);
    else if (!strcmp(p, "Attached"))
        text = g_strdup("1");
    else if (!strcmp(p, "qemu.PhyMemMode"))
        text = g_strdup(s->physical ? "1" : "0");
    else if (!strcmp(p, "qemu.sstepbits"))
        text = g_strdup_printf("ENABLE=%x,NOIRQ=%x,NOTIMER=%x", SSTEP_ENABLE, SSTEP_NOIRQ, SSTEP_NOTIMER);
    else if (!strcmp(p, "qemu.sstep"))
        text = g_strdup_printf("0x%x", s->sstep);
    if (text)
        gdb_say(s, text);
    else if (g_str_has_prefix(p, "Xfer:"))
        xfer(s, p + 5);
    else if (!strcmp(p, "fThreadInfo"))
        thread_list(s);
    else if (!strcmp(p, "sThreadInfo"))
        gdb_say(s, "l");
    else if (g_str_has_prefix(p, "ThreadExtraInfo,"))
        thread_about(s, p + strlen("ThreadExtraInfo,"));
    else if (g_str_has_prefix(p, "Rcmd,"))
        monitor(s, p + 5);
    else
        gdb_say(s, "");
}

static void set(struct gdb *s, const char *p)
{
    if (!strcmp(p, "StartNoAckMode")) {
        gdb_say(s, "OK");
        s->no_ack = true;
    } else if (g_str_has_prefix(p, "qemu.PhyMemMode:") && strchr("01", p[16]) && p[16] && !p[17]) {
        s->physical = p[16] == '1';
        gdb_say(s, "OK");
    } else if (g_str_has_prefix(p, "qemu.sstep=")) {
        set_sstep(s, p[11] == '0' && p[12] == 'x' ? p + 13 : p + 11);
    } else {
        gdb_say(s, "");
    }
}

static void choose_thread(struct gdb *s, const char *p)
{
    char what = *p ? *p++ : 0;
    struct viv_vcpu *v;

    if (!thread(&p, &v) || *p || !(what == 'g' || what == 'c')) {
        gdb_say(s, "E22");
        return;
    }
    if (what == 'g')
        s->g = v ? v : g_thread(s);
    else
        s->c = v;
    gdb_say(s, "OK");
}

static void many_letters(struct gdb *s, const char *p)
{
    if (!strcmp(p, "Cont?"))
        gdb_say(s, "vCont;c;C;s;S");
    else if (g_str_has_prefix(p, "Cont"))
        v_cont(s, p + 4);
    else if (g_str_has_prefix(p, "Kill")) {
        gdb_say(s, "OK");
        viv_vm_quit(0, "host-signal");
    } else {
        gdb_say(s, "");
    }
}

static void detach(struct gdb *s)
{
    struct viv_err err = VIV_ERR_INIT;

    viv_break_remove_all();
    gdb_say(s, "OK");
    viv_vm_cont(&err); /* where it cannot it stays as it is */
    viv_err_clear(&err);
}

void gdb_command(struct gdb *s, const char *p, size_t len)
{
    const char *end = p + len;
    struct viv_vcpu *v;
    char what = *p;

    if (s->running && what != '?')
        return; /* only an interruption makes sense now */
    /* Somebody else has let it run (cont, the end of a savevm); gdb takes it for stopped, and what follows needs that. */
    if (!s->running && what && strchr("gGpPmMXZzcCsSvD", what) && viv_vm_state() == VIV_RUN_RUNNING)
        viv_vm_stop(VIV_RUN_DEBUG);
    p += len > 0;
    switch (what) {
    case '?': stop_reply(s, g_thread(s), &(struct viv_break_hit){.step = true}); break;
    case 'c': case 'C': case 's': case 'S': go_on_old(s, what, p); break;
    case 'g': case 'G': case 'p': case 'P': registers(s, what, p); break;
    case 'm': read_memory(s, p); break;
    case 'M': case 'X': write_memory(s, what, p, end); break;
    case 'Z': case 'z': point(s, what == 'Z', p); break;
    case 'q': query(s, p); break;
    case 'Q': set(s, p); break;
    case 'v': many_letters(s, p); break;
    case 'H': choose_thread(s, p); break;
    case 'T': ok(s, thread(&p, &v) && v); break;
    case 'D': detach(s); break;
    case 'k': viv_vm_quit(0, "host-signal"); break;
    default: gdb_say(s, ""); break;
    }
}
