/* A terminal's screen: what a program writes for a VT100 or an xterm becomes cells. Knows no pixels and no keys. */
#ifndef VIV_UI_VC_TERM_H
#define VIV_UI_VC_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_TERM_HISTORY  1000 /* lines that have left the screen */
#define VIV_TERM_MOST     512  /* columns, rows */

enum { VIV_TERM_BOLD = 1 << 0, VIV_TERM_UNDERLINE = 1 << 1, VIV_TERM_REVERSE = 1 << 2 };

struct viv_term_cell {
    uint32_t ch;    /* Unicode; 0: the right half of a wide one */
    uint8_t fg, bg; /* xterm's 256 colours */
    uint8_t attrs;
};

struct viv_term;

/* `answer`: what the terminal says when it is asked (position, identity). 1 to VIV_TERM_MOST columns and rows. */
struct viv_term *viv_term_new(unsigned columns, unsigned rows, void (*answer)(void *opaque, const char *bytes, size_t len), void *opaque);
void viv_term_free(struct viv_term *t); /* NULL allowed */
void viv_term_write(struct viv_term *t, const uint8_t *bytes, size_t len);
/* Lines are cut or filled up, not wrapped anew. */
void viv_term_resize(struct viv_term *t, unsigned columns, unsigned rows);

/* Looks at older lines (positive) or newer ones; writing does not move the look. */
void viv_term_scroll(struct viv_term *t, int lines);
void viv_term_scroll_end(struct viv_term *t);

/* What is seen. */
unsigned viv_term_columns(const struct viv_term *t);
unsigned viv_term_rows(const struct viv_term *t);
const struct viv_term_cell *viv_term_row(const struct viv_term *t, unsigned y);
bool viv_term_cursor(const struct viv_term *t, unsigned *x, unsigned *y); /* false: not shown */
bool viv_term_dirty(const struct viv_term *t, unsigned y);
void viv_term_clean(struct viv_term *t);
/* Cursor keys are ESC O A, not ESC [ A. */
bool viv_term_application_keys(const struct viv_term *t);

#endif
