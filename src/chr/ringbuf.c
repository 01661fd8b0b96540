/* Keeps the last bytes of output in memory, to be read by the monitor (ringbuf_read). */
#include "chr/chr_int.h"

#include <errno.h>
#include <string.h>

struct chr_ring {
    struct viv_chr chr;
    uint8_t *buf;
    uint64_t size; /* power of two */
    uint64_t head, tail; /* read at head, written at tail; free-running */
};

static int ring_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_ring *r = (struct chr_ring *)c;

    r->size = viv_opts_size(o, "size");
    if (r->size & (r->size - 1))
        return viv_fail(err, EINVAL, "%s: size=%llu must be a power of two", viv_opts_what(o),
                        (unsigned long long)r->size);
    r->buf = g_try_malloc(r->size);
    if (!r->buf)
        return viv_fail(err, ENOMEM, "%s: no memory for a ring of %llu bytes", viv_opts_what(o),
                        (unsigned long long)r->size);
    c->filename = g_strdup("ringbuf");
    viv_chr_event(c, VIV_CHR_OPENED);
    return 0;
}

static void ring_close(struct viv_chr *c)
{
    g_free(((struct chr_ring *)c)->buf);
}

static size_t ring_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    struct chr_ring *r = (struct chr_ring *)c;

    for (size_t i = 0; i < len; i++)
        r->buf[r->tail++ & (r->size - 1)] = buf[i];
    if (r->tail - r->head > r->size)
        r->head = r->tail - r->size;
    return len;
}

static int need_ring(struct viv_chr *c, struct viv_err *err)
{
    if (c->cls != &viv_chr_ringbuf)
        return viv_fail(err, EINVAL, "chardev '%s' is not a ringbuf", c->id);
    return 0;
}

int viv_chr_ringbuf_read(struct viv_chr *c, uint8_t *buf, size_t len, size_t *got,
                         struct viv_err *err)
{
    struct chr_ring *r = (struct chr_ring *)c;
    int rc = need_ring(c, err);
    size_t n = 0;

    if (rc < 0)
        return rc;
    while (n < len && r->head < r->tail)
        buf[n++] = r->buf[r->head++ & (r->size - 1)];
    *got = n;
    return 0;
}

int viv_chr_ringbuf_write(struct viv_chr *c, const uint8_t *buf, size_t len, struct viv_err *err)
{
    int rc = need_ring(c, err);

    if (rc < 0)
        return rc;
    ring_write(c, buf, len);
    return 0;
}

static const struct viv_opt_def ring_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "size", .type = VIV_OPT_SIZE, .help = "bytes, a power of two", .def = "64K", .min = 1,
     .max = 1 << 30},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_ringbuf = {
    .name = "ringbuf",
    .desc = "the last output, kept in memory",
    .size = sizeof(struct chr_ring),
    .props = ring_props,
    .open = ring_open,
    .close = ring_close,
    .write = ring_write,
};
