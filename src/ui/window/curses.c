/* curses: text modes and text consoles on a terminal. Terminals say characters and sequences, not keys: each is a key that goes down and
 * up, known by what it means. Alt-1 to Alt-9 (Escape and a digit) choose a console.
 *
 * ncurses is given its own newterm(), which installs no signal handlers of ours away; another size is asked for by ioctl. */
#include "ui/window/toolkit.h"

#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#define BRIGHT   8
#define LOOK_MS  250 /* for another size of the terminal */

static struct {
    struct viv_window *w;
    const struct viv_window_host *host;
    struct viv_window_news news;
    struct viv_text *text; /* what is shown; NULL: graphics */
    SCREEN *screen;
    bool colours;
} c;

/* ---- what is shown ---- */

/* VGA's colours have blue and red the other way round. */
static short terminal_colour(unsigned n)
{
    static const short turned[8] = {COLOR_BLACK, COLOR_BLUE, COLOR_GREEN, COLOR_CYAN, COLOR_RED, COLOR_MAGENTA, COLOR_YELLOW, COLOR_WHITE};

    return turned[n & 7];
}

/* Pair 1 + foreground + 8 * background. */
static void make_pairs(void)
{
    c.colours = has_colors() && start_color() == OK && COLOR_PAIRS > 64;
    for (short i = 0; c.colours && i < 64; i++)
        init_pair((short)(i + 1), terminal_colour((unsigned)i & 7), terminal_colour((unsigned)i >> 3));
}

static void put_cell(unsigned x, unsigned y)
{
    const struct viv_text *t = c.text;
    uint32_t ch = t->cell[y * t->columns + x].ch;
    unsigned fg = t->cell[y * t->columns + x].fg, bg = t->cell[y * t->columns + x].bg;
    short pair = c.colours ? (short)(1 + (fg & 7) + 8 * (bg & 7)) : 0;
    wchar_t text[2] = {ch < 0x20 || ch == 0x7f ? L' ' : (wchar_t)ch, 0};
    cchar_t cell;

    if (wcwidth(text[0]) != 1)
        text[0] = L'?';
    setcchar(&cell, text, fg & BRIGHT ? A_BOLD : A_NORMAL, pair, NULL);
    mvadd_wch((int)y, (int)x, &cell);
}

static void draw_text(void)
{
    const struct viv_text *t = c.text;

    for (unsigned y = 0; y < t->rows && (int)y < LINES; y++) {
        for (unsigned x = 0; x < t->columns && (int)x < COLS; x++)
            put_cell(x, y);
    }
    curs_set(t->cursor_x >= 0);
    if (t->cursor_x >= 0)
        move((int)t->cursor_y < LINES ? t->cursor_y : LINES - 1, (int)t->cursor_x < COLS ? t->cursor_x : COLS - 1);
}

static void draw_graphics(void)
{
    const struct viv_surface *s = c.news.look.surface;
    char line[64] = "no picture";

    if (s)
        snprintf(line, sizeof(line), "%u x %u Graphic mode", s->width, s->height);
    curs_set(0);
    mvaddstr(LINES / 2, COLS > (int)strlen(line) ? (COLS - (int)strlen(line)) / 2 : 0, line);
}

static void draw(void)
{
    erase();
    if (c.text)
        draw_text();
    else
        draw_graphics();
    refresh();
}

static void look_at_size(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col || (size.ws_row == LINES && size.ws_col == COLS))
        return;
    resizeterm(size.ws_row, size.ws_col);
    clear();
    draw();
}

/* ---- what is typed ---- */

static const struct {
    int key;
    uint32_t keysym;
} special[] = {
    {KEY_UP, XKB_KEY_Up}, {KEY_DOWN, XKB_KEY_Down}, {KEY_LEFT, XKB_KEY_Left}, {KEY_RIGHT, XKB_KEY_Right}, {KEY_HOME, XKB_KEY_Home},
    {KEY_END, XKB_KEY_End}, {KEY_PPAGE, XKB_KEY_Prior}, {KEY_NPAGE, XKB_KEY_Next}, {KEY_IC, XKB_KEY_Insert}, {KEY_DC, XKB_KEY_Delete},
    {KEY_BACKSPACE, XKB_KEY_BackSpace}, {KEY_ENTER, XKB_KEY_KP_Enter}, {KEY_BTAB, XKB_KEY_Tab}, {KEY_SPREVIOUS, XKB_KEY_Prior},
    {KEY_SNEXT, XKB_KEY_Next}, {KEY_SLEFT, XKB_KEY_Left}, {KEY_SRIGHT, XKB_KEY_Right}, {KEY_SR, XKB_KEY_Up}, {KEY_SF, XKB_KEY_Down},
};

/* What the key means, with modifiers added to `mods`. */
static uint32_t keysym_of_special(int key, unsigned *mods)
{
    if (key >= KEY_F(1) && key <= KEY_F(12))
        return XKB_KEY_F1 + (uint32_t)(key - KEY_F(1));
    if (key == KEY_BTAB || key == KEY_SPREVIOUS || key == KEY_SNEXT || key == KEY_SLEFT || key == KEY_SRIGHT || key == KEY_SR || key == KEY_SF)
        *mods |= VIV_MOD_SHIFT;
    for (size_t i = 0; i < sizeof(special) / sizeof(*special); i++) {
        if (special[i].key == key)
            return special[i].keysym;
    }
    return 0;
}

static uint32_t keysym_of_char(uint32_t ch, unsigned *mods)
{
    switch (ch) {
    case '\r':
    case '\n':
        return XKB_KEY_Return;
    case '\t':
        return XKB_KEY_Tab;
    case 0x1b:
        return XKB_KEY_Escape;
    case 0x7f:
    case '\b':
        return XKB_KEY_BackSpace;
    case 0:
        *mods |= VIV_MOD_CTRL;
        return ' ';
    }
    if (ch < 0x20) { /* Ctrl and a letter, or one of [\]^_ */
        *mods |= VIV_MOD_CTRL;
        return ch <= 26 ? ch + 'a' - 1 : ch + '@';
    }
    return ch < 0x100 ? ch : ch + 0x1000000;
}

static void send_key(uint32_t keysym, bool down)
{
    c.host->send(c.w, &(struct viv_window_event){.kind = VIV_WIN_KEY, .keysym = keysym, .down = down});
}

static void stroke(uint32_t keysym, unsigned mods)
{
    static const struct {
        unsigned mod;
        uint32_t keysym;
    } held[] = {{VIV_MOD_CTRL, XKB_KEY_Control_L}, {VIV_MOD_ALT, XKB_KEY_Alt_L}, {VIV_MOD_SHIFT, XKB_KEY_Shift_L}};

    if (!keysym)
        return;
    if (c.news.text) {
        c.host->send(c.w, &(struct viv_window_event){.kind = VIV_WIN_TYPE, .keysym = keysym, .mods = mods});
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (mods & held[i].mod)
            send_key(held[i].keysym, true);
    }
    send_key(keysym, true);
    send_key(keysym, false);
    for (size_t i = 3; i-- > 0;) {
        if (mods & held[i].mod)
            send_key(held[i].keysym, false);
    }
}

static void stroke_of(int kind, wint_t key, unsigned mods)
{
    uint32_t keysym = kind == KEY_CODE_YES ? keysym_of_special((int)key, &mods) : keysym_of_char((uint32_t)key, &mods);

    stroke(keysym, mods);
}

static void typed(int kind, wint_t key)
{
    unsigned mods = 0;
    wint_t next;

    if (kind != KEY_CODE_YES && key == 0x1b) { /* alone, or Alt with what is behind it */
        int more = get_wch(&next);

        if (more == OK && next >= '1' && next <= '9') {
            c.host->send(c.w, &(struct viv_window_event){.kind = VIV_WIN_TAB, .x = (int)next - '1'});
            return;
        }
        if (more == OK && next != 0x1b)
            mods = VIV_MOD_ALT;
        else if (more != ERR)
            stroke(XKB_KEY_Escape, 0);
        if (more != ERR) {
            kind = more;
            key = next;
        }
    }
    stroke_of(kind, key, mods);
}

/* ---- the thread ---- */

static void read_keys(void)
{
    wint_t key;
    int kind;

    while ((kind = get_wch(&key)) != ERR)
        typed(kind, key);
}

static void take_news(void)
{
    struct viv_text *new_text;

    if (!c.host->take(c.w, &c.news))
        return;
    new_text = c.news.look.text;
    c.news.look.text = NULL;
    if (c.news.look.new_text) {
        free(c.text);
        c.text = new_text;
    }
    if (c.news.look.new_text || c.news.look.new_surface || c.news.new_state)
        draw();
}

static void curses_run(void)
{
    struct pollfd p[2] = {{.fd = c.host->wake_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};

    while (!c.news.quit) {
        if (poll(p, 2, LOOK_MS) > 0 && p[1].revents & (POLLHUP | POLLERR | POLLNVAL))
            p[1].fd = -1; /* the terminal has gone; SIGHUP says what is to be done */
        else if (p[1].revents & POLLIN)
            read_keys();
        take_news();
        look_at_size();
    }
    endwin();
    delscreen(c.screen);
}

static bool curses_open(struct viv_window *w, const struct viv_window_host *host, char *why, size_t size)
{
    struct sigaction old_int, old_term, old_tstp, old_winch;

    c.w = w;
    c.host = host;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        snprintf(why, size, "standard input and output are no terminal");
        return false;
    }
    setlocale(LC_CTYPE, "");
    /* Signals are the main thread's. */
    sigaction(SIGINT, NULL, &old_int);
    sigaction(SIGTERM, NULL, &old_term);
    sigaction(SIGTSTP, NULL, &old_tstp);
    sigaction(SIGWINCH, NULL, &old_winch);
    c.screen = newterm(NULL, stdout, stdin);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    sigaction(SIGTSTP, &old_tstp, NULL);
    sigaction(SIGWINCH, &old_winch, NULL);
    if (!c.screen) {
        snprintf(why, size, "the terminal %s is not known (TERM)", getenv("TERM") ? getenv("TERM") : "");
        return false;
    }
    raw(); /* Ctrl-C and the like are the guest's */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    scrollok(stdscr, FALSE);
    make_pairs();
    draw();
    take_news();
    return true;
}

extern const struct viv_toolkit viv_toolkit;
const struct viv_toolkit viv_toolkit = {.version = VIV_TOOLKIT_VERSION, .wants_text = true, .open = curses_open, .run = curses_run};
