#include "dev/input/pointer.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static void add(int32_t *to, int n)
{
    if (__builtin_add_overflow(*to, n, to))
        *to = 0; /* nobody moves so far */
}

void viv_pointer_move(struct pointer *p, int dx, int dy)
{
    add(&p->now.x, dx);
    add(&p->now.y, dy);
}

void viv_pointer_place(struct pointer *p, unsigned x, unsigned y)
{
    p->now.x = (int32_t)MIN(x, VIV_INPUT_RANGE - 1);
    p->now.y = (int32_t)MIN(y, VIV_INPUT_RANGE - 1);
}

void viv_pointer_button(struct pointer *p, enum viv_button b, bool down)
{
    uint8_t bit = (uint8_t)(1 << b);

    p->now.buttons = down ? p->now.buttons | bit : p->now.buttons & (uint8_t)~bit;
}

void viv_pointer_wheel(struct pointer *p, int dy, int dx)
{
    add(&p->now.wheel, dy);
    add(&p->now.pan, dx);
}

/* Is nothing new in `now`? */
static bool nothing(const struct pointer *p)
{
    const struct pointer_event *a = &p->now, *b = &p->told;
    bool still = p->absolute ? a->x == b->x && a->y == b->y : !a->x && !a->y;

    return still && !a->wheel && !a->pan && a->buttons == b->buttons;
}

static void merge(const struct pointer *p, struct pointer_event *into)
{
    const struct pointer_event *e = &p->now;

    if (p->absolute) {
        into->x = e->x;
        into->y = e->y;
    } else {
        add(&into->x, e->x);
        add(&into->y, e->y);
    }
    add(&into->wheel, e->wheel);
    add(&into->pan, e->pan);
    into->buttons = e->buttons;
}

/* Motion is taken up, place and buttons stay. */
static void rest(struct pointer *p)
{
    p->now.wheel = p->now.pan = 0;
    if (!p->absolute)
        p->now.x = p->now.y = 0;
}

/* From 1 on; NULL for none. */
static struct pointer_event *nth(struct pointer *p, unsigned n)
{
    return n ? &p->event[(p->head + n - 1) % POINTER_EVENTS] : NULL;
}

bool viv_pointer_sync(struct pointer *p, bool driven)
{
    struct pointer_event *last = nth(p, p->count);
    uint8_t before = p->count > 1 ? nth(p, p->count - 1)->buttons : p->told.buttons;

    if (!driven || (!last && nothing(p))) {
        rest(p);
        return false;
    }
    if (last && ((last->buttons == before && p->now.buttons == before) || p->count == POINTER_EVENTS))
        merge(p, last);
    else
        p->event[(p->head + p->count++) % POINTER_EVENTS] = p->now;
    rest(p);
    return true;
}

struct pointer_event *viv_pointer_first(struct pointer *p)
{
    return p->count ? &p->event[p->head] : NULL;
}

void viv_pointer_taken(struct pointer *p)
{
    const struct pointer_event *e = &p->event[p->head];

    p->told = (struct pointer_event){.x = p->absolute ? e->x : 0, .y = p->absolute ? e->y : 0, .buttons = e->buttons};
    p->head = (uint8_t)((p->head + 1) % POINTER_EVENTS);
    p->count--;
}

void viv_pointer_clear(struct pointer *p)
{
    p->head = p->count = 0;
    rest(p);
    memset(&p->told, 0, sizeof(p->told));
}

/* ---- saved state ---- */

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct pointer *p = obj;

    if (p->head >= POINTER_EVENTS || p->count > POINTER_EVENTS)
        return viv_fail(err, EINVAL, "a pointer with %u events from %u", p->count, p->head);
    return 0;
}

static const struct viv_state_table event_state = {
    .name = "pointer-event",
    .ctype = "pointer_event",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(pointer_event, x),
            VIV_F_INT(pointer_event, y),
            VIV_F_INT(pointer_event, wheel),
            VIV_F_INT(pointer_event, pan),
            VIV_F_INT(pointer_event, buttons),
            VIV_F_END,
        },
};

const struct viv_state_table viv_pointer_state = {
    .name = "pointer",
    .ctype = "pointer",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(pointer, absolute),
            VIV_F_STRUCTS(pointer, event, event_state),
            VIV_F_INT(pointer, head),
            VIV_F_INT(pointer, count),
            VIV_F_STRUCT(pointer, now, event_state),
            VIV_F_STRUCT(pointer, told, event_state),
            VIV_F_END,
        },
    .post_load = post_load,
};
