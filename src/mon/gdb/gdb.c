/* The connection: packets in and out (gdb's manual, appendix E.1), acknowledgement, interruption; and when the VM stops.
 *
 * A packet is $BODY#SUM; in what we send #, $, }, * are escaped, in what comes } is taken as the escape it is. Until
 * QStartNoAckMode each is answered with + or, if its sum is wrong, -. */
#include "mon/gdb/gdb.h"
#include "mon/gdb/gdb_int.h"

#include "cpu/breakpoint.h"
#include "cpu/vcpu.h"
#include "host/loop.h"
#include "host/sandbox.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define INTERRUPT 0x03

static struct gdb *server;

/* ---- out ---- */

void gdb_send(struct gdb *s, const char *data, size_t len)
{
    uint8_t sum = 0;

    g_string_assign(s->last, "$");
    for (size_t i = 0; i < len; i++) {
        if (strchr("#$}*", data[i]) && data[i]) {
            g_string_append_c(s->last, '}');
            g_string_append_c(s->last, data[i] ^ 0x20);
        } else {
            g_string_append_c(s->last, data[i]);
        }
    }
    for (size_t i = 1; i < s->last->len; i++)
        sum = (uint8_t)(sum + (uint8_t)s->last->str[i]);
    g_string_append_printf(s->last, "#%02x", sum);
    viv_mon_out_put(&s->out, s->last->str, s->last->len);
}

void gdb_say(struct gdb *s, const char *text)
{
    gdb_send(s, text, strlen(text));
}

/* ---- in ---- */

static void packet(struct gdb *s)
{
    bool good = s->sum == s->told;

    if (!s->no_ack)
        viv_mon_out_put(&s->out, good ? "+" : "-", 1);
    if (!good)
        return;
    s->busy = true;
    gdb_command(s, s->in->str, s->in->len);
    s->busy = false;
    if (s->ending)
        viv_gdb_stop();
}

static void outside(struct gdb *s, uint8_t c)
{
    if (c == '$') {
        s->state = GDB_BODY;
        s->sum = 0;
        g_string_truncate(s->in, 0);
    } else if (c == INTERRUPT && s->running) {
        viv_vm_stop(VIV_RUN_PAUSED);
    } else if (c == '-' && !s->no_ack) {
        viv_mon_out_put(&s->out, s->last->str, s->last->len);
    }
}

static void body(struct gdb *s, uint8_t c)
{
    if (c == '#' && s->state == GDB_BODY) {
        s->state = GDB_SUM1;
        return;
    }
    s->sum = (uint8_t)(s->sum + c);
    if (s->state == GDB_ESCAPE) {
        s->state = GDB_BODY;
        c ^= 0x20;
    } else if (c == '}') {
        s->state = GDB_ESCAPE;
        return;
    }
    if (s->in->len < GDB_PACKET)
        g_string_append_c(s->in, (char)c);
    else
        s->state = GDB_IDLE; /* longer than we said we take: no answer, as for what is no packet */
}

static void sum_digit(struct gdb *s, uint8_t c)
{
    int digit = g_ascii_xdigit_value((char)c);

    s->told = (uint8_t)(s->told << 4 | (digit & 15));
    if (s->state == GDB_SUM1) {
        s->state = GDB_SUM2;
        return;
    }
    s->state = GDB_IDLE;
    packet(s);
}

static size_t can_read(void *opaque)
{
    return viv_mon_out_full(&((struct gdb *)opaque)->out) ? 0 : 4096;
}

static void read_bytes(void *opaque, const uint8_t *buf, size_t len)
{
    struct gdb *s = opaque;

    /* A command may end the server. */
    for (size_t i = 0; i < len && server == s; i++) {
        switch (s->state) {
        case GDB_IDLE: outside(s, buf[i]); break;
        case GDB_BODY:
        case GDB_ESCAPE: body(s, buf[i]); break;
        default: sum_digit(s, buf[i]); break;
        }
    }
}

/* ---- the connection and the VM ---- */

static void let_go(struct gdb *s)
{
    struct viv_err err = VIV_ERR_INIT;
    bool ours = viv_vm_state() == VIV_RUN_DEBUG || s->running;

    s->connected = s->running = false;
    s->state = GDB_IDLE;
    if (!viv_break_count() && !ours)
        return;
    if (viv_vm_state() == VIV_RUN_RUNNING)
        viv_vm_stop(VIV_RUN_DEBUG);
    viv_break_remove_all();
    if (ours && viv_vm_state() == VIV_RUN_DEBUG)
        viv_vm_cont(&err);
    viv_err_clear(&err);
}

static void on_event(void *opaque, enum viv_chr_event ev)
{
    struct gdb *s = opaque;

    if (ev == VIV_CHR_CLOSED && s->connected) {
        let_go(s);
    } else if (ev == VIV_CHR_OPENED) {
        s->connected = true;
        s->no_ack = s->physical = false;
        s->sstep = 7;
        s->g = s->c = NULL;
        s->state = GDB_IDLE;
        g_string_truncate(s->last, 0);
        if (viv_vm_state() == VIV_RUN_RUNNING)
            viv_vm_stop(VIV_RUN_DEBUG); /* gdb takes a target for stopped when it has connected */
    }
}

/* Whoever stops and starts the VM. */
static void vm_event(void *opaque, const char *event, const char *data)
{
    struct gdb *s = opaque;

    if (!strcmp(event, "STOP")) {
        for (unsigned i = 0; i < viv_vcpu_count; i++)
            viv_vcpus[i]->held = false;
        gdb_stopped(s);
    } else if (!strcmp(event, "RESUME")) {
        viv_break_resume();
    }
}

static const struct viv_chr_front front = {.can_read = can_read, .read = read_bytes, .event = on_event};

/* gdb connects when it likes: a server does not wait for it, and small packets leave at once. */
static char *complete(const char *dev)
{
    if (!g_str_has_prefix(dev, "tcp:") && !g_str_has_prefix(dev, "unix:"))
        return g_strdup(dev);
    return g_strdup_printf("%s%s%s%s", dev, strstr(dev, ",server") ? "" : ",server=on", strstr(dev, "wait") ? "" : ",wait=off",
                           g_str_has_prefix(dev, "tcp:") && !strstr(dev, "nodelay") ? ",nodelay=on" : "");
}

int viv_gdb_start(const char *dev, struct viv_err *err)
{
    static unsigned count;
    g_autofree char *text = complete(dev), *id = g_strdup_printf("gdb%u", count++);
    struct viv_chr *c = NULL;
    int rc;

    if (!strcmp(dev, "none")) {
        viv_gdb_stop();
        return 0;
    }
    if (server)
        return viv_fail(err, EBUSY, "there is a gdb server already; end it with \"gdbserver none\"");
    if (!viv_mon_cpu(err))
        return -ENODEV;
    if (!viv_vm_accel()->breakpoints)
        return viv_fail(err, ENOTSUP, "the gdb server cannot stop CPUs under accelerator %s yet; use -accel xlate", viv_vm_accel()->name);
    rc = viv_chr_new_short("-gdb", id, text, &c, err);
    if (rc < 0)
        return rc;
    if (!c)
        return viv_fail(err, EINVAL, "-gdb %s: that is no place for a gdb server; use tcp::1234 or unix:PATH", dev);
    server = g_new0(struct gdb, 1);
    server->chr = c;
    server->ours = !g_str_has_prefix(dev, "chardev:");
    server->in = g_string_new(NULL);
    server->last = g_string_new(NULL);
    if (server->ours)
        viv_chr_keep(c);
    viv_sandbox_need(VIV_SANDBOX_NETWORK | VIV_SANDBOX_MONITOR); /* it takes monitor commands */
    viv_mon_out_init(&server->out, c);
    viv_vm_listen(vm_event, server);
    rc = viv_chr_attach(c, &front, server, err);
    if (rc < 0)
        viv_gdb_stop();
    return rc;
}

/* From the loop: the back end may be in the middle of handing us bytes. */
static void free_chr(void *c)
{
    viv_chr_free(c);
}

void viv_gdb_free(void)
{
    struct gdb *s = server;

    if (!s)
        return;
    server = NULL;
    if (s->running) { /* the process ends: gdb waits for the reason */
        g_autofree char *text = g_strdup_printf("W%02x", viv_vm_exit_code() & 0xff);

        gdb_say(s, text);
    }
    viv_vm_unlisten(vm_event, s);
    viv_mon_out_fini(&s->out);
    viv_chr_detach(s->chr, s);
    g_string_free(s->in, TRUE);
    g_string_free(s->last, TRUE);
    g_free(s);
}

void viv_gdb_stop(void)
{
    struct gdb *s = server;

    if (!s)
        return;
    s->ending = s->busy;
    if (s->busy)
        return;
    if (s->connected)
        let_go(s);
    if (s->ours)
        viv_loop_call(free_chr, s->chr);
    viv_gdb_free();
}
