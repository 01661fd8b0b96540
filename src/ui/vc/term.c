/* The terminal's screen. Lines lie in a ring, so that one that leaves the screen at the top is history without being copied. */
#include "ui/vc/term_int.h"

#include <string.h>

#define FOREGROUND 7
#define LINES(rows) (VIV_TERM_HISTORY + (rows))

static const struct term_pen plain = {FOREGROUND, 0, 0};

static struct viv_term_cell blank(const struct term_pen *p)
{
    return (struct viv_term_cell){' ', FOREGROUND, p->bg, 0};
}

static struct viv_term_cell *ring_line(const struct viv_term *t, unsigned n)
{
    return t->cells + (size_t)(n % LINES(t->rows)) * t->columns;
}

struct viv_term_cell *term_line(const struct viv_term *t, unsigned y)
{
    return ring_line(t, t->top + y);
}

void term_touch(struct viv_term *t, unsigned y)
{
    if (y + t->back < t->rows)
        t->dirty[y + t->back] = true;
}

void term_touch_all(struct viv_term *t)
{
    memset(t->dirty, true, t->rows * sizeof(*t->dirty));
}

void term_erase(struct viv_term *t, unsigned y, unsigned from, unsigned to)
{
    struct viv_term_cell *line = term_line(t, y);

    for (unsigned x = from; x < to; x++)
        line[x] = blank(&t->pen);
    term_touch(t, y);
}

static void copy_line(struct viv_term *t, unsigned to, unsigned from)
{
    memcpy(term_line(t, to), term_line(t, from), t->columns * sizeof(*t->cells));
    term_touch(t, to);
}

/* The whole main screen: the first line becomes history. */
static void roll(struct viv_term *t)
{
    t->top = (t->top + 1) % LINES(t->rows);
    t->history = MIN(t->history + 1, VIV_TERM_HISTORY);
    term_erase(t, t->rows - 1, 0, t->columns);
    if (t->back) /* who looks back goes on looking at the same lines */
        t->back = MIN(t->back + 1, t->history);
    term_touch_all(t);
}

void term_scroll_up(struct viv_term *t, unsigned top, unsigned bottom, unsigned n)
{
    n = MIN(n, bottom - top + 1);
    if (top != 0 || bottom != t->rows - 1 || t->other) {
        term_delete_lines(t, top, bottom, n);
        return;
    }
    while (n--)
        roll(t);
}

void term_delete_lines(struct viv_term *t, unsigned top, unsigned bottom, unsigned n)
{
    n = MIN(n, bottom - top + 1);
    for (unsigned y = top; y + n <= bottom; y++)
        copy_line(t, y, y + n);
    for (unsigned y = bottom + 1 - n; y <= bottom; y++)
        term_erase(t, y, 0, t->columns);
}

void term_scroll_down(struct viv_term *t, unsigned top, unsigned bottom, unsigned n)
{
    n = MIN(n, bottom - top + 1);
    for (unsigned y = bottom; y >= top + n; y--)
        copy_line(t, y, y - n);
    for (unsigned y = top; y < top + n; y++)
        term_erase(t, y, 0, t->columns);
}

void term_index(struct viv_term *t)
{
    t->wrap_due = false;
    if (t->y == t->region_bottom)
        term_scroll_up(t, t->region_top, t->region_bottom, 1);
    else if (t->y + 1 < t->rows)
        t->y++;
}

void term_reverse_index(struct viv_term *t)
{
    t->wrap_due = false;
    if (t->y == t->region_top)
        term_scroll_down(t, t->region_top, t->region_bottom, 1);
    else if (t->y)
        t->y--;
}

void term_shift_cells(struct viv_term *t, unsigned n, bool insert)
{
    struct viv_term_cell *line = term_line(t, t->y);
    unsigned room = t->columns - t->x;

    n = MIN(n, room);
    if (insert) {
        memmove(line + t->x + n, line + t->x, (room - n) * sizeof(*line));
        term_erase(t, t->y, t->x, t->x + n);
    } else {
        memmove(line + t->x, line + t->x + n, (room - n) * sizeof(*line));
        term_erase(t, t->y, t->columns - n, t->columns);
    }
}

static void put_cell(struct viv_term *t, uint32_t ch)
{
    term_line(t, t->y)[t->x] = (struct viv_term_cell){ch, t->pen.fg, t->pen.bg, t->pen.attrs};
    if (t->x + 1 < t->columns)
        t->x++;
    else
        t->wrap_due = true;
}

void term_put(struct viv_term *t, uint32_t ch)
{
    unsigned width = ch < 0x300 ? 1 : g_unichar_iszerowidth(ch) ? 0 : g_unichar_iswide(ch) ? 2 : 1;

    if (!width || width > t->columns)
        return;
    if ((t->wrap_due || t->x + width > t->columns) && !t->no_wrap) {
        t->x = 0;
        term_index(t);
    }
    t->wrap_due = false;
    t->x = MIN(t->x, t->columns - width);
    if (t->insert)
        term_shift_cells(t, width, true);
    put_cell(t, ch);
    if (width == 2)
        put_cell(t, 0);
    term_touch(t, t->y);
    t->last = ch;
}

void term_move(struct viv_term *t, int x, int y)
{
    t->x = (unsigned)CLAMP(x, 0, (int)t->columns - 1);
    t->y = (unsigned)CLAMP(y, 0, (int)t->rows - 1);
    t->wrap_due = false;
}

void term_goto(struct viv_term *t, int x, int y)
{
    if (t->origin)
        y = CLAMP(y + (int)t->region_top, (int)t->region_top, (int)t->region_bottom);
    term_move(t, x, y);
}

void term_tab(struct viv_term *t, unsigned n)
{
    while (n-- && t->x + 1 < t->columns) {
        do
            t->x++;
        while (t->x + 1 < t->columns && !t->tabs[t->x]);
    }
}

void term_back_tab(struct viv_term *t, unsigned n)
{
    t->wrap_due = false;
    while (n-- && t->x) {
        do
            t->x--;
        while (t->x && !t->tabs[t->x]);
    }
}

void term_save(struct viv_term *t)
{
    t->saved = (struct term_place){t->x, t->y, t->pen, t->origin, {t->graphics[0], t->graphics[1]}, t->shifted};
}

void term_restore(struct viv_term *t)
{
    t->pen = t->saved.pen;
    t->origin = t->saved.origin;
    memcpy(t->graphics, t->saved.graphics, sizeof(t->graphics));
    t->shifted = t->saved.shifted;
    term_move(t, (int)t->saved.x, (int)t->saved.y);
}

static void copy_screen(struct viv_term *t, struct viv_term_cell *flat, bool back)
{
    for (unsigned y = 0; y < t->rows; y++) {
        struct viv_term_cell *line = term_line(t, y), *kept = flat + (size_t)y * t->columns;

        memcpy(back ? line : kept, back ? kept : line, t->columns * sizeof(*line));
    }
}

void term_alternate(struct viv_term *t, bool on)
{
    struct term_place place = t->saved;

    if (on == (t->other != NULL))
        return;
    if (on) {
        t->other = g_new(struct viv_term_cell, (size_t)t->rows * t->columns);
        copy_screen(t, t->other, false);
        for (unsigned y = 0; y < t->rows; y++)
            term_erase(t, y, 0, t->columns);
    } else {
        copy_screen(t, t->other, true);
        g_clear_pointer(&t->other, g_free);
    }
    t->saved = t->saved_main;
    t->saved_main = place;
    term_touch_all(t);
}

void term_soft_reset(struct viv_term *t)
{
    t->pen = plain;
    t->insert = t->newline = t->origin = t->no_wrap = t->hidden = t->application_keys = t->wrap_due = false;
    t->graphics[0] = t->graphics[1] = false;
    t->shifted = 0;
    t->region_top = 0;
    t->region_bottom = t->rows - 1;
    t->saved = t->saved_main = (struct term_place){.pen = plain};
}

void term_reset(struct viv_term *t)
{
    term_alternate(t, false);
    term_soft_reset(t);
    term_move(t, 0, 0);
    for (unsigned x = 0; x < t->columns; x++)
        t->tabs[x] = x % 8 == 0;
    for (unsigned y = 0; y < t->rows; y++)
        term_erase(t, y, 0, t->columns);
}

/* ---- from outside ---- */

static void make_room(struct viv_term *t, unsigned columns, unsigned rows)
{
    size_t n = (size_t)LINES(rows) * columns;

    t->columns = columns;
    t->rows = rows;
    t->cells = g_new(struct viv_term_cell, n);
    for (size_t i = 0; i < n; i++)
        t->cells[i] = blank(&plain);
    t->dirty = g_new(bool, rows);
    t->tabs = g_new(bool, columns);
    t->top = t->history = t->back = 0;
    for (unsigned x = 0; x < columns; x++)
        t->tabs[x] = x % 8 == 0;
    term_touch_all(t);
}

struct viv_term *viv_term_new(unsigned columns, unsigned rows, void (*answer)(void *, const char *, size_t), void *opaque)
{
    struct viv_term *t = g_new0(struct viv_term, 1);

    t->answer = answer;
    t->opaque = opaque;
    make_room(t, CLAMP(columns, 1, VIV_TERM_MOST), CLAMP(rows, 1, VIV_TERM_MOST));
    term_reset(t);
    return t;
}

void viv_term_free(struct viv_term *t)
{
    if (!t)
        return;
    g_free(t->cells);
    g_free(t->other);
    g_free(t->dirty);
    g_free(t->tabs);
    g_free(t);
}

void viv_term_resize(struct viv_term *t, unsigned columns, unsigned rows)
{
    struct viv_term old;
    unsigned gone;

    columns = CLAMP(columns, 1, VIV_TERM_MOST);
    rows = CLAMP(rows, 1, VIV_TERM_MOST);
    if (columns == t->columns && rows == t->rows)
        return;
    term_alternate(t, false); /* a program that uses it draws anew */
    old = *t;
    make_room(t, columns, rows);
    /* The cursor's line stays on the screen; what is above it that does not fit any more is history. */
    gone = old.y >= rows ? old.y - rows + 1 : 0;
    t->history = MIN(old.history + gone, VIV_TERM_HISTORY);
    t->top = t->history;
    for (unsigned n = 0; n < t->history + rows; n++) {
        unsigned from = old.history + gone - t->history + n; /* counted from the oldest line */

        if (from >= old.history + old.rows)
            break;
        memcpy(ring_line(t, n), ring_line(&old, old.top + LINES(old.rows) - old.history + from),
               MIN(columns, old.columns) * sizeof(*t->cells));
    }
    t->region_top = 0;
    t->region_bottom = rows - 1;
    term_move(t, (int)old.x, (int)(old.y - gone));
    g_free(old.cells);
    g_free(old.dirty);
    g_free(old.tabs);
}

void viv_term_scroll(struct viv_term *t, int lines)
{
    int back = CLAMP((int)t->back + lines, 0, (int)t->history);

    if (back == (int)t->back)
        return;
    t->back = (unsigned)back;
    term_touch_all(t);
}

void viv_term_scroll_end(struct viv_term *t)
{
    viv_term_scroll(t, -(int)t->back);
}

unsigned viv_term_columns(const struct viv_term *t)
{
    return t->columns;
}

unsigned viv_term_rows(const struct viv_term *t)
{
    return t->rows;
}

const struct viv_term_cell *viv_term_row(const struct viv_term *t, unsigned y)
{
    return ring_line(t, t->top + LINES(t->rows) - t->back + y);
}

bool viv_term_cursor(const struct viv_term *t, unsigned *x, unsigned *y)
{
    *x = t->x;
    *y = t->y + t->back;
    return !t->hidden && *y < t->rows;
}

bool viv_term_dirty(const struct viv_term *t, unsigned y)
{
    unsigned cx, cy;
    bool shown = viv_term_cursor(t, &cx, &cy), moved = cx != t->drawn_x || cy != t->drawn_y;

    return t->dirty[y] || (moved && ((shown && y == cy) || y == t->drawn_y));
}

void viv_term_clean(struct viv_term *t)
{
    memset(t->dirty, false, t->rows * sizeof(*t->dirty));
    viv_term_cursor(t, &t->drawn_x, &t->drawn_y);
}

bool viv_term_application_keys(const struct viv_term *t)
{
    return t->application_keys;
}
