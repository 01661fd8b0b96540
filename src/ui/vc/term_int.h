/* Inside the terminal: term.c has the screen and what can be done to it, term_parse.c reads the bytes that ask for it. */
#ifndef VIV_UI_VC_TERM_INT_H
#define VIV_UI_VC_TERM_INT_H

#include "ui/vc/term.h"

#include <glib.h>

#define TERM_PARAMS 16
#define TERM_NUMBER 9999 /* the most a parameter is */

struct term_pen {
    uint8_t fg, bg, attrs;
};

struct term_place { /* of DECSC and DECRC */
    unsigned x, y;
    struct term_pen pen;
    bool origin, graphics[2];
    unsigned shifted;
};

struct viv_term {
    unsigned columns, rows;
    struct viv_term_cell *cells; /* a ring of lines: HISTORY + rows */
    unsigned top;                /* the screen's first line in it */
    unsigned history, back;      /* lines above the screen; how many of them are looked at */
    struct viv_term_cell *other; /* the main screen while the alternate one is shown */
    bool *dirty;                 /* rows as seen */
    bool *tabs;
    unsigned drawn_x, drawn_y;   /* where the cursor was at the last clean */

    unsigned x, y;
    bool wrap_due;               /* the last column is written: the next character begins a line */
    unsigned region_top, region_bottom; /* both inside */
    struct term_pen pen;
    struct term_place saved, saved_main;
    bool insert, newline, origin, no_wrap, hidden, application_keys;
    bool graphics[2]; /* G0, G1: DEC's line drawing */
    unsigned shifted; /* G1 is used */

    /* The parser's. */
    enum { GROUND, ESCAPE, ESCAPE_MORE, CSI, CSI_IGNORE, STRING, STRING_ESCAPE } state;
    uint8_t private, between; /* '?' and the like, an intermediate byte */
    unsigned params[TERM_PARAMS], count;
    uint32_t partial, last; /* of UTF-8; the last character written, for REP */
    unsigned more, least;   /* bytes to come; what a sequence of that length begins at */

    void (*answer)(void *opaque, const char *bytes, size_t len);
    void *opaque;
};

struct viv_term_cell *term_line(const struct viv_term *t, unsigned y);
void term_touch(struct viv_term *t, unsigned y);
void term_touch_all(struct viv_term *t);
void term_erase(struct viv_term *t, unsigned y, unsigned from, unsigned to); /* `to` is outside */
void term_put(struct viv_term *t, uint32_t ch);
void term_index(struct viv_term *t);         /* down, the region scrolls at its end */
void term_reverse_index(struct viv_term *t);
void term_delete_lines(struct viv_term *t, unsigned top, unsigned bottom, unsigned n); /* what goes is no history */
void term_scroll_up(struct viv_term *t, unsigned top, unsigned bottom, unsigned n);
void term_scroll_down(struct viv_term *t, unsigned top, unsigned bottom, unsigned n);
void term_shift_cells(struct viv_term *t, unsigned n, bool insert); /* from the cursor on */
void term_move(struct viv_term *t, int x, int y);  /* cut to the screen */
void term_goto(struct viv_term *t, int x, int y);  /* origin mode counts */
void term_tab(struct viv_term *t, unsigned n);
void term_back_tab(struct viv_term *t, unsigned n);
void term_save(struct viv_term *t);
void term_restore(struct viv_term *t);
void term_alternate(struct viv_term *t, bool on);
void term_soft_reset(struct viv_term *t);
void term_reset(struct viv_term *t);

#endif
