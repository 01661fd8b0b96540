/* What guests show: an adapter draws into surfaces, viewers look at them (docs/screens.md).
 *
 * An adapter makes one console a head. It is asked to bring it up to date (`refresh`) as often as the viewer that wants that most
 * often, and not at all while nobody looks. All calls: loop thread, device lock held. A viewer with a thread of its own copies what
 * it needs inside its callbacks. */
#ifndef VIV_UI_CONSOLE_H
#define VIV_UI_CONSOLE_H

#include "base/byname.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_SURFACE_MOST 16384 /* pixels, each way */

/* Pixels are x8r8g8b8 words. They may be guest memory: they change while they are read. A counted reference, which any thread may
 * hold and put, keeps them readable. */
struct viv_surface {
    unsigned width, height;
    size_t stride; /* bytes */
    uint8_t *pixels;
    bool own; /* allocated with the surface; else borrowed */
    struct viv_surface *of; /* this one's pixels */
    int refs; /* surface.c's */
};

/* Black, with pixels of its own. NULL: too large, or no memory. */
struct viv_surface *viv_surface_new(unsigned width, unsigned height);
/* Over memory that is there for ever: the arena's (mem/ram.h). */
struct viv_surface *viv_surface_over(void *pixels, unsigned width, unsigned height, size_t stride);
/* A part of another, which it keeps. NULL: not inside. */
struct viv_surface *viv_surface_part(const struct viv_surface *of, unsigned x, unsigned y, unsigned width, unsigned height);
struct viv_surface *viv_surface_get(const struct viv_surface *s); /* NULL allowed */
void viv_surface_put(struct viv_surface **s);

/* Premultiplied a8r8g8b8. */
struct viv_cursor {
    unsigned width, height; /* at most 512 */
    unsigned hot_x, hot_y;
    uint32_t pixels[];
};

/* A text mode's screen, for viewers that have no pixels. Characters are Unicode. */
struct viv_text {
    unsigned columns, rows;
    int cursor_x, cursor_y; /* -1: not shown */
    struct {
        uint32_t ch;
        uint8_t fg, bg; /* VGA's 16 colours */
    } cell[]; /* rows * columns */
};

struct viv_console;

struct viv_console_ops {
    /* Looks for what has changed and says so by the calls below. */
    void (*refresh)(void *opaque);
    /* g_free() it; NULL: graphics now. May be NULL. */
    struct viv_text *(*text)(void *opaque);
    /* The first viewer wants refreshes, or the last one does not any more: when to begin and end a dirty log. A refresh that comes
     * without (a screendump) looks at all there is. May be NULL. */
    void (*watched)(void *opaque, bool on);
    /* A viewer has this much room (0: it is gone). May be NULL: the guest cannot be told. */
    void (*room)(void *opaque, unsigned width, unsigned height);
    /* A text console's: it gets what is typed by whoever looks at it, as X keysyms with VIV_MOD_*, and its text can be scrolled back
     * (positive) or forward. NULL: a head, whose keys are the machine's (input.h). */
    void (*type)(void *opaque, uint32_t keysym, unsigned mods);
    void (*scroll)(void *opaque, int lines);
} VIV_BY_NAME;

enum { VIV_MOD_SHIFT = 1 << 0, VIV_MOD_CTRL = 1 << 1, VIV_MOD_ALT = 1 << 2 };

/* `name`: the device's id or class, for people; copied. Heads are numbered in the order they are made, from 0 on; text consoles come
 * after all of them. */
struct viv_console *viv_console_new(const char *name, unsigned head, const struct viv_console_ops *ops, void *opaque);
/* Viewers are told (`gone`) and freed. Not inside a callback. NULL allowed. */
void viv_console_free(struct viv_console *c);

/* The adapter's side. The console takes the surface. NULL: no picture ("display is not on"). */
void viv_console_show(struct viv_console *c, struct viv_surface *s);
/* This part of it has changed; cut to the surface. */
void viv_console_changed(struct viv_console *c, unsigned x, unsigned y, unsigned width, unsigned height);
void viv_console_set_cursor(struct viv_console *c, const struct viv_cursor *cursor); /* copied; NULL: none */
void viv_console_move_cursor(struct viv_console *c, int x, int y, bool visible);
/* How long between refreshes, ms; 0: nobody looks. */
unsigned viv_console_period(const struct viv_console *c);

/* For viewers. */
/* What -display is, for people who ask: no window until one says so. */
struct viv_display_facts {
    char kind[16];
    bool full_screen, window_close;
};
void viv_display_set_facts(const struct viv_display_facts *f);
const struct viv_display_facts *viv_display_facts(void);

struct viv_console *viv_console_at(unsigned n); /* NULL: no such */
struct viv_console *viv_console_find(const char *device, unsigned head);
unsigned viv_console_number(const struct viv_console *c);
const char *viv_console_name(const struct viv_console *c);
const struct viv_surface *viv_console_surface(const struct viv_console *c); /* NULL: none now */
const struct viv_cursor *viv_console_cursor(const struct viv_console *c);
struct viv_text *viv_console_text(struct viv_console *c);
bool viv_console_room(struct viv_console *c, unsigned width, unsigned height); /* false: the guest cannot be told */
bool viv_console_is_text(const struct viv_console *c);
void viv_console_type(struct viv_console *c, uint32_t keysym, unsigned mods); /* text consoles only, both */
void viv_console_scroll(struct viv_console *c, int lines);
/* Counted up when a console comes or goes. */
unsigned viv_console_changes(void);
/* Brings it up to date now: screendump, a viewer that has just come. Nothing inside a viewer's callback. */
void viv_console_refresh(struct viv_console *c);

struct viv_viewer_ops {
    void (*shown)(void *opaque, const struct viv_surface *s); /* another surface, NULL: none; all of it is new */
    void (*changed)(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height);
    void (*cursor)(void *opaque, const struct viv_cursor *cursor);   /* may be NULL */
    void (*cursor_moved)(void *opaque, int x, int y, bool visible);  /* may be NULL */
    void (*tick)(void *opaque); /* after each refresh: what it changed is complete; may be NULL */
    void (*gone)(void *opaque); /* the console is being freed */
} VIV_BY_NAME;

struct viv_viewer; /* one viewer's look at one console */
/* Calls `shown`, `cursor` and `cursor_moved` at once. Viewers may come and go in any viewer's callback, `gone` included. One that
 * goes in these first calls of its own must not be used any more when this returns. */
struct viv_viewer *viv_viewer_new(struct viv_console *c, const struct viv_viewer_ops *ops, void *opaque);
void viv_viewer_free(struct viv_viewer *v); /* NULL allowed */
/* How often it wants a refresh: every `ms`; 0: not now. */
void viv_viewer_set_period(struct viv_viewer *v, unsigned ms);
/* Somebody typed or moved: the console's timer is at its full rate again. */
void viv_console_awake(struct viv_console *c);

#endif
