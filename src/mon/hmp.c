/* HMP: finding and running a command, and the monitor on a character back end. Line editing is line.c's. */
#include "mon/mon_int.h"
#include "mon/line.h"

#include <errno.h>
#include <string.h>

#define PROMPT "(viv) "

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

GPtrArray *viv_hmp_complete(const char *text)
{
    GPtrArray *found = g_ptr_array_new();
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (c->hmp && g_str_has_prefix(c->hmp, text))
            g_ptr_array_add(found, (gpointer)c->hmp);
    }
    return found;
}

static bool is_switch(const struct viv_opt_def *d)
{
    return d->type == VIV_OPT_BOOL || d->type == VIV_OPT_REFUSED || d->type == VIV_OPT_ENUM;
}

/* Said as "/10xb", before all others. */
static bool is_format(const struct viv_opt_def *d)
{
    return !strcmp(d->name, "fmt");
}

static const struct viv_opt_def *next_positional(const struct viv_opt_def *d)
{
    while (d && d->name && (is_switch(d) || is_format(d)))
        d++;
    return d && d->name ? d : NULL;
}

/* Goes past the value of a choice. */
static int set_switch(struct viv_opts *o, const struct viv_opt_def *args, char ***words, struct viv_err *err)
{
    const char *word = **words;

    for (const struct viv_opt_def *d = args; d && d->name; d++) {
        if (!is_switch(d) || d->name[0] != word[1] || word[2])
            continue;
        if (d->type != VIV_OPT_ENUM)
            return viv_opts_set(o, d->name, "on", err);
        if (!(*words)[1])
            return viv_fail(err, EINVAL, "%s: its value is missing", word);
        return viv_opts_set(o, d->name, *++*words, err);
    }
    return viv_fail(err, EINVAL, "unknown switch '%.40s'", word);
}

/* Words fill the schema in order; all that is left goes to the last one's turn to complain. */
static int fill(const struct viv_mon_cmd *c, char **words, struct viv_opts *o, struct viv_err *err)
{
    const struct viv_opt_def *d = next_positional(c->args);
    int rc = 0;

    for (; *words && !rc; words++) {
        if (words[0][0] == '-' && words[0][1] && !g_ascii_isdigit(words[0][1])) { /* a number below 0 is no switch */
            rc = set_switch(o, c->args, &words, err);
        } else if (words[0][0] == '/' && c->args && is_format(c->args)) {
            rc = viv_opts_set(o, c->args->name, *words, err);
        } else if (!d) {
            return viv_fail(err, EINVAL, "%s: extra argument '%.60s'", c->hmp, *words);
        } else {
            rc = viv_opts_set(o, d->name, *words, err);
            d = next_positional(d + 1);
        }
    }
    for (d = c->args; d && d->name && !rc; d++) {
        if (d->required && !viv_opts_given(o, d->name))
            rc = viv_fail(err, EINVAL, "%s: '%s' is missing; usage: %s %s", c->hmp, d->name, c->hmp, c->hmp_args);
    }
    return rc;
}

static int run(const struct viv_mon_cmd *c, char **words, GString *out)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    struct viv_opts *o = viv_opts_new(c->hmp, c->args ? c->args : none);
    struct viv_err err = VIV_ERR_INIT;
    json_t *result = NULL;
    int rc = fill(c, words, o, &err);

    if (!rc)
        rc = c->fn(o, &result, &err);
    if (rc < 0)
        g_string_append_printf(out, "Error: %s\n", err.text);
    else if (c->show)
        c->show(result, out);
    else if (json_is_string(result))
        g_string_append(out, json_string_value(result));
    json_decref(result);
    viv_opts_free(o);
    return rc;
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
    return g_strsplit_set(rest, " \t", *rest == '/' ? 2 : 1);
}

int viv_hmp_run(const char *line, GString *out)
{
    g_autofree char *name = NULL;
    g_auto(GStrv) words = NULL;
    const struct viv_mon_cmd *c;

    line += strspn(line, " \t");
    if (!*line)
        return 0;
    name = g_strndup(line, name_length(line));
    for (char *gap; (gap = strpbrk(name, "\t")); )
        *gap = ' ';
    if (!strcmp(name, "info"))
        c = find("help");
    else
        c = find(name);
    if (!c) {
        g_string_append_printf(out, "unknown command: '%s'\n", name);
        return 0;
    }
    words = split(c, !strcmp(name, "info") ? "info" : line + strlen(name));
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

static void on_line(void *opaque, const char *text)
{
    struct hmp *h = opaque;
    GString *out = g_string_new(NULL);
    g_autofree char *asking = g_steal_pointer(&h->asking), *word = g_shell_quote(text);
    g_autofree char *line = asking ? g_strdup_printf("%s %s", asking, word) : g_strdup(text);

    if (viv_hmp_run(line, out) == -ENOKEY && !asking) {
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
    viv_line_show(h->line);
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

static const struct viv_chr_front hmp_front = {hmp_can_read, hmp_read, hmp_event};

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

    h->chr = c;
    h->line = viv_line_new(PROMPT, put, on_line, h);
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
