#include "mon/mon_int.h"

#define FULL (1024 * 1024)

static void push(void *opaque)
{
    struct viv_mon_out *o = opaque;
    size_t n = viv_chr_write(o->chr, (const uint8_t *)o->buf->str, o->buf->len);

    g_string_erase(o->buf, 0, n);
    if (o->buf->len)
        viv_chr_on_writable(o->chr, push, o);
    else
        viv_chr_accept_input(o->chr);
}

void viv_mon_out_init(struct viv_mon_out *o, struct viv_chr *c)
{
    o->chr = c;
    o->buf = g_string_new(NULL);
}

void viv_mon_out_put(struct viv_mon_out *o, const char *text, size_t len)
{
    bool waiting = o->buf->len > 0;

    g_string_append_len(o->buf, text, len);
    if (!waiting)
        push(o);
}

bool viv_mon_out_full(const struct viv_mon_out *o)
{
    return o->buf->len >= FULL;
}

void viv_mon_out_fini(struct viv_mon_out *o)
{
    viv_chr_on_writable(o->chr, NULL, o);
    g_string_free(o->buf, TRUE);
}
