#include "ui/look.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>

struct viv_look {
    bool wants_text;
    void (*news)(void *opaque);
    void *opaque;
    /* Loop thread. */
    struct viv_console *console;
    struct viv_viewer *viewer;
    unsigned period;
    struct viv_text *last_text;
    bool last_known;

    pthread_mutex_t lock;
    struct {
        struct viv_look_news n;
        struct viv_surface *surface;
        struct viv_cursor *cursor;
        bool any, called;
    } mail;

    /* The other thread. */
    struct viv_surface *surface;
    struct viv_cursor *cursor;
};

static size_t cursor_size(const struct viv_cursor *c)
{
    return sizeof(*c) + (size_t)c->width * c->height * 4;
}

static size_t text_size(const struct viv_text *t)
{
    return sizeof(*t) + (size_t)t->columns * t->rows * sizeof(t->cell[0]);
}

/* With the lock held; says whether to call. */
static bool note(struct viv_look *l)
{
    bool call = !l->mail.called;

    l->mail.any = l->mail.called = true;
    return call;
}

static void unlock_and_tell(struct viv_look *l, bool call)
{
    pthread_mutex_unlock(&l->lock);
    if (call)
        l->news(l->opaque);
}

/* ---- loop thread ---- */

static void on_shown(void *opaque, const struct viv_surface *s)
{
    struct viv_look *l = opaque;

    pthread_mutex_lock(&l->lock);
    viv_surface_put(&l->mail.surface);
    l->mail.surface = viv_surface_get(s);
    l->mail.n.new_surface = true;
    memset(l->mail.n.rows, 0xff, sizeof(l->mail.n.rows));
    l->mail.n.first = 0;
    l->mail.n.last = s ? s->height - 1 : 0;
    unlock_and_tell(l, note(l));
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct viv_look *l = opaque;

    pthread_mutex_lock(&l->lock);
    for (unsigned row = y; row < y + height; row++)
        l->mail.n.rows[row / VIV_LOOK_WORD_BITS] |= 1ul << row % VIV_LOOK_WORD_BITS;
    l->mail.n.first = MIN(l->mail.n.first, y);
    l->mail.n.last = MAX(l->mail.n.last, y + height - 1);
    l->mail.any = true;
    pthread_mutex_unlock(&l->lock);
}

static void on_cursor(void *opaque, const struct viv_cursor *c)
{
    struct viv_look *l = opaque;

    pthread_mutex_lock(&l->lock);
    g_free(l->mail.cursor);
    l->mail.cursor = c ? g_memdup2(c, cursor_size(c)) : NULL;
    l->mail.n.new_cursor = true;
    unlock_and_tell(l, note(l));
}

static void on_cursor_moved(void *opaque, int x, int y, bool visible)
{
    struct viv_look *l = opaque;

    pthread_mutex_lock(&l->lock);
    l->mail.n.cursor_x = x;
    l->mail.n.cursor_y = y;
    l->mail.n.cursor_visible = visible;
    unlock_and_tell(l, note(l));
}

static void read_text(struct viv_look *l)
{
    struct viv_text *t = viv_console_text(l->console);
    bool same = l->last_known && (t && l->last_text ? text_size(t) == text_size(l->last_text) && !memcmp(t, l->last_text, text_size(t))
                                                    : !t && !l->last_text);

    if (same) {
        g_free(t);
        return;
    }
    g_free(l->last_text);
    l->last_text = t;
    l->last_known = true;
    pthread_mutex_lock(&l->lock);
    g_free(l->mail.n.text);
    l->mail.n.text = t ? g_memdup2(t, text_size(t)) : NULL;
    l->mail.n.new_text = true;
    unlock_and_tell(l, note(l));
}

static void on_tick(void *opaque)
{
    struct viv_look *l = opaque;
    bool call = false;

    if (l->wants_text)
        read_text(l);
    pthread_mutex_lock(&l->lock);
    if (l->mail.any)
        call = note(l);
    unlock_and_tell(l, call);
}

static void on_gone(void *opaque)
{
    struct viv_look *l = opaque;

    l->viewer = NULL;
    l->console = NULL;
    on_shown(l, NULL);
    on_cursor(l, NULL);
}

struct viv_look *viv_look_new(bool text, void (*news)(void *opaque), void *opaque)
{
    struct viv_look *l = g_new0(struct viv_look, 1);

    l->wants_text = text;
    l->news = news;
    l->opaque = opaque;
    l->mail.n.first = UINT_MAX;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void viv_look_free(struct viv_look *l)
{
    if (!l)
        return;
    viv_viewer_free(l->viewer);
    viv_surface_put(&l->mail.surface);
    viv_surface_put(&l->surface);
    g_free(l->mail.cursor);
    g_free(l->cursor);
    g_free(l->mail.n.text);
    g_free(l->last_text);
    pthread_mutex_destroy(&l->lock);
    g_free(l);
}

void viv_look_at(struct viv_look *l, struct viv_console *c)
{
    static const struct viv_viewer_ops ops = {.shown = on_shown, .changed = on_changed, .cursor = on_cursor,
                                              .cursor_moved = on_cursor_moved, .tick = on_tick, .gone = on_gone};

    viv_viewer_free(l->viewer);
    l->viewer = NULL;
    l->console = c;
    l->last_known = false;
    if (!c) {
        on_shown(l, NULL);
        return;
    }
    l->viewer = viv_viewer_new(c, &ops, l);
    viv_viewer_set_period(l->viewer, l->period);
    if (l->period)
        viv_console_refresh(c);
}

struct viv_console *viv_look_console(const struct viv_look *l)
{
    return l->console;
}

void viv_look_set_period(struct viv_look *l, unsigned ms)
{
    bool begins = ms && !l->period;

    l->period = ms;
    if (!l->viewer)
        return;
    viv_viewer_set_period(l->viewer, ms);
    if (begins)
        viv_console_refresh(l->console);
}

/* ---- the other thread ---- */

bool viv_look_take(struct viv_look *l, struct viv_look_news *out)
{
    bool any;

    pthread_mutex_lock(&l->lock);
    any = l->mail.any;
    if (any) {
        *out = l->mail.n;
        if (out->new_surface) {
            viv_surface_put(&l->surface);
            l->surface = viv_surface_get(l->mail.surface);
        }
        if (out->new_cursor) {
            g_free(l->cursor);
            l->cursor = g_steal_pointer(&l->mail.cursor);
        }
        memset(l->mail.n.rows, 0, sizeof(l->mail.n.rows));
        l->mail.n.first = UINT_MAX;
        l->mail.n.last = 0;
        l->mail.n.text = NULL;
        l->mail.n.new_surface = l->mail.n.new_cursor = l->mail.n.new_text = l->mail.any = l->mail.called = false;
    }
    pthread_mutex_unlock(&l->lock);
    out->surface = l->surface;
    out->cursor = l->cursor;
    return any;
}
