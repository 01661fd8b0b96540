/* Consoles and their viewers (console.h).
 *
 * Viewers may come and go inside a viewer's callback: a call to all viewers goes over the list with `walking` counted up, a
 * viewer that goes meanwhile is marked, and freed when nobody walks any more; one that comes is put in front, where the walk has
 * been already. An adapter is not asked to refresh from within a viewer's callback.
 *
 * Rate: the fastest wish. After QUIET_TICKS refreshes that changed next to nothing it falls to IDLE_MS, until something does or
 * viv_console_awake(). What a blinking cursor changes is next to nothing. */
#include "ui/console.h"

#include "base/units.h"
#include "host/clock.h"

#include <glib.h>
#include <string.h>

#define QUIET_TICKS  10
#define QUIET_PIXELS 512 /* in one refresh */
#define IDLE_MS      200

struct viv_viewer {
    struct viv_console *console;
    const struct viv_viewer_ops *ops;
    void *opaque;
    unsigned period; /* ms; 0: none */
    bool gone;
    struct viv_viewer *next;
};

struct viv_console {
    char *name;
    unsigned head, number;
    const struct viv_console_ops *ops;
    void *opaque;
    struct viv_surface *surface;
    struct viv_cursor *cursor;
    struct {
        int x, y;
        bool visible;
    } at;
    struct viv_viewer *viewers;
    unsigned walking;
    bool refreshing, watched;
    struct viv_timer *timer;
    unsigned wish;   /* ms; 0: nobody looks */
    unsigned quiet;  /* refreshes without changes */
    uint64_t pixels; /* changed by the refresh under way */
};

static GPtrArray *all; /* by number; NULL where one has gone */
static unsigned changes;

/* ---- the walk over viewers ---- */

static void walk_end(struct viv_console *c)
{
    if (--c->walking)
        return;
    for (struct viv_viewer **v = &c->viewers; *v;) {
        struct viv_viewer *gone = *v;

        if (gone->gone) {
            *v = gone->next;
            g_free(gone);
        } else {
            v = &gone->next;
        }
    }
}

#define FOR_VIEWERS(c, v)                                                                          \
    for (struct viv_viewer *v = ((c)->walking++, (c)->viewers); v || (walk_end(c), false); v = v->next) \
        if (!v->gone)

/* ---- the rate ---- */

static unsigned fastest(const struct viv_console *c)
{
    unsigned ms = 0;

    for (const struct viv_viewer *v = c->viewers; v; v = v->next) {
        if (!v->gone && v->period && (!ms || v->period < ms))
            ms = v->period;
    }
    return ms;
}

unsigned viv_console_period(const struct viv_console *c)
{
    return c->wish && c->quiet >= QUIET_TICKS ? MAX(c->wish, IDLE_MS) : c->wish;
}

static void arm(struct viv_console *c, unsigned ms)
{
    viv_timer_set(c->timer, viv_clock_ns(VIV_CLOCK_HOST) + (int64_t)ms * 1000000);
}

static void update_rate(struct viv_console *c)
{
    unsigned old = c->wish;

    c->wish = fastest(c);
    if (!c->wish)
        viv_timer_cancel(c->timer);
    else if (c->wish != old)
        arm(c, viv_console_period(c));
    if (c->watched != (c->wish != 0)) {
        c->watched = c->wish != 0;
        c->quiet = 0;
        if (c->ops->watched)
            c->ops->watched(c->opaque, c->watched);
    }
}

void viv_console_awake(struct viv_console *c)
{
    bool idle = c->quiet >= QUIET_TICKS;

    c->quiet = 0;
    if (c->wish && idle)
        arm(c, c->wish);
}

void viv_console_refresh(struct viv_console *c)
{
    if (c->refreshing || c->walking)
        return;
    c->refreshing = true;
    c->pixels = 0;
    c->ops->refresh(c->opaque);
    c->refreshing = false;
    FOR_VIEWERS(c, v) {
        if (v->ops->tick)
            v->ops->tick(v->opaque);
    }
}

static void on_timer(void *opaque)
{
    struct viv_console *c = opaque;

    viv_console_refresh(c);
    if (c->pixels > QUIET_PIXELS)
        c->quiet = 0;
    else if (c->quiet < QUIET_TICKS)
        c->quiet++;
    if (c->wish)
        arm(c, viv_console_period(c));
}

/* ---- consoles ---- */

/* The first free number; a head goes before text consoles, which make room. */
static void give_number(struct viv_console *c)
{
    bool head = !viv_console_is_text(c);
    guint i = 0;

    if (!all)
        all = g_ptr_array_new();
    for (guint n = 0; !head && n < all->len; n++) {
        if (all->pdata[n] && !viv_console_is_text(all->pdata[n]))
            i = n + 1;
    }
    while (i < all->len && all->pdata[i] && !(head && viv_console_is_text(all->pdata[i])))
        i++;
    if (i < all->len && !all->pdata[i])
        all->pdata[i] = c;
    else
        g_ptr_array_insert(all, (int)i, c);
    for (; i < all->len; i++) {
        if (all->pdata[i])
            ((struct viv_console *)all->pdata[i])->number = i;
    }
}

struct viv_console *viv_console_new(const char *name, unsigned head, const struct viv_console_ops *ops, void *opaque)
{
    struct viv_console *c = g_new0(struct viv_console, 1);

    c->name = g_strdup(name);
    c->head = head;
    c->ops = ops;
    c->opaque = opaque;
    c->timer = viv_timer_new(VIV_CLOCK_HOST, on_timer, c);
    give_number(c);
    changes++;
    return c;
}

void viv_console_free(struct viv_console *c)
{
    if (!c)
        return;
    g_assert(!c->walking && !c->refreshing);
    FOR_VIEWERS(c, v) {
        v->ops->gone(v->opaque);
        v->gone = true; /* if it has not freed itself */
    }
    update_rate(c);
    viv_timer_free(c->timer);
    viv_surface_put(&c->surface);
    g_free(c->cursor);
    g_free(c->name);
    all->pdata[c->number] = NULL;
    changes++;
    while (all->len && !all->pdata[all->len - 1])
        g_ptr_array_set_size(all, (int)all->len - 1);
    if (!all->len) {
        g_ptr_array_free(all, TRUE);
        all = NULL;
    }
    g_free(c);
}

void viv_console_show(struct viv_console *c, struct viv_surface *s)
{
    struct viv_surface *old = c->surface;

    c->surface = s;
    if (s)
        c->pixels += (uint64_t)s->width * s->height;
    FOR_VIEWERS(c, v)
        v->ops->shown(v->opaque, s);
    if (old != s)
        viv_surface_put(&old);
}

void viv_console_changed(struct viv_console *c, unsigned x, unsigned y, unsigned width, unsigned height)
{
    const struct viv_surface *s = c->surface;

    if (!s || x >= s->width || y >= s->height)
        return;
    width = MIN(width, s->width - x);
    height = MIN(height, s->height - y);
    if (!width || !height)
        return;
    c->pixels += (uint64_t)width * height;
    FOR_VIEWERS(c, v)
        v->ops->changed(v->opaque, x, y, width, height);
}

void viv_console_set_cursor(struct viv_console *c, const struct viv_cursor *cursor)
{
    struct viv_cursor *old = c->cursor;

    c->cursor = cursor ? g_memdup2(cursor, sizeof(*cursor) + (size_t)cursor->width * cursor->height * 4) : NULL;
    FOR_VIEWERS(c, v) {
        if (v->ops->cursor)
            v->ops->cursor(v->opaque, c->cursor);
    }
    g_free(old);
}

void viv_console_move_cursor(struct viv_console *c, int x, int y, bool visible)
{
    c->at.x = x;
    c->at.y = y;
    c->at.visible = visible;
    FOR_VIEWERS(c, v) {
        if (v->ops->cursor_moved)
            v->ops->cursor_moved(v->opaque, x, y, visible);
    }
}

static struct viv_display_facts display = {.kind = "none"};

void viv_display_set_facts(const struct viv_display_facts *f)
{
    display = *f;
}

const struct viv_display_facts *viv_display_facts(void)
{
    return &display;
}

struct viv_console *viv_console_at(unsigned n)
{
    return all && n < all->len ? all->pdata[n] : NULL;
}

struct viv_console *viv_console_find(const char *device, unsigned head)
{
    for (guint i = 0; all && i < all->len; i++) {
        struct viv_console *c = all->pdata[i];

        if (c && !strcmp(c->name, device) && c->head == head)
            return c;
    }
    return NULL;
}

unsigned viv_console_number(const struct viv_console *c)
{
    return c->number;
}

const char *viv_console_name(const struct viv_console *c)
{
    return c->name;
}

const struct viv_surface *viv_console_surface(const struct viv_console *c)
{
    return c->surface;
}

const struct viv_cursor *viv_console_cursor(const struct viv_console *c)
{
    return c->cursor;
}

struct viv_text *viv_console_text(struct viv_console *c)
{
    return c->ops->text ? c->ops->text(c->opaque) : NULL;
}

bool viv_console_room(struct viv_console *c, unsigned width, unsigned height)
{
    if (c->ops->room)
        c->ops->room(c->opaque, width, height);
    return c->ops->room;
}

bool viv_console_is_text(const struct viv_console *c)
{
    return c->ops->type;
}

void viv_console_type(struct viv_console *c, uint32_t keysym, unsigned mods)
{
    c->ops->type(c->opaque, keysym, mods);
}

void viv_console_scroll(struct viv_console *c, int lines)
{
    c->ops->scroll(c->opaque, lines);
}

unsigned viv_console_changes(void)
{
    return changes;
}

/* ---- viewers ---- */

struct viv_viewer *viv_viewer_new(struct viv_console *c, const struct viv_viewer_ops *ops, void *opaque)
{
    struct viv_viewer *v = g_new0(struct viv_viewer, 1);

    v->console = c;
    v->ops = ops;
    v->opaque = opaque;
    v->next = c->viewers;
    c->viewers = v;
    c->walking++;
    ops->shown(opaque, c->surface);
    if (!v->gone && ops->cursor)
        ops->cursor(opaque, c->cursor);
    if (!v->gone && ops->cursor_moved)
        ops->cursor_moved(opaque, c->at.x, c->at.y, c->at.visible);
    walk_end(c);
    return v;
}

void viv_viewer_free(struct viv_viewer *v)
{
    struct viv_console *c = v ? v->console : NULL;

    if (!v || v->gone)
        return;
    v->gone = true;
    c->walking++;
    update_rate(c);
    walk_end(c);
}

void viv_viewer_set_period(struct viv_viewer *v, unsigned ms)
{
    v->period = ms;
    update_rate(v->console);
}
