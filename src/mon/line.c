#include "mon/line.h"
#include "mon/mon_int.h"

#include <string.h>

#define MAX_LINE    4096
#define MAX_HISTORY 64

enum { PLAIN, ESCAPE, BRACKET };

struct viv_line {
    const char *prompt;
    const char *question; /* that the line answers in secret; NULL: a command */
    void (*put)(void *opaque, const char *, size_t);
    void (*done)(void *opaque, const char *line);
    void *opaque;
    GString *text;
    size_t cursor;
    GPtrArray *history;
    size_t recall; /* index into history; its length: the line being typed */
    int state, number;
    bool last_was_cr;
};

struct viv_line *viv_line_new(const char *prompt, void (*put)(void *, const char *, size_t),
                              void (*done)(void *, const char *), void *opaque)
{
    struct viv_line *l = g_new0(struct viv_line, 1);

    l->prompt = prompt;
    l->put = put;
    l->done = done;
    l->opaque = opaque;
    l->text = g_string_new(NULL);
    l->history = g_ptr_array_new_with_free_func(g_free);
    return l;
}

void viv_line_free(struct viv_line *l)
{
    g_string_free(l->text, TRUE);
    g_ptr_array_free(l->history, TRUE);
    g_free(l);
}

void viv_line_clear(struct viv_line *l)
{
    g_string_truncate(l->text, 0);
    l->cursor = 0;
    l->state = PLAIN;
    l->recall = l->history->len;
}

void viv_line_ask(struct viv_line *l, const char *question)
{
    l->question = question;
}

static const char *prompt_of(const struct viv_line *l)
{
    return l->question ? l->question : l->prompt;
}

void viv_line_begin(struct viv_line *l)
{
    if (l->text->len)
        viv_line_show(l); /* typed before */
    else
        l->put(l->opaque, prompt_of(l), strlen(prompt_of(l))); /* programs wait for just that at the end */
}

void viv_line_show(struct viv_line *l)
{
    g_autoptr(GString) s = g_string_new(NULL);
    g_autofree char *shown = l->question ? g_strnfill(l->text->len, '*') : g_strdup(l->text->str);

    g_string_append_printf(s, "\r%s%s\033[K", prompt_of(l), shown);
    if (l->cursor < l->text->len)
        g_string_append_printf(s, "\033[%zuD", l->text->len - l->cursor);
    l->put(l->opaque, s->str, s->len);
}

const char *viv_line_history(const struct viv_line *l, size_t i)
{
    return i < l->history->len ? g_ptr_array_index(l->history, i) : NULL;
}

static void remember(struct viv_line *l)
{
    const char *last = l->history->len ? g_ptr_array_index(l->history, l->history->len - 1) : "";

    if (!l->text->len || !strcmp(last, l->text->str))
        return;
    if (l->history->len == MAX_HISTORY)
        g_ptr_array_remove_index(l->history, 0);
    g_ptr_array_add(l->history, g_strdup(l->text->str));
}

static void enter(struct viv_line *l)
{
    g_autofree char *line = g_strdup(l->text->str);

    if (!l->question)
        remember(l);
    l->question = NULL;
    viv_line_clear(l);
    l->put(l->opaque, "\n", 1);
    l->done(l->opaque, line);
    viv_line_begin(l);
}

static void recall(struct viv_line *l, int step)
{
    size_t to = l->recall + step;

    if (l->question || to > l->history->len) /* below 0 wraps to above */
        return;
    l->recall = to;
    g_string_assign(l->text, to < l->history->len ? g_ptr_array_index(l->history, to) : "");
    l->cursor = l->text->len;
}

static void erase(struct viv_line *l, size_t from, size_t to)
{
    g_string_erase(l->text, from, to - from);
    l->cursor = from;
}

static void complete(struct viv_line *l)
{
    g_autoptr(GPtrArray) found = viv_hmp_complete(l->text->str);
    size_t common;
    const char *first;

    if (l->question || !found->len || l->cursor != l->text->len)
        return;
    first = g_ptr_array_index(found, 0);
    common = strlen(first);
    for (guint i = 1; i < found->len; i++) {
        const char *other = g_ptr_array_index(found, i);
        size_t n = 0;

        while (n < common && first[n] == other[n])
            n++;
        common = n;
    }
    if (found->len > 1 && common == l->text->len) {
        l->put(l->opaque, "\n", 1);
        for (guint i = 0; i < found->len; i++) {
            const char *line = g_ptr_array_index(found, i), *gap = strrchr(line, ' '), *name = gap ? gap + 1 : line;

            l->put(l->opaque, name, strlen(name));
            l->put(l->opaque, "\n", 1);
        }
        return;
    }
    g_string_truncate(l->text, 0);
    g_string_append_len(l->text, first, common);
    if (found->len == 1 && l->text->str[l->text->len - 1] != '/')
        g_string_append_c(l->text, ' ');
    l->cursor = l->text->len;
}

static size_t word_start(const struct viv_line *l)
{
    size_t i = l->cursor;

    while (i && l->text->str[i - 1] == ' ')
        i--;
    while (i && l->text->str[i - 1] != ' ')
        i--;
    return i;
}

static void left(struct viv_line *l)
{
    l->cursor -= l->cursor > 0;
}

static void right(struct viv_line *l)
{
    l->cursor += l->cursor < l->text->len;
}

/* ESC [ ... : arrows, Home, End, Delete. */
static void sequence(struct viv_line *l, char c)
{
    if (c >= '0' && c <= '9') {
        l->number = (l->number * 10 + c - '0') % 100;
        return;
    }
    l->state = PLAIN;
    if (c == 'A')
        recall(l, -1);
    else if (c == 'B')
        recall(l, 1);
    else if (c == 'C')
        right(l);
    else if (c == 'D')
        left(l);
    else if (c == 'H' || (c == '~' && (l->number == 1 || l->number == 7)))
        l->cursor = 0;
    else if (c == 'F' || (c == '~' && (l->number == 4 || l->number == 8)))
        l->cursor = l->text->len;
    else if (c == '~' && l->number == 3 && l->cursor < l->text->len)
        erase(l, l->cursor, l->cursor + 1);
    viv_line_show(l);
}

static void control(struct viv_line *l, char c)
{
    switch (c) {
    case 1: /* Ctrl-A */
        l->cursor = 0;
        break;
    case 2:
        left(l);
        break;
    case 4:
        if (l->cursor < l->text->len)
            erase(l, l->cursor, l->cursor + 1);
        break;
    case 5:
        l->cursor = l->text->len;
        break;
    case 6:
        right(l);
        break;
    case 8:
    case 127:
        if (l->cursor)
            erase(l, l->cursor - 1, l->cursor);
        break;
    case 9:
        complete(l);
        break;
    case 11:
        g_string_truncate(l->text, l->cursor);
        break;
    case 14:
        recall(l, 1);
        break;
    case 16:
        recall(l, -1);
        break;
    case 21:
        erase(l, 0, l->cursor);
        break;
    case 23:
        erase(l, word_start(l), l->cursor);
        break;
    default:
        return;
    }
    viv_line_show(l);
}

static void insert(struct viv_line *l, char c)
{
    if (l->text->len >= MAX_LINE)
        return;
    g_string_insert_c(l->text, l->cursor++, c);
    if (l->cursor == l->text->len)
        l->put(l->opaque, l->question ? "*" : &c, 1);
    else
        viv_line_show(l);
}

static void one(struct viv_line *l, char c)
{
    bool after_cr = l->last_was_cr;

    l->last_was_cr = c == '\r';
    if (l->state == ESCAPE) {
        l->state = c == '[' || c == 'O' ? BRACKET : PLAIN;
        l->number = 0;
    } else if (l->state == BRACKET) {
        sequence(l, c);
    } else if (c == '\r' || (c == '\n' && !after_cr)) {
        enter(l);
    } else if (c == 27) {
        l->state = ESCAPE;
    } else if ((unsigned char)c < 32 || c == 127) {
        control(l, c);
    } else {
        insert(l, c);
    }
}

void viv_line_input(struct viv_line *l, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        one(l, bytes[i]);
}
