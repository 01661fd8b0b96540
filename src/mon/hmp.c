/* HMP: finding and running a command, and the monitor on a character back end. Line editing is line.c's. */
#include "base/program.h"
#include "host/broker.h"
#include "host/sandbox.h"
#include "mon/form.h"
#include "mon/line.h"
#include "mon/mon_int.h"

#include <errno.h>
#include <string.h>

/* --- commands --- */

/* Length of the part of line that names the command: one word, or two after "info"; "x/10i" is x with a format. */
static size_t name_length(const char *line)
{
    size_t n = strcspn(line, " \t/");

    if (n == 4 && !strncmp(line, "info", 4)) {
        size_t gap = strspn(line + n, " \t");

        if (line[n + gap])
            n += gap + strcspn(line + n + gap, " \t");
    }
    return n;
}

static const struct viv_mon_cmd *find(const char *name)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    do {
        c = viv_mon_next(&it);
    } while (c && (!c->hmp || strcmp(c->hmp, name) != 0));
    return c;
}

/* What is no whole line gets its end: the prompt follows. */
static void put_lines(GString *out, const char *text)
{
    g_string_append(out, text);
    if (*text && !g_str_has_suffix(text, "\n"))
        g_string_append_c(out, '\n');
}

static int run(const struct viv_mon_cmd *c, char **words, GString *out)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    struct viv_opts *o = viv_opts_new(c->hmp, c->args ? c->args : none);
    struct viv_err err = VIV_ERR_INIT;
    json_t *result = NULL;
    int rc = viv_form_fill(c, words, o, &err);

    if (!rc)
        rc = c->fn(o, &result, &err);
    if (rc < 0)
        g_string_append_printf(out, "Error: %s\n", err.text);
    else if (c->show)
        c->show(result, out);
    else if (json_is_string(result))
        put_lines(out, json_string_value(result));
    json_decref(result);
    viv_opts_free(o);
    return rc;
}

/* How many words a line with hmp_rest has, which need not begin with "/fmt" or "[-j]". */
static unsigned words_of(const struct viv_mon_cmd *c, const char *rest)
{
    const char *form = c->hmp_args + (*c->hmp_args == '[');
    unsigned n = 1;

    for (const char *p = form; *p; p++)
        n += *p == ' ';
    return n - (strchr("/-", *form) && *rest != *form);
}

/* The last one as it is but for blanks at its end. */
static char *word_of(const char *text, size_t len, bool last)
{
    char *word = g_strndup(text, len), *bare = last ? NULL : g_shell_unquote(word, NULL);

    if (!bare)
        return g_strchomp(word);
    g_free(word);
    return bare;
}

static char **split_rest(const char *rest, unsigned n)
{
    GPtrArray *words = g_ptr_array_new();

    for (size_t len; *rest; rest += len) {
        bool last = words->len + 1 >= n;

        len = last ? strlen(rest) : strcspn(rest, " \t");
        g_ptr_array_add(words, word_of(rest, len, last));
        len += strspn(rest + len, " \t");
    }
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}

/* What stands behind the command's name, as words; NULL: a quote is not closed. */
static char **split(const struct viv_mon_cmd *c, const char *rest)
{
    char **words = NULL;

    rest += strspn(rest, " \t");
    if (!*rest)
        return g_new0(char *, 1);
    if (!c->hmp_rest)
        return g_shell_parse_argv(rest, NULL, &words, NULL) ? words : NULL;
    return split_rest(rest, words_of(c, rest));
}

const struct viv_mon_cmd *viv_hmp_find(const char *line, const char **words)
{
    size_t len = name_length(line);
    g_autofree char *name = g_strndup(line, len);
    char *gap = strpbrk(name, " \t");

    if (gap) /* one space, however many were typed */
        memmove(gap, gap + strspn(gap, " \t") - 1, strlen(gap + strspn(gap, " \t") - 1) + 1), *gap = ' ';
    *words = line + len;
    return find(name);
}

int viv_hmp_run(const char *line, GString *out)
{
    g_auto(GStrv) words = NULL;
    const struct viv_mon_cmd *c;
    const char *rest;

    line += strspn(line, " \t");
    if (!*line)
        return 0;
    c = viv_hmp_find(line, &rest);
    if (!c && rest == line + 4 && g_str_has_prefix(line, "info")) {
        c = find("help");
        rest = "info";
    }
    if (!c) {
        g_string_append_printf(out, "unknown command: '%.*s'\n", (int)(rest - line), line);
        return 0;
    }
    words = split(c, rest);
    if (words)
        return run(c, words, out);
    g_string_append(out, "a quote is not closed\n");
    return 0;
}

/* --- the monitor --- */

struct hmp {
    struct viv_chr *chr;
    struct viv_mon_out out;
    struct viv_line *line;
    char *asking; /* the command whose secret comes next, or NULL */
    bool greeted;
};

static GSList *all;

/* Terminals are raw: every newline needs its carriage return. */
static void put(void *opaque, const char *text, size_t len)
{
    struct hmp *h = opaque;
    GString *s = g_string_new_len(text, len);

    g_string_replace(s, "\n", "\r\n", 0);
    viv_mon_out_put(&h->out, s->str, s->len);
    g_string_free(s, TRUE);
}

static const struct hmp *asked; /* whose line is being run; while it waits, another one's may be */

void viv_hmp_history(GString *out)
{
    const char *line;

    for (size_t i = 0; asked && (line = viv_line_history(asked->line, i)); i++)
        g_string_append_printf(out, "%zu: '%s'\n", i, line);
}

static void on_line(void *opaque, const char *text)
{
    struct hmp *h = opaque;
    const struct hmp *outer = asked;
    GString *out = g_string_new(NULL);
    g_autofree char *asking = g_steal_pointer(&h->asking), *word = g_shell_quote(text);
    g_autofree char *line = asking ? g_strdup_printf("%s %s", asking, word) : g_strdup(text);

    int rc;

    if (!asking)
        viv_broker_words(text);
    asked = h;
    rc = viv_hmp_run(line, out);
    asked = outer;
    if (rc == -ENOKEY && !asking) {
        h->asking = g_steal_pointer(&line);
        viv_line_ask(h->line, "Password: ");
    } else {
        put(h, out->str, out->len);
    }
    g_string_free(out, TRUE);
}

static void greet(struct hmp *h)
{
    static const char banner[] =
        "Vivarium " VIV_VERSION " monitor - type 'help' for more information\n";

    if (!h->greeted)
        put(h, banner, sizeof(banner) - 1);
    h->greeted = true;
    viv_line_begin(h->line);
}

static size_t hmp_can_read(void *opaque)
{
    return viv_mon_out_full(&((struct hmp *)opaque)->out) ? 0 : 256;
}

static void hmp_read(void *opaque, const uint8_t *buf, size_t len)
{
    viv_line_input(((struct hmp *)opaque)->line, (const char *)buf, len);
}

static void hmp_event(void *opaque, enum viv_chr_event ev)
{
    struct hmp *h = opaque;
    bool mux = viv_chr_is_mux(h->chr);

    if (ev == VIV_CHR_CLOSED) {
        viv_line_clear(h->line);
        viv_line_ask(h->line, NULL);
        g_clear_pointer(&h->asking, g_free);
        h->greeted = false;
    } else if (mux ? ev == VIV_CHR_MUX_IN : ev == VIV_CHR_OPENED) {
        if (mux)
            put(h, "\n", 1);
        greet(h);
    } else if (ev == VIV_CHR_MUX_OUT) {
        put(h, "\n", 1);
    }
}

static const struct viv_chr_front hmp_front = {.can_read = hmp_can_read, .read = hmp_read, .event = hmp_event};

static void hmp_free(gpointer p)
{
    struct hmp *h = p;

    viv_chr_detach(h->chr, h);
    viv_mon_out_fini(&h->out);
    viv_line_free(h->line);
    g_free(h->asking);
    g_free(h);
}

int viv_hmp_new(struct viv_chr *c, struct viv_err *err)
{
    struct hmp *h = g_new0(struct hmp, 1);
    int rc;

    viv_sandbox_need(VIV_SANDBOX_NETWORK | VIV_SANDBOX_MONITOR); /* its commands connect and listen, and name files */
    h->chr = c;
    h->line = viv_line_new(viv_program_as_qemu() ? "(qemu) " : "(viv) ", put, on_line, h);
    viv_mon_out_init(&h->out, c);
    rc = viv_chr_attach(c, &hmp_front, h, err);
    if (rc < 0) {
        hmp_free(h);
        return rc;
    }
    all = g_slist_prepend(all, h);
    return 0;
}

void viv_hmp_free_all(void)
{
    g_slist_free_full(all, hmp_free);
    all = NULL;
}
