#include "mon/qtest.h"

#include "base/base64.h"
#include "base/units.h"
#include "host/clock.h"
#include "machine/machine.h"
#include "machine/vm.h"
#include "mem/dma.h"
#include "mon/mon_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINE (32 * VIV_MIB)
#define MAX_DATA (8 * VIV_MIB) /* of one access: as much as a line takes in hexadecimal, with room for the rest */
#define PINS     24
#define WORDS    5

struct viv_qtest {
    struct viv_mon_out out;
    GString *line;
    bool too_long; /* the line, which is not kept */
    FILE *log;
    int64_t start_ns;
    bool level[PINS];
};

static struct viv_qtest *server;

/* ---- what is said ---- */

static void log_line(struct viv_qtest *q, const char *who, const char *text)
{
    if (q->log)
        fprintf(q->log, "[%s +%.06f] %s\n", who, (double)(viv_clock_ns(VIV_CLOCK_HOST) - q->start_ns) / 1e9, text);
}

static void say(struct viv_qtest *q, const char *text)
{
    log_line(q, "S", text);
    viv_mon_out_put(&q->out, text, strlen(text));
    viv_mon_out_put(&q->out, "\n", 1);
}

__attribute__((format(printf, 2, 3))) static void answer(struct viv_qtest *q, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    say(q, text);
}

static void on_pin(void *opaque, int pin, int level)
{
    struct viv_qtest *q = opaque;

    if (pin >= PINS || q->level[pin] == !!level)
        return;
    q->level[pin] = level;
    answer(q, "IRQ %s %d", level ? "raise" : "lower", pin);
}

/* ---- numbers and data ---- */

static bool number(struct viv_qtest *q, const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = g_ascii_strtoull(text, &end, 0);
    if (errno || end == text || *end || *text == '-') {
        answer(q, "FAIL '%.40s' is no number of 64 bits", text);
        return false;
    }
    return true;
}

/* A place and a size that is no more than one access may have. */
static bool place(struct viv_qtest *q, char **w, uint64_t *addr, uint64_t *size)
{
    if (!number(q, w[1], addr) || !number(q, w[2], size))
        return false;
    if (*size > MAX_DATA || *addr + *size < *addr) {
        answer(q, "FAIL %s %s %s: at most %u bytes at once, and none beyond 64 bits", w[0], w[1], w[2], (unsigned)MAX_DATA);
        return false;
    }
    return true;
}

/* A device answers to accesses of its own sizes; bytes in a row are RAM as a rule. */
static void read_bytes(uint64_t addr, uint8_t *buf, uint64_t len)
{
    struct viv_space *mem = viv_vm_board()->mem;

    if (viv_dma_read(mem, addr, buf, len) == 0)
        return;
    for (uint64_t i = 0; i < len; i++)
        buf[i] = (uint8_t)viv_space_read_locked(mem, addr + i, 1);
}

static void write_bytes(uint64_t addr, const uint8_t *buf, uint64_t len)
{
    struct viv_space *mem = viv_vm_board()->mem;

    if (viv_dma_write(mem, addr, buf, len) == 0)
        return;
    for (uint64_t i = 0; i < len; i++)
        viv_space_write_locked(mem, addr + i, buf[i], 1);
}

/* ---- commands ---- */

/* The letter at the end of "inb", "writeq": 0 when it is none of b, w, l and q. */
static unsigned size_of(const char *name)
{
    static const char letters[] = "bwlq";
    const char *at = strchr(letters, name[strlen(name) - 1]);

    return at && *at ? 1u << (at - letters) : 0;
}

static void port_in(struct viv_qtest *q, char **w)
{
    uint64_t port;

    if (!number(q, w[1], &port))
        return;
    if (port > 0xffff)
        answer(q, "FAIL %s %s: ports end at 0xffff", w[0], w[1]);
    else
        answer(q, "OK 0x%04x", (unsigned)viv_space_read_locked(viv_vm_board()->io, port, size_of(w[0])));
}

static void port_out(struct viv_qtest *q, char **w)
{
    uint64_t port, value;

    if (!number(q, w[1], &port) || !number(q, w[2], &value))
        return;
    if (port > 0xffff) {
        answer(q, "FAIL %s %s: ports end at 0xffff", w[0], w[1]);
        return;
    }
    viv_space_write_locked(viv_vm_board()->io, port, value, size_of(w[0]));
    say(q, "OK");
}

static void mem_read(struct viv_qtest *q, char **w)
{
    unsigned size = size_of(w[0]);
    uint64_t addr, value = 0;

    if (!number(q, w[1], &addr))
        return;
    if (addr % size)
        read_bytes(addr, (uint8_t *)&value, size);
    else
        value = viv_space_read_locked(viv_vm_board()->mem, addr, size);
    answer(q, "OK 0x%016" PRIx64, value);
}

static void mem_write(struct viv_qtest *q, char **w)
{
    unsigned size = size_of(w[0]);
    uint64_t addr, value;

    if (!number(q, w[1], &addr) || !number(q, w[2], &value))
        return;
    if (addr % size)
        write_bytes(addr, (const uint8_t *)&value, size);
    else
        viv_space_write_locked(viv_vm_board()->mem, addr, value, size);
    say(q, "OK");
}

static void bulk_read(struct viv_qtest *q, char **w)
{
    g_autofree uint8_t *buf = NULL;
    g_autoptr(GString) text = g_string_new("OK 0x");
    uint64_t addr, size;

    if (!place(q, w, &addr, &size))
        return;
    buf = g_malloc(size + 1);
    read_bytes(addr, buf, size);
    for (uint64_t i = 0; i < size; i++)
        g_string_append_printf(text, "%02x", buf[i]);
    say(q, text->str);
}

/* What is missing at the end of the data is zeroes. */
static void bulk_write(struct viv_qtest *q, char **w)
{
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, size, n = 0;

    if (!place(q, w, &addr, &size))
        return;
    if (!g_str_has_prefix(w[3], "0x") || strlen(w[3] + 2) > 2 * size || strlen(w[3]) % 2) {
        answer(q, "FAIL %s %s %s: the data is 0x and two digits for each byte, no more than there are bytes", w[0], w[1], w[2]);
        return;
    }
    buf = g_malloc0(size + 1);
    for (const char *p = w[3] + 2; *p; p += 2, n++) {
        int high = g_ascii_xdigit_value(p[0]), low = g_ascii_xdigit_value(p[1]);

        if (high < 0 || low < 0) {
            answer(q, "FAIL %s %s %s: byte %" PRIu64 " is no hexadecimal number", w[0], w[1], w[2], n);
            return;
        }
        buf[n] = (uint8_t)(high << 4 | low);
    }
    write_bytes(addr, buf, size);
    say(q, "OK");
}

static void base64_read(struct viv_qtest *q, char **w)
{
    g_autofree uint8_t *buf = NULL;
    g_autofree char *text = NULL;
    uint64_t addr, size;

    if (!place(q, w, &addr, &size))
        return;
    buf = g_malloc(size + 1);
    read_bytes(addr, buf, size);
    text = g_base64_encode(buf, size);
    answer(q, "OK %s", text);
}

static void base64_write(struct viv_qtest *q, char **w)
{
    g_autofree uint8_t *data = NULL;
    struct viv_err err = VIV_ERR_INIT;
    uint64_t addr, size;
    size_t got = 0;

    if (!place(q, w, &addr, &size))
        return;
    if (viv_base64_decode(w[3], strlen(w[3]), &data, &got, &err) < 0) {
        answer(q, "FAIL %s %s %s: %s", w[0], w[1], w[2], err.text);
        return;
    }
    if (got != size) {
        answer(q, "FAIL %s %s %s: the data is %zu bytes", w[0], w[1], w[2], got);
        return;
    }
    write_bytes(addr, data, size);
    say(q, "OK");
}

static void fill(struct viv_qtest *q, char **w)
{
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, size, value;

    if (!place(q, w, &addr, &size) || !number(q, w[3], &value))
        return;
    buf = g_malloc(size + 1);
    memset(buf, (uint8_t)value, size);
    write_bytes(addr, buf, size);
    say(q, "OK");
}

static void step_to(struct viv_qtest *q, char **w, int64_t to)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    if (!viv_guest_clock_is_by_hand())
        answer(q, "FAIL %s: the clock goes by itself; start with -accel qtest", w[0]);
    else if (to < now || to == INT64_MAX)
        answer(q, "FAIL %s %s: it is %" PRId64 " now, and time goes forward, to less than 2^63 - 1", w[0], w[1] ? w[1] : "", now);
    else {
        viv_guest_clock_step(to - now);
        answer(q, "OK %" PRId64, to);
    }
}

static void clock_step(struct viv_qtest *q, char **w)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST), next = viv_guest_timers_next_ns();
    uint64_t ns;

    if (!w[1]) {
        step_to(q, w, next == INT64_MAX || next < now ? now : next);
        return;
    }
    if (number(q, w[1], &ns))
        step_to(q, w, ns > (uint64_t)(INT64_MAX - now) ? INT64_MAX : now + (int64_t)ns);
}

static void clock_set(struct viv_qtest *q, char **w)
{
    uint64_t ns;

    if (number(q, w[1], &ns))
        step_to(q, w, ns > INT64_MAX ? INT64_MAX : (int64_t)ns);
}

static void intercept_in(struct viv_qtest *q, char **w)
{
    const char *last = strrchr(w[1], '/');

    if (strcmp(last ? last + 1 : w[1], "ioapic")) {
        answer(q, "FAIL %s %.80s: only what comes into the I/O APIC (ioapic) can be listened to", w[0], w[1]);
    } else if (viv_vm_board()->intc->ops->kernel_irqchip) {
        answer(q, "FAIL %s %.80s: the interrupt controllers are the kernel's; start with -accel qtest", w[0], w[1]);
    } else {
        viv_board_watch_ioapic(on_pin, q);
        say(q, "OK");
    }
}

static void endianness(struct viv_qtest *q, char **w)
{
    say(q, "OK little");
}

static const struct command {
    const char *name;
    unsigned least, most; /* words behind it */
    void (*run)(struct viv_qtest *q, char **words);
} commands[] = {
    {"inb", 1, 1, port_in},
    {"inw", 1, 1, port_in},
    {"inl", 1, 1, port_in},
    {"outb", 2, 2, port_out},
    {"outw", 2, 2, port_out},
    {"outl", 2, 2, port_out},
    {"readb", 1, 1, mem_read},
    {"readw", 1, 1, mem_read},
    {"readl", 1, 1, mem_read},
    {"readq", 1, 1, mem_read},
    {"writeb", 2, 2, mem_write},
    {"writew", 2, 2, mem_write},
    {"writel", 2, 2, mem_write},
    {"writeq", 2, 2, mem_write},
    {"read", 2, 2, bulk_read},
    {"write", 3, 3, bulk_write},
    {"b64read", 2, 2, base64_read},
    {"b64write", 3, 3, base64_write},
    {"memset", 3, 3, fill},
    {"clock_step", 0, 1, clock_step},
    {"clock_set", 1, 1, clock_set},
    {"irq_intercept_in", 1, 1, intercept_in},
    {"endianness", 0, 0, endianness},
};

static void obey(struct viv_qtest *q, char *line)
{
    char *words[WORDS + 1] = {NULL}, *rest = line, *word;
    unsigned n = 0;

    while (n < WORDS && (word = strsep(&rest, " \t\r"))) {
        if (*word)
            words[n++] = word;
    }
    if (!n)
        return;
    for (size_t i = 0; i < VIV_ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];

        if (strcmp(c->name, words[0]))
            continue;
        if (n - 1 < c->least || n - 1 > c->most)
            answer(q, "FAIL %s takes %u words", c->name, c->most);
        else
            c->run(q, words);
        return;
    }
    answer(q, "FAIL Unknown command '%.40s'", words[0]);
}

/* ---- the connection ---- */

static size_t can_read(void *opaque)
{
    return viv_mon_out_full(&((struct viv_qtest *)opaque)->out) ? 0 : 64 * VIV_KIB;
}

static void line_ends(struct viv_qtest *q)
{
    log_line(q, "R", q->line->str);
    if (q->too_long)
        answer(q, "FAIL the line is longer than %u bytes", (unsigned)MAX_LINE);
    else
        obey(q, q->line->str);
    q->too_long = false;
    g_string_truncate(q->line, 0);
}

static void take(void *opaque, const uint8_t *buf, size_t len)
{
    struct viv_qtest *q = opaque;

    while (len) {
        const uint8_t *end = memchr(buf, '\n', len);
        size_t n = end ? (size_t)(end - buf) : len;

        if (q->line->len + n > MAX_LINE)
            q->too_long = true;
        else
            g_string_append_len(q->line, (const char *)buf, (gssize)n);
        if (!end)
            return;
        line_ends(q);
        buf += n + 1;
        len -= n + 1;
    }
}

static void on_event(void *opaque, enum viv_chr_event ev)
{
    struct viv_qtest *q = opaque;

    if (ev != VIV_CHR_OPENED && ev != VIV_CHR_CLOSED)
        return;
    log_line(q, "I", ev == VIV_CHR_OPENED ? "OPENED" : "CLOSED");
    g_string_truncate(q->line, 0);
    q->too_long = false;
    memset(q->level, 0, sizeof(q->level));
    if (ev == VIV_CHR_CLOSED)
        viv_board_watch_ioapic(NULL, NULL);
}

static int open_log(struct viv_qtest *q, const char *log, struct viv_err *err)
{
    if (log && !strcmp(log, "none"))
        return 0;
    q->log = log ? fopen(log, "we") : stderr;
    if (!q->log)
        return viv_fail_os(err, errno, "-qtest-log %s", log);
    setvbuf(q->log, NULL, _IOLBF, 0);
    return 0;
}

int viv_qtest_start(const char *dev, const char *log, struct viv_err *err)
{
    static const struct viv_chr_front front = {.can_read = can_read, .read = take, .event = on_event};
    struct viv_chr *c = NULL;
    int rc = viv_chr_new_short("-qtest", "qtest", dev, &c, err);

    if (rc < 0)
        return rc;
    if (!c)
        return viv_fail(err, EINVAL, "-qtest %s: nobody could say anything there; use unix:PATH or stdio", dev);
    server = g_new0(struct viv_qtest, 1);
    server->line = g_string_new(NULL);
    server->start_ns = viv_clock_ns(VIV_CLOCK_HOST);
    viv_mon_out_init(&server->out, c);
    rc = open_log(server, log, err);
    return rc < 0 ? rc : viv_chr_attach(c, &front, server, err);
}

void viv_qtest_free(void)
{
    struct viv_qtest *q = server;

    if (!q)
        return;
    server = NULL;
    viv_board_watch_ioapic(NULL, NULL);
    viv_chr_detach(q->out.chr, q);
    viv_mon_out_fini(&q->out);
    g_string_free(q->line, TRUE);
    if (q->log && q->log != stderr)
        fclose(q->log);
    g_free(q);
}
