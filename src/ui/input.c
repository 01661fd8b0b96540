/* Who gets keys and motion (input.h). Sinks stand in a list, the preferred one first; a kind goes to the first that takes it. What was
 * pressed on one is released on that one, whoever is preferred by then: a guest that has drivers for both would have it down for ever. */
#include "ui/input.h"

#include "ui/console.h"

#include <glib.h>

#define CODES 0x300 /* KEY_MAX + 1 */

struct viv_input_sink {
    const struct viv_input_ops *ops;
    void *opaque;
    int console;
    unsigned index, leds;
    unsigned buttons; /* that are down on it: 1 << enum viv_button */
    struct viv_input_sink *next;
};

struct viv_input_watch {
    void (*fn)(void *opaque);
    void *opaque;
    bool gone;
    struct viv_input_watch *next;
};

static struct viv_input_sink *sinks;
static struct viv_input_watch *watches;
static unsigned telling;
static struct viv_input_sink *holder[CODES]; /* on which a key is down; NULL: it is up */

/* ---- watches ---- */

static void tell(void)
{
    telling++;
    for (struct viv_input_watch *w = watches; w; w = w->next) {
        if (!w->gone)
            w->fn(w->opaque);
    }
    if (--telling)
        return;
    for (struct viv_input_watch **w = &watches; *w;) {
        struct viv_input_watch *gone = *w;

        if (gone->gone) {
            *w = gone->next;
            g_free(gone);
        } else {
            w = &gone->next;
        }
    }
}

struct viv_input_watch *viv_input_watch(void (*fn)(void *opaque), void *opaque)
{
    struct viv_input_watch *w = g_new0(struct viv_input_watch, 1);

    *w = (struct viv_input_watch){.fn = fn, .opaque = opaque, .next = watches};
    watches = w;
    return w;
}

void viv_input_unwatch(struct viv_input_watch *watch)
{
    if (!watch)
        return;
    if (telling) {
        watch->gone = true;
        return;
    }
    for (struct viv_input_watch **w = &watches; *w; w = &(*w)->next) {
        if (*w == watch) {
            *w = watch->next;
            break;
        }
    }
    g_free(watch);
}

/* ---- sinks ---- */

static bool is_of(const struct viv_input_sink *s, int console)
{
    return s->console < 0 || console < 0 || s->console == console;
}

static struct viv_input_sink *pick(unsigned kinds, int console)
{
    struct viv_input_sink *s = sinks;

    while (s && (!(s->ops->kinds & kinds) || !is_of(s, console)))
        s = s->next;
    return s;
}

static struct viv_input_sink *pointer(int console)
{
    return pick(VIV_INPUT_RELATIVE | VIV_INPUT_ABSOLUTE, console);
}

static void take_out(struct viv_input_sink *sink)
{
    for (struct viv_input_sink **s = &sinks; *s; s = &(*s)->next) {
        if (*s == sink) {
            *s = sink->next;
            break;
        }
    }
}

static unsigned free_index(void)
{
    unsigned n = 0;

    for (struct viv_input_sink *s = sinks; s; s = s->next)
        n = MAX(n, s->index + 1);
    return n;
}

struct viv_input_sink *viv_input_add(const struct viv_input_ops *ops, void *opaque, int console)
{
    struct viv_input_sink *s = g_new0(struct viv_input_sink, 1);

    *s = (struct viv_input_sink){.ops = ops, .opaque = opaque, .console = console, .index = free_index(), .next = sinks};
    sinks = s;
    tell();
    return s;
}

void viv_input_remove(struct viv_input_sink *s)
{
    if (!s)
        return;
    take_out(s);
    for (unsigned code = 0; code < CODES; code++)
        holder[code] = holder[code] == s ? NULL : holder[code];
    g_free(s);
    tell();
}

void viv_input_prefer(struct viv_input_sink *s, bool prefer)
{
    struct viv_input_sink **at = &sinks;

    take_out(s);
    while (!prefer && *at)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    tell();
}

void viv_input_set_leds(struct viv_input_sink *s, unsigned leds)
{
    if (s->leds == leds)
        return;
    s->leds = leds;
    if (pick(VIV_INPUT_KEYS, -1) == s)
        tell();
}

bool viv_input_pointer(unsigned n, struct viv_input_pointer *out)
{
    for (struct viv_input_sink *s = sinks; s; s = s->next) {
        if (!(s->ops->kinds & (VIV_INPUT_RELATIVE | VIV_INPUT_ABSOLUTE)) || n--)
            continue;
        *out = (struct viv_input_pointer){s->ops->name, s->index, s->ops->kinds & VIV_INPUT_ABSOLUTE, s == pointer(-1)};
        return true;
    }
    return false;
}

bool viv_input_prefer_pointer(unsigned index)
{
    for (struct viv_input_sink *s = sinks; s; s = s->next) {
        if (s->index != index || !(s->ops->kinds & (VIV_INPUT_RELATIVE | VIV_INPUT_ABSOLUTE)))
            continue;
        viv_input_prefer(s, true);
        return true;
    }
    return false;
}

/* ---- events ---- */

/* Somebody is there: screens are looked at closely again. */
static void awake(void)
{
    struct viv_console *c;

    for (unsigned n = 0; (c = viv_console_at(n)); n++)
        viv_console_awake(c);
}

void viv_input_key(unsigned code, bool down)
{
    struct viv_input_sink *s = NULL;

    awake();
    if (code < CODES)
        s = holder[code] || !down ? holder[code] : pick(VIV_INPUT_KEYS, -1);
    if (!s)
        return;
    holder[code] = down ? s : NULL;
    s->ops->key(s->opaque, code, down);
    if (s->ops->sync)
        s->ops->sync(s->opaque);
}

bool viv_input_busy(void)
{
    struct viv_input_sink *s = pick(VIV_INPUT_KEYS, -1);

    return s && s->ops->busy && s->ops->busy(s->opaque);
}

void viv_input_release_all(void)
{
    for (unsigned code = 0; code < CODES; code++) {
        if (holder[code])
            viv_input_key(code, false);
    }
}

void viv_input_move(int console, int dx, int dy)
{
    struct viv_input_sink *s = pick(VIV_INPUT_RELATIVE, console);

    if (s && s->ops->move)
        s->ops->move(s->opaque, dx, dy);
}

/* The pixel's middle: a guest that scales it back, however it rounds, finds that pixel again. */
static unsigned scale(unsigned at, unsigned size)
{
    return size ? (unsigned)((2 * (uint64_t)MIN(at, size - 1) + 1) * VIV_INPUT_RANGE / (2 * (uint64_t)size)) : 0;
}

void viv_input_place(int console, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct viv_input_sink *s = pick(VIV_INPUT_ABSOLUTE, console);

    if (s && s->ops->place)
        s->ops->place(s->opaque, scale(x, width), scale(y, height));
}

static void set_button(struct viv_input_sink *s, enum viv_button b, bool down)
{
    s->buttons = down ? s->buttons | 1u << b : s->buttons & ~(1u << b);
    if (s->ops->button)
        s->ops->button(s->opaque, b, down);
}

void viv_input_button(int console, enum viv_button b, bool down)
{
    struct viv_input_sink *current = pointer(console);

    if (b >= VIV_BUTTONS)
        return;
    for (struct viv_input_sink *s = sinks; s && !down; s = s->next) {
        if (s == current || !(s->buttons >> b & 1) || !is_of(s, console))
            continue;
        set_button(s, b, false);
        if (s->ops->sync)
            s->ops->sync(s->opaque);
    }
    if (current)
        set_button(current, b, down);
}

void viv_input_wheel(int console, int dy, int dx)
{
    struct viv_input_sink *s = pointer(console);

    if (s && s->ops->wheel)
        s->ops->wheel(s->opaque, dy, dx);
}

/* Motion may have gone to another sink than buttons: both are told. */
void viv_input_sync(int console)
{
    struct viv_input_sink *s[3] = {pointer(console), pick(VIV_INPUT_RELATIVE, console), pick(VIV_INPUT_ABSOLUTE, console)};

    awake();
    for (unsigned i = 0; i < 3; i++) {
        if (s[i] && s[i]->ops->sync && (i == 0 || s[i] != s[0]))
            s[i]->ops->sync(s[i]->opaque);
    }
}

bool viv_input_is_absolute(int console)
{
    struct viv_input_sink *s = pointer(console);

    return s && s->ops->kinds & VIV_INPUT_ABSOLUTE;
}

unsigned viv_input_leds(void)
{
    struct viv_input_sink *s = pick(VIV_INPUT_KEYS, -1);

    return s ? s->leds : 0;
}
