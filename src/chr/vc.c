/* A text console on the machine's screen: ui/vc draws it and is typed into, this is its side towards serial ports and monitors. */
#include "chr/chr_int.h"

#include <errno.h>

#define FONT_WIDTH  8
#define FONT_HEIGHT 16
#define MOST        512 /* columns, rows */

struct chr_vc {
    struct viv_chr chr;
    void *screen;
};

static const struct viv_chr_screens *screens;

void viv_chr_set_screens(const struct viv_chr_screens *s)
{
    screens = s;
}

static size_t on_typed(void *opaque, const uint8_t *bytes, size_t len)
{
    struct viv_chr *c = opaque;
    size_t n = MIN(len, viv_chr_wants(c));

    if (n)
        viv_chr_deliver(c, bytes, n);
    return n;
}

/* A size in characters, or in pixels. 0: as usual. */
static int size_of(struct viv_opts *o, const char *chars, const char *pixels, unsigned font, unsigned *out, struct viv_err *err)
{
    if (viv_opts_given(o, chars) && viv_opts_given(o, pixels))
        return viv_fail(err, EINVAL, "%s: %s= and %s= exclude each other", viv_opts_what(o), chars, pixels);
    *out = viv_opts_given(o, pixels) ? (unsigned)viv_opts_int(o, pixels) / font : (unsigned)viv_opts_int(o, chars);
    return 0;
}

static int vc_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_vc *v = (struct chr_vc *)c;
    unsigned columns, rows;
    int rc = size_of(o, "cols", "width", FONT_WIDTH, &columns, err);

    if (!rc)
        rc = size_of(o, "rows", "height", FONT_HEIGHT, &rows, err);
    if (rc < 0)
        return rc;
    if (!screens)
        return viv_fail(err, ENOTSUP, "%s: this program has no screen for text consoles; use stdio, pty or socket", viv_opts_what(o));
    c->filename = g_strdup("vc");
    v->screen = screens->make(c->id, columns, rows, on_typed, c);
    viv_chr_event(c, VIV_CHR_OPENED);
    return 0;
}

static void vc_close(struct viv_chr *c)
{
    screens->free(((struct chr_vc *)c)->screen);
}

static size_t vc_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    screens->write(((struct chr_vc *)c)->screen, buf, len);
    return len;
}

static void vc_accept_input(struct viv_chr *c)
{
    screens->input_wanted(((struct chr_vc *)c)->screen);
}

static const struct viv_opt_def vc_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "cols", .type = VIV_OPT_INT, .min = 1, .max = MOST, .help = "columns (default: 80, or what there is room for)"},
    {.name = "rows", .type = VIV_OPT_INT, .min = 1, .max = MOST, .help = "lines (default: 24, or what there is room for)"},
    {.name = "width", .type = VIV_OPT_INT, .min = FONT_WIDTH, .max = MOST * FONT_WIDTH, .help = "the same in pixels"},
    {.name = "height", .type = VIV_OPT_INT, .min = FONT_HEIGHT, .max = MOST * FONT_HEIGHT, .help = "the same in pixels"},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_vc = {
    .name = "vc",
    .desc = "a text console on the screen",
    .size = sizeof(struct chr_vc),
    .props = vc_props,
    .open = vc_open,
    .close = vc_close,
    .write = vc_write,
    .accept_input = vc_accept_input,
};
