/* A terminal as a console: drawn when somebody looks, typed into by whoever looks. */
#include "ui/vc/vc.h"

#include "ui/console.h"
#include "ui/vc/draw.h"
#include "ui/vc/font.h"
#include "ui/vc/vc_keys.h"

#include <glib.h>
#include <string.h>

#define COLUMNS   80
#define ROWS      24
#define TYPED_MOST 4096 /* bytes that wait for the guest */

struct viv_vc {
    struct viv_term *term;
    struct viv_console *console;
    struct viv_surface *surface; /* the console's */
    const struct viv_vc_ops *ops;
    void *opaque;
    GByteArray *typed;
    bool fixed; /* its size was named */
    bool sending;
};

/* ---- what is shown ---- */

static void new_surface(struct viv_vc *v)
{
    v->surface = viv_surface_new(viv_term_columns(v->term) * VIV_FONT_WIDTH, viv_term_rows(v->term) * VIV_FONT_HEIGHT);
    for (unsigned y = 0; v->surface && y < viv_term_rows(v->term); y++)
        viv_vc_draw_row(v->term, y, v->surface);
    viv_term_clean(v->term);
    viv_console_show(v->console, v->surface);
}

static void vc_refresh(void *opaque)
{
    struct viv_vc *v = opaque;

    if (!v->surface)
        return;
    for (unsigned y = 0; y < viv_term_rows(v->term); y++) {
        if (!viv_term_dirty(v->term, y))
            continue;
        viv_vc_draw_row(v->term, y, v->surface);
        viv_console_changed(v->console, 0, y * VIV_FONT_HEIGHT, v->surface->width, VIV_FONT_HEIGHT);
    }
    viv_term_clean(v->term);
}

static struct viv_text *vc_text(void *opaque)
{
    return viv_vc_text(((struct viv_vc *)opaque)->term);
}

static void vc_room(void *opaque, unsigned width, unsigned height)
{
    struct viv_vc *v = opaque;
    unsigned columns = width / VIV_FONT_WIDTH, rows = height / VIV_FONT_HEIGHT;

    if (v->fixed || columns < 20 || rows < 4)
        return;
    columns = MIN(columns, VIV_TERM_MOST);
    rows = MIN(rows, VIV_TERM_MOST);
    if (columns == viv_term_columns(v->term) && rows == viv_term_rows(v->term))
        return;
    viv_term_resize(v->term, columns, rows);
    new_surface(v);
}

/* ---- what is typed ---- */

/* Who takes some may ask for more from within. */
static void send(struct viv_vc *v)
{
    size_t n;

    if (v->sending)
        return;
    v->sending = true;
    while (v->typed->len && (n = v->ops->typed(v->opaque, v->typed->data, v->typed->len)))
        g_byte_array_remove_range(v->typed, 0, (guint)n);
    v->sending = false;
}

static void add(struct viv_vc *v, const char *bytes, size_t len)
{
    if (v->typed->len + len <= TYPED_MOST)
        g_byte_array_append(v->typed, (const guint8 *)bytes, (guint)len);
    send(v);
}

static void vc_scroll(void *opaque, int lines)
{
    struct viv_vc *v = opaque;

    viv_term_scroll(v->term, lines);
    viv_console_awake(v->console);
}

static void vc_type(void *opaque, uint32_t keysym, unsigned mods)
{
    struct viv_vc *v = opaque;
    int scroll = viv_vc_key_scroll(keysym, mods, viv_term_rows(v->term));
    char bytes[VIV_VC_KEY_MOST];
    size_t len;

    if (scroll) {
        vc_scroll(v, scroll);
        return;
    }
    len = viv_vc_key_bytes(keysym, mods, viv_term_application_keys(v->term), bytes);
    if (!len)
        return;
    viv_term_scroll_end(v->term);
    add(v, bytes, len);
}

static void on_answer(void *opaque, const char *bytes, size_t len)
{
    add(opaque, bytes, len);
}

/* ---- the rest ---- */

static const struct viv_console_ops console_ops = {
    .refresh = vc_refresh, .text = vc_text, .room = vc_room, .type = vc_type, .scroll = vc_scroll};

struct viv_vc *viv_vc_new(const char *name, unsigned columns, unsigned rows, const struct viv_vc_ops *ops, void *opaque)
{
    struct viv_vc *v = g_new0(struct viv_vc, 1);

    v->ops = ops;
    v->opaque = opaque;
    v->fixed = columns || rows;
    v->typed = g_byte_array_new();
    v->term = viv_term_new(columns ? columns : COLUMNS, rows ? rows : ROWS, on_answer, v);
    v->console = viv_console_new(name, 0, &console_ops, v);
    new_surface(v);
    return v;
}

void viv_vc_free(struct viv_vc *v)
{
    viv_console_free(v->console);
    viv_term_free(v->term);
    g_byte_array_free(v->typed, TRUE);
    g_free(v);
}

void viv_vc_write(struct viv_vc *v, const uint8_t *bytes, size_t len)
{
    viv_term_write(v->term, bytes, len);
    viv_console_awake(v->console);
}

void viv_vc_input_wanted(struct viv_vc *v)
{
    send(v);
}
