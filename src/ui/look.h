/* A look at a console from a thread of its own: the loop thread notes what changes, the other takes it when it likes and reads the
 * surface itself. Neither waits for the other. */
#ifndef VIV_UI_LOOK_H
#define VIV_UI_LOOK_H

#include "ui/console.h"

#include <limits.h>

#define VIV_LOOK_WORD_BITS (8 * sizeof(long))

struct viv_look_news {
    /* The look's own reference, until the next take; NULL: no picture. */
    const struct viv_surface *surface;
    bool new_surface; /* all rows are set then */
    unsigned long rows[VIV_SURFACE_MOST / VIV_LOOK_WORD_BITS]; /* that have changed */
    unsigned first, last; /* of them; first > last: none has */
    const struct viv_cursor *cursor; /* as with the surface */
    bool new_cursor, cursor_visible;
    int cursor_x, cursor_y;
    struct viv_text *text; /* where text was asked for: another one than before, to be freed, or NULL */
    bool new_text;         /* NULL then means: graphics */
};

struct viv_look;

/* Loop thread, device lock held: all but take. `news`: called there when there is something to take, once until it is taken. `text`:
 * wants text, not pixels. */
struct viv_look *viv_look_new(bool text, void (*news)(void *opaque), void *opaque);
void viv_look_free(struct viv_look *l); /* the other thread has ended; NULL allowed */
void viv_look_at(struct viv_look *l, struct viv_console *c); /* NULL: none */
struct viv_console *viv_look_console(const struct viv_look *l); /* NULL: none, or it has gone */
void viv_look_set_period(struct viv_look *l, unsigned ms);

/* The other thread. False: nothing has changed, and the rest of `out` is as it was. */
bool viv_look_take(struct viv_look *l, struct viv_look_news *out);

#endif
