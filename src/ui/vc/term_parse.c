/* The bytes that a terminal gets: UTF-8, control characters, and the escape sequences of ECMA-48, DEC's VT220 and xterm ("XTerm Control
 * Sequences"). What is not known is read to its end and dropped. Bytes come from guests: numbers are bounded when they are read. */
#include "ui/vc/term_int.h"

#include <stdio.h>
#include <string.h>

#define REPLACEMENT 0xfffd

/* ---- characters ---- */

/* DEC's special graphics, 0x60 to 0x7e. */
static const uint16_t line_drawing[31] = {
    0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1, 0x2424, 0x240b, 0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x23ba,
    0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c, 0x2524, 0x2534, 0x252c, 0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7,
};

static void put(struct viv_term *t, uint32_t ch)
{
    if (t->graphics[t->shifted] && ch >= 0x60 && ch <= 0x7e)
        ch = line_drawing[ch - 0x60];
    term_put(t, ch);
}

/* RFC 3629. A sequence that breaks off is one replacement character, and the byte that broke it begins anew. */
static void put_byte(struct viv_term *t, uint8_t b)
{
    if (t->more && (b & 0xc0) == 0x80) {
        t->partial = t->partial << 6 | (b & 0x3f);
        if (--t->more)
            return;
        put(t, t->partial < t->least || t->partial > 0x10ffff || (t->partial & ~0x7ffu) == 0xd800 ? REPLACEMENT : t->partial);
        return;
    }
    if (t->more)
        put(t, REPLACEMENT);
    t->more = b < 0xc2 || b > 0xf4 ? 0 : b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
    if (b < 0x80) {
        put(t, b);
    } else if (!t->more) {
        put(t, REPLACEMENT);
    } else {
        t->partial = b & (0x3fu >> t->more);
        t->least = t->more == 1 ? 0x80 : t->more == 2 ? 0x800 : 0x10000;
    }
}

/* ---- control characters ---- */

static void control(struct viv_term *t, uint8_t b)
{
    switch (b) {
    case '\b':
        term_move(t, (int)t->x - 1, (int)t->y);
        break;
    case '\t':
        term_tab(t, 1);
        break;
    case '\n':
    case '\v':
    case '\f':
        term_index(t);
        if (t->newline)
            t->x = 0;
        break;
    case '\r':
        term_move(t, 0, (int)t->y);
        break;
    case 0x0e:
    case 0x0f:
        t->shifted = b == 0x0e;
        break;
    }
}

/* ---- ESC ---- */

static void align(struct viv_term *t)
{
    for (unsigned y = 0; y < t->rows; y++) {
        term_erase(t, y, 0, t->columns);
        for (unsigned x = 0; x < t->columns; x++)
            term_line(t, y)[x].ch = 'E';
    }
    term_move(t, 0, 0);
}

static void escape_more(struct viv_term *t, uint8_t b)
{
    if (t->between == '(' || t->between == ')')
        t->graphics[t->between == ')'] = b == '0';
    else if (t->between == '#' && b == '8')
        align(t);
}

static void identify(struct viv_term *t)
{
    static const char vt220[] = "\033[?62;6c"; /* with selective erase */

    t->answer(t->opaque, vt220, sizeof(vt220) - 1);
}

static void escape(struct viv_term *t, uint8_t b)
{
    switch (b) {
    case '7':
        term_save(t);
        break;
    case '8':
        term_restore(t);
        break;
    case 'D':
        term_index(t);
        break;
    case 'E':
        t->x = 0;
        term_index(t);
        break;
    case 'H':
        t->tabs[t->x] = true;
        break;
    case 'M':
        term_reverse_index(t);
        break;
    case 'Z':
        identify(t);
        break;
    case 'c':
        term_reset(t);
        break;
    }
}

/* ---- CSI ---- */

static unsigned param(const struct viv_term *t, unsigned n, unsigned otherwise)
{
    return n < t->count && t->params[n] ? t->params[n] : otherwise;
}

static void erase_display(struct viv_term *t, unsigned what)
{
    unsigned first = what == 0 ? t->y + 1 : 0, end = what == 1 ? t->y : t->rows;

    if (what > 2)
        return;
    if (what == 0)
        term_erase(t, t->y, t->x, t->columns);
    if (what == 1)
        term_erase(t, t->y, 0, t->x + 1);
    for (unsigned y = first; y < end; y++)
        term_erase(t, y, 0, t->columns);
}

static void erase_line(struct viv_term *t, unsigned what)
{
    if (what <= 2)
        term_erase(t, t->y, what ? 0 : t->x, what == 1 ? t->x + 1 : t->columns);
}

/* One of xterm's 240 beyond the first 16: a cube of 6 levels, or a grey. */
static uint8_t nearest_colour(unsigned r, unsigned g, unsigned b)
{
    unsigned c[3] = {r, g, b};

    if (r == g && g == b && r > 4 && r < 247)
        return (uint8_t)(232 + MIN((r - 3) / 10, 23));
    for (unsigned i = 0; i < 3; i++)
        c[i] = c[i] < 48 ? 0 : c[i] < 115 ? 1 : (MIN(c[i], 255) - 35) / 40;
    return (uint8_t)(16 + 36 * c[0] + 6 * c[1] + c[2]);
}

/* 38;5;N or 38;2;R;G;B, from the 38 on. How many parameters that is. */
static unsigned extended_colour(const struct viv_term *t, unsigned i, uint8_t *out)
{
    unsigned kind = i + 1 < t->count ? t->params[i + 1] : 0;

    if (kind == 5 && i + 2 < t->count) {
        *out = (uint8_t)MIN(t->params[i + 2], 255);
        return 3;
    }
    if (kind == 2 && i + 4 < t->count) {
        *out = nearest_colour(t->params[i + 2], t->params[i + 3], t->params[i + 4]);
        return 5;
    }
    return t->count - i;
}

static void set_attribute(struct term_pen *p, unsigned n)
{
    static const struct {
        uint8_t on, off, bits;
    } attrs[] = {{1, 22, VIV_TERM_BOLD}, {4, 24, VIV_TERM_UNDERLINE}, {7, 27, VIV_TERM_REVERSE}};

    for (unsigned i = 0; i < G_N_ELEMENTS(attrs); i++) {
        if (n == attrs[i].on)
            p->attrs |= attrs[i].bits;
        if (n == attrs[i].off)
            p->attrs &= (uint8_t)~attrs[i].bits;
    }
    if (n >= 30 && n <= 37)
        p->fg = (uint8_t)(n - 30);
    else if (n >= 40 && n <= 47)
        p->bg = (uint8_t)(n - 40);
    else if (n >= 90 && n <= 97)
        p->fg = (uint8_t)(n - 90 + 8);
    else if (n >= 100 && n <= 107)
        p->bg = (uint8_t)(n - 100 + 8);
    else if (n == 39)
        p->fg = 7;
    else if (n == 49)
        p->bg = 0;
    else if (n == 0)
        *p = (struct term_pen){7, 0, 0};
}

static void select_graphics(struct viv_term *t)
{
    for (unsigned i = 0; i < t->count;) {
        if (t->params[i] == 38 || t->params[i] == 48)
            i += extended_colour(t, i, t->params[i] == 38 ? &t->pen.fg : &t->pen.bg);
        else
            set_attribute(&t->pen, t->params[i++]);
    }
}

static void set_private_mode(struct viv_term *t, unsigned n, bool on)
{
    switch (n) {
    case 1:
        t->application_keys = on;
        break;
    case 6:
        t->origin = on;
        term_goto(t, 0, 0);
        break;
    case 7:
        t->no_wrap = !on;
        break;
    case 25:
        t->hidden = !on;
        term_touch(t, t->y);
        break;
    case 47:
    case 1047:
        term_alternate(t, on);
        break;
    case 1048:
    case 1049:
        if (on)
            term_save(t);
        if (n == 1049)
            term_alternate(t, on);
        if (!on)
            term_restore(t);
        break;
    }
}

static void set_modes(struct viv_term *t, bool on)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->private == '?')
            set_private_mode(t, t->params[i], on);
        else if (!t->private && t->params[i] == 4)
            t->insert = on;
        else if (!t->private && t->params[i] == 20)
            t->newline = on;
    }
}

static void set_region(struct viv_term *t)
{
    unsigned top = param(t, 0, 1), bottom = MIN(param(t, 1, t->rows), t->rows);

    if (top >= bottom)
        return;
    t->region_top = top - 1;
    t->region_bottom = bottom - 1;
    term_goto(t, 0, 0);
}

static void report(struct viv_term *t)
{
    char text[40];
    unsigned y = t->origin ? t->y - MIN(t->region_top, t->y) : t->y;

    if (param(t, 0, 0) == 5)
        g_strlcpy(text, "\033[0n", sizeof(text));
    else if (param(t, 0, 0) == 6)
        g_snprintf(text, sizeof(text), "\033[%s%u;%uR", t->private ? "?" : "", y + 1, t->x + 1);
    else
        return;
    t->answer(t->opaque, text, strlen(text));
}

/* The cursor moves by a distance; inside the region it stays there. */
static void move_by(struct viv_term *t, int dx, int dy)
{
    int y = (int)t->y + dy;

    if (dy < 0 && t->y >= t->region_top)
        y = MAX(y, (int)t->region_top);
    if (dy > 0 && t->y <= t->region_bottom)
        y = MIN(y, (int)t->region_bottom);
    term_move(t, (int)t->x + dx, y);
}

static void move_cursor(struct viv_term *t, uint8_t b)
{
    int n = (int)param(t, 0, 1);

    switch (b) {
    case 'A':
    case 'F':
        move_by(t, b == 'F' ? -(int)t->x : 0, -n);
        break;
    case 'B':
    case 'e':
    case 'E':
        move_by(t, b == 'E' ? -(int)t->x : 0, n);
        break;
    case 'C':
    case 'a':
        move_by(t, n, 0);
        break;
    case 'D':
        move_by(t, -n, 0);
        break;
    case 'G':
    case '`':
        term_move(t, n - 1, (int)t->y);
        break;
    case 'd':
        term_goto(t, (int)t->x, n - 1);
        break;
    case 'H':
    case 'f':
        term_goto(t, (int)param(t, 1, 1) - 1, n - 1);
        break;
    case 'I':
        term_tab(t, (unsigned)n);
        break;
    case 'Z':
        term_back_tab(t, (unsigned)n);
        break;
    }
}

static bool in_region(const struct viv_term *t)
{
    return t->y >= t->region_top && t->y <= t->region_bottom;
}

static void edit(struct viv_term *t, uint8_t b)
{
    unsigned n = param(t, 0, 1);

    switch (b) {
    case '@':
    case 'P':
        term_shift_cells(t, n, b == '@');
        break;
    case 'L':
        if (in_region(t))
            term_scroll_down(t, t->y, t->region_bottom, n);
        break;
    case 'M':
        if (in_region(t))
            term_delete_lines(t, t->y, t->region_bottom, n);
        break;
    case 'S':
        term_scroll_up(t, t->region_top, t->region_bottom, n);
        break;
    case 'T':
        term_scroll_down(t, t->region_top, t->region_bottom, n);
        break;
    case 'X':
        term_erase(t, t->y, t->x, t->x + MIN(n, t->columns - t->x));
        break;
    case 'b':
        for (n = t->last ? MIN(n, t->columns * t->rows) : 0; n; n--)
            term_put(t, t->last);
        break;
    }
}

static void csi(struct viv_term *t, uint8_t b)
{
    if (t->between) {
        if (t->between == '!' && b == 'p')
            term_soft_reset(t);
        return;
    }
    if (t->private && !strchr("hlnJK", b))
        return;
    switch (b) {
    case 'J':
        erase_display(t, param(t, 0, 0));
        break;
    case 'K':
        erase_line(t, param(t, 0, 0));
        break;
    case 'c':
        if (!param(t, 0, 0))
            identify(t);
        break;
    case 'g':
        if (param(t, 0, 0) == 3)
            memset(t->tabs, 0, t->columns * sizeof(*t->tabs));
        else if (!param(t, 0, 0))
            t->tabs[t->x] = false;
        break;
    case 'h':
    case 'l':
        set_modes(t, b == 'h');
        break;
    case 'm':
        select_graphics(t);
        break;
    case 'n':
        report(t);
        break;
    case 'r':
        set_region(t);
        break;
    case 's':
        term_save(t);
        break;
    case 'u':
        term_restore(t);
        break;
    default:
        move_cursor(t, b);
        edit(t, b);
    }
}

/* ---- the machine ---- */

static void begin_csi(struct viv_term *t)
{
    memset(t->params, 0, sizeof(t->params));
    t->count = 1;
    t->private = t->between = 0;
    t->state = CSI;
}

static void csi_byte(struct viv_term *t, uint8_t b)
{
    unsigned *p = &t->params[t->count - 1];

    if (b >= '0' && b <= '9') {
        *p = MIN(*p * 10 + (b - '0'), TERM_NUMBER);
    } else if (b == ';' || b == ':') {
        if (t->count == TERM_PARAMS)
            t->state = CSI_IGNORE;
        else
            t->count++;
    } else if (b >= '<' && b <= '?') {
        t->private = b;
    } else if (b >= ' ' && b <= '/') {
        t->between = b;
    } else {
        t->state = GROUND;
        if (b >= '@' && b <= '~')
            csi(t, b);
    }
}

static void escape_byte(struct viv_term *t, uint8_t b)
{
    t->state = GROUND;
    if (b == '[') {
        begin_csi(t);
    } else if (b == ']' || b == 'P' || b == 'X' || b == '^' || b == '_') {
        t->state = STRING;
    } else if (b >= ' ' && b <= '/') {
        t->between = b;
        t->state = ESCAPE_MORE;
    } else {
        escape(t, b);
    }
}

/* Titles and the like: to ST (ESC \), or BEL as xterm has it. */
static void string_byte(struct viv_term *t, uint8_t b)
{
    if (b == 0x07 || b == 0x18 || b == 0x1a || (t->state == STRING_ESCAPE && b == '\\'))
        t->state = GROUND;
    else if (t->state == STRING_ESCAPE) /* it was another sequence: the string has no end */
        escape_byte(t, b);
    else if (b == 0x1b)
        t->state = STRING_ESCAPE;
}

static void feed(struct viv_term *t, uint8_t b)
{
    if (t->state == STRING || t->state == STRING_ESCAPE) {
        string_byte(t, b);
        return;
    }
    if (b < 0x20 && t->more) { /* UTF-8 that breaks off */
        t->more = 0;
        put(t, REPLACEMENT);
    }
    if (b == 0x1b) {
        t->state = ESCAPE;
    } else if (b == 0x18 || b == 0x1a) {
        t->state = GROUND;
    } else if (b < 0x20) {
        control(t, b); /* within a sequence, too */
    } else if (t->state == GROUND) {
        if (b != 0x7f)
            put_byte(t, b);
    } else if (t->state == ESCAPE) {
        escape_byte(t, b);
    } else if (t->state == ESCAPE_MORE) {
        if (b > '/') {
            t->state = GROUND;
            escape_more(t, b);
        }
    } else if (t->state == CSI) {
        csi_byte(t, b);
    } else if (b >= '@') {
        t->state = GROUND; /* the end of what is ignored */
    }
}

void viv_term_write(struct viv_term *t, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        feed(t, bytes[i]);
}
