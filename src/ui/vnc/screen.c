/* The console, on its way to the clients.
 *
 * Loop thread: the viewer notes which rows have changed, and puts that into the server's mail when the refresh is complete. VNC
 * thread: takes the mail, copies those rows of the surface, which may be guest memory that changes meanwhile, into a picture of its
 * own, and marks for each client the tiles that differ from what was there. */
#include "ui/vnc/vnc_int.h"

#include "base/log.h"
#include "ui/input.h"

#include <string.h>

#define PERIOD_MS     30
#define LONG_BITS     (8 * sizeof(long))
#define NO_WIDTH      640 /* while there is no picture */
#define NO_HEIGHT     480
#define COLOURS       0xffffffu

/* ---- loop thread ---- */

static void collected(void *unused)
{
}

static void post(struct vnc_server *s)
{
    if (s->mail.posted)
        return;
    s->mail.posted = true;
    vnc_post(collected, NULL); /* the thread looks for mail after all posts */
}

static void all_rows(struct vnc_server *s, unsigned height)
{
    memset(s->mail.rows, 0xff, sizeof(s->mail.rows));
    s->mail.first = 0;
    s->mail.last = height - 1;
}

static void on_shown(void *opaque, const struct viv_surface *surface)
{
    struct vnc_server *s = opaque;

    pthread_mutex_lock(&s->lock);
    viv_surface_put(&s->mail.surface);
    s->mail.surface = viv_surface_get(surface);
    s->mail.new_surface = true;
    all_rows(s, surface ? surface->height : 1);
    post(s);
    pthread_mutex_unlock(&s->lock);
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct vnc_server *s = opaque;

    pthread_mutex_lock(&s->lock);
    for (unsigned row = y; row < y + height; row++)
        s->mail.rows[row / LONG_BITS] |= 1ul << row % LONG_BITS;
    s->mail.first = MIN(s->mail.first, y);
    s->mail.last = MAX(s->mail.last, y + height - 1);
    pthread_mutex_unlock(&s->lock);
}

static void on_tick(void *opaque)
{
    struct vnc_server *s = opaque;

    pthread_mutex_lock(&s->lock);
    if (s->mail.first <= s->mail.last)
        post(s);
    pthread_mutex_unlock(&s->lock);
}

static void on_cursor(void *opaque, const struct viv_cursor *cursor)
{
    struct vnc_server *s = opaque;

    pthread_mutex_lock(&s->lock);
    g_free(s->mail.cursor);
    s->mail.cursor = cursor ? g_memdup2(cursor, sizeof(*cursor) + (size_t)cursor->width * cursor->height * 4) : NULL;
    s->mail.new_cursor = true;
    post(s);
    pthread_mutex_unlock(&s->lock);
}

static void on_gone(void *opaque)
{
    struct vnc_server *s = opaque;

    on_shown(s, NULL);
    on_cursor(s, NULL);
    s->viewer = NULL;
    s->console = NULL;
}

void vnc_screen_attach(struct vnc_server *s, struct viv_console *console)
{
    static const struct viv_viewer_ops ops = {
        .shown = on_shown, .changed = on_changed, .cursor = on_cursor, .tick = on_tick, .gone = on_gone};

    s->console = console;
    s->console_number = console ? (int)viv_console_number(console) : -1;
    if (console)
        s->viewer = viv_viewer_new(console, &ops, s);
}

void vnc_screen_detach(struct vnc_server *s)
{
    viv_viewer_free(s->viewer);
    s->viewer = NULL;
    s->console = NULL;
}

void vnc_screen_look(struct vnc_server *s)
{
    bool on;

    pthread_mutex_lock(&s->lock);
    on = s->looked;
    pthread_mutex_unlock(&s->lock);
    if (s->viewer)
        viv_viewer_set_period(s->viewer, on ? PERIOD_MS : 0);
    if (!on)
        return;
    if (s->console)
        viv_console_refresh(s->console);
    pthread_mutex_lock(&s->lock);
    s->mail.fresh = true;
    post(s);
    pthread_mutex_unlock(&s->lock);
}

void vnc_screen_switch(struct vnc_server *s, struct viv_console *console)
{
    vnc_input_switched(s);
    vnc_screen_detach(s);
    vnc_screen_attach(s, console);
    vnc_input_switched(s);
    vnc_screen_look(s);
}

/* ---- VNC thread ---- */

static bool make_picture(struct vnc_server *s, unsigned width, unsigned height)
{
    unsigned stride = (width + VNC_TILE_W - 1) / VNC_TILE_W * VNC_TILE_W;
    uint32_t *pixels;

    if (s->pixels && s->width == width && s->height == height)
        return true;
    pixels = g_try_malloc0((size_t)stride * height * 4);
    if (!pixels)
        return false;
    g_free(s->pixels);
    s->pixels = pixels;
    s->width = width;
    s->height = height;
    s->stride = stride;
    return true;
}

static void new_surface(struct vnc_server *s)
{
    struct viv_surface *surface = s->surface;
    unsigned width = surface ? surface->width : NO_WIDTH, height = surface ? surface->height : NO_HEIGHT;
    bool flip = surface && s->pixels && s->width == width && s->height == height;

    if (flip)
        return; /* what is another on it will be found when its rows are copied */
    if (!make_picture(s, width, height)) {
        viv_warn("VNC: no memory for a picture of %ux%u", width, height);
        viv_surface_put(&s->surface);
        if (!s->pixels)
            make_picture(s, 1, 1);
    }
    if (!s->surface)
        memset(s->pixels, 0, (size_t)s->stride * s->height * 4);
    for (struct vnc_client *c = s->clients; c; c = c->next) {
        if (c->state == VNC_NORMAL)
            vnc_view_resize(c);
    }
}

/* Copies; is it another than before? Read once: the guest may write meanwhile. */
static bool copy_tile_row(const uint32_t *from, uint32_t *to, unsigned n)
{
    uint32_t diff = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t px = from[i] & COLOURS;

        diff |= px ^ to[i];
        to[i] = px;
    }
    return diff != 0;
}

static void copy_row(struct vnc_server *s, unsigned y)
{
    const uint32_t *from = (const uint32_t *)(s->surface->pixels + (size_t)y * s->surface->stride);
    uint32_t *to = s->pixels + (size_t)y * s->stride;

    for (unsigned x = 0; x < s->width; x += VNC_TILE_W) {
        if (!copy_tile_row(from + x, to + x, MIN(VNC_TILE_W, s->width - x)))
            continue;
        for (struct vnc_client *c = s->clients; c; c = c->next) {
            if (c->state == VNC_NORMAL)
                vnc_view_dirty(c, x, y, 1, 1);
        }
    }
}

static void copy_rows(struct vnc_server *s, const unsigned long *rows, unsigned first, unsigned last)
{
    if (!s->surface)
        return;
    for (unsigned y = first; y <= last && y < s->height; y++) {
        if (rows[y / LONG_BITS] >> y % LONG_BITS & 1)
            copy_row(s, y);
    }
}

void vnc_screen_collect(struct vnc_server *s)
{
    static unsigned long rows[G_N_ELEMENTS(s->mail.rows)];
    unsigned first, last;
    bool resized;

    pthread_mutex_lock(&s->lock);
    first = s->mail.first;
    last = s->mail.last;
    resized = s->mail.new_surface;
    if (first <= last) {
        memcpy(rows, s->mail.rows, sizeof(rows));
        memset(s->mail.rows, 0, sizeof(rows));
    }
    s->mail.first = UINT_MAX;
    s->mail.last = 0;
    if (resized) {
        viv_surface_put(&s->surface);
        s->surface = viv_surface_get(s->mail.surface);
    }
    if (s->mail.new_cursor) {
        g_free(s->cursor);
        s->cursor = g_steal_pointer(&s->mail.cursor);
        s->cursor_version++;
    }
    s->fresh |= s->mail.fresh;
    s->mail.new_surface = s->mail.new_cursor = s->mail.fresh = s->mail.posted = false;
    if (s->seen_leds != s->leds || s->seen_absolute != s->absolute)
        s->state_version++;
    s->seen_leds = s->leds;
    s->seen_absolute = s->absolute;
    pthread_mutex_unlock(&s->lock);
    if (resized || !s->pixels)
        new_surface(s);
    copy_rows(s, rows, first, last);
}

void vnc_screen_drop(struct vnc_server *s)
{
    viv_surface_put(&s->surface);
    viv_surface_put(&s->mail.surface);
    g_clear_pointer(&s->cursor, g_free);
    g_clear_pointer(&s->mail.cursor, g_free);
    g_clear_pointer(&s->pixels, g_free);
}
