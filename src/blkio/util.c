/* Numbers, sizes and reports, in the words of qemu-io. */
#include "blkio/blkio.h"

#include "base/checked.h"
#include "opt/opt.h"

#include <ctype.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE 4096
#define OFF_BY 16 /* -m: this far from a page's start */

int viv_blkio_error(const struct viv_blkio *f, const char *fmt, ...)
{
    va_list ap;

    fflush(f->out);
    fputs(f->program, f->err);
    va_start(ap, fmt);
    vfprintf(f->err, fmt, ap);
    va_end(ap);
    fputc('\n', f->err);
    return 1;
}

int viv_blkio_usage(const struct viv_blkio *f, const struct viv_blkio_command *c)
{
    fprintf(f->out, "%s%s%s -- %s\n", c->name, c->args ? " " : "", c->args ? c->args : "", c->summary);
    return 1;
}

int viv_blkio_parse(const struct viv_blkio *f, const char *text, uint64_t *out)
{
    struct viv_err err = {0};
    int ret = viv_parse_size(text, 1, out, &err);

    if (!ret && *out <= INT64_MAX)
        return 0;
    if (!ret)
        fprintf(f->out, "Parsing error: argument too large -- %s\n", text);
    else
        fprintf(f->out, "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n", text);
    viv_err_clear(&err);
    return 1;
}

int viv_blkio_parse_lens(const struct viv_blkio *f, int argc, char **argv, int from, bool vector, uint64_t *sum)
{
    *sum = 0;
    for (int i = from; i < argc; i++) {
        uint64_t len;

        if (viv_blkio_parse(f, argv[i], &len))
            return 1;
        if (len > VIV_BLKIO_LEN_MAX - *sum) {
            fprintf(f->out, vector ? "Argument '%2$s' exceeds maximum size %1$u\n" : "length cannot exceed %u, given %s\n", VIV_BLKIO_LEN_MAX,
                   argv[i]);
            return 1;
        }
        *sum += len;
    }
    return 0;
}

int viv_blkio_parse_pattern(const struct viv_blkio *f, const char *text, int *out)
{
    char *end;
    long v = strtol(text, &end, 0);

    if (*text && !*end && v >= 0 && v <= 255) {
        *out = v;
        return 0;
    }
    fprintf(f->out, "%s is not a valid pattern byte\n", text);
    return 1;
}

/* Drops the zeroes of a whole number. */
static void cut(char *text, const char *zeroes, const char *unit, size_t size)
{
    size_t len = strlen(text), tail = strlen(zeroes);

    if (len > tail && strcmp(text + len - tail, zeroes) == 0)
        text[len - tail] = '\0';
    g_strlcat(text, unit, size);
}

void viv_blkio_size_text(double bytes, char *out, size_t size)
{
    static const char *const units[] = {" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    unsigned u = 0;

    while (bytes >= 1024 && u + 1 < G_N_ELEMENTS(units)) {
        bytes /= 1024;
        u++;
    }
    g_snprintf(out, size, u ? "%.3f" : "%f", bytes);
    cut(out, u ? ".000" : ".000000", units[u], size);
}

static void time_text(double seconds, bool fixed, char *out, size_t size)
{
    unsigned long s = seconds;
    unsigned hundredths = (seconds - s) * 100;

    if (fixed || s >= 3600)
        g_snprintf(out, size, "%lu:%02lu:%02lu.%02u", s / 3600, s / 60 % 60, s % 60, hundredths);
    else if (s >= 60)
        g_snprintf(out, size, "%02lu:%02lu.%02u", s / 60, s % 60, hundredths);
    else
        g_snprintf(out, size, "%02lu.%02u sec", s, hundredths);
}

void viv_blkio_report(const struct viv_blkio *f, const char *op, uint64_t done, uint64_t total, uint64_t offset, double seconds, bool machine)
{
    char time[64], size[64], rate[64];
    double per = seconds > 0 ? seconds : 1e-9;

    time_text(seconds, machine, time, sizeof(time));
    flockfile(f->out);
    if (machine) {
        fprintf(f->out, "%" PRIu64 ",1,%s,%.3f,%.3f\n", done, time, done / per, 1 / per);
    } else {
        viv_blkio_size_text(done, size, sizeof(size));
        viv_blkio_size_text(done / per, rate, sizeof(rate));
        fprintf(f->out, "%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", op, done, total, offset);
        fprintf(f->out, "%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", size, time, rate, 1 / per);
    }
    funlockfile(f->out);
}

void viv_blkio_dump(const struct viv_blkio *f, const uint8_t *buf, uint64_t offset, size_t len)
{
    flockfile(f->out);
    for (size_t at = 0; at < len; at += 16) {
        size_t n = MIN(16, len - at);

        fprintf(f->out, "%08" PRIx64 ":  ", offset + at);
        for (size_t i = 0; i < n; i++)
            fprintf(f->out, "%02x ", buf[at + i]);
        putc(' ', f->out);
        for (size_t i = 0; i < n; i++)
            putc(isalnum(buf[at + i]) ? buf[at + i] : '.', f->out);
        putc('\n', f->out);
    }
    funlockfile(f->out);
}

int viv_blkio_ended(const struct viv_blkio *f, const char *what, uint64_t offset, uint64_t len, int ret)
{
    if (!ret)
        return 0;
    if (ret == -EROFS)
        return viv_blkio_error(f, "Block node is read-only");
    if (ret == -EINVAL && !viv_range_inside(offset, len, viv_blk_size(f->blk)))
        ret = -EIO;
    fprintf(f->out, "%s failed: %s\n", what, g_strerror(-ret));
    return 1;
}

double viv_blkio_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

uint8_t *viv_blkio_alloc(const struct viv_blkio *f, size_t len, int fill)
{
    size_t off = f->misalign ? OFF_BY : 0;
    void *buf;

    if (posix_memalign(&buf, PAGE, len + off + 1))
        return NULL;
    memset(buf, fill, len + off + 1);
    return (uint8_t *)buf + off;
}

void viv_blkio_free(const struct viv_blkio *f, uint8_t *buf)
{
    if (buf)
        free(buf - (f->misalign ? OFF_BY : 0));
}
