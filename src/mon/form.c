#include "mon/form.h"

#include <errno.h>
#include <string.h>

/* --- the text --- */

static const struct viv_opt_def *named(const struct viv_opt_def *d, const char *name, size_t len)
{
    for (; d && d->name; d++) {
        if (strlen(d->name) == len && !strncmp(d->name, name, len))
            return d;
    }
    return NULL;
}

/* The switch whose name begins with this letter. */
static const struct viv_opt_def *lettered(const struct viv_opt_def *d, char letter, enum viv_opt_type type)
{
    while (d && d->name && (d->type != type || d->name[0] != letter))
        d++;
    return d && d->name ? d : NULL;
}

/* A name and, behind a colon, its kind. */
static const char *read_name(const struct viv_mon_cmd *c, const char *p, struct viv_slot *s)
{
    size_t len = strcspn(p, " ]:"), kind;

    s->def = named(c->args, p, len);
    p += len;
    if (*p == ':') {
        kind = strcspn(++p, " ]");
        g_strlcpy(s->kind, p, MIN(kind + 1, sizeof(s->kind)));
        p += kind;
    }
    return p;
}

unsigned viv_form_read(const struct viv_mon_cmd *c, struct viv_slot slots[VIV_FORM_MAX])
{
    const char *p = c->hmp_args ? c->hmp_args : "";
    unsigned n = 0;

    while (*(p += strspn(p, " []")) && n < VIV_FORM_MAX) {
        struct viv_slot *s = &slots[n++];

        *s = (struct viv_slot){0};
        if (*p == '/')
            s->letter = *p++;
        if (*p != '-') {
            p = read_name(c, p, s);
            continue;
        }
        s->letter = p[1];
        s->value = p[1] && p[2] == ' ';
        if (s->value)
            p = read_name(c, p + 3, s);
        else
            s->def = lettered(c->args, p[1], VIV_OPT_BOOL), p += strcspn(p, " ]");
    }
    return n;
}

void viv_form_usage(const struct viv_mon_cmd *c, GString *out)
{
    g_string_append(out, c->hmp);
    if (c->hmp_args)
        g_string_append_c(out, ' ');
    for (const char *p = c->hmp_args ? c->hmp_args : ""; *p;) {
        if (*p == ':')
            p += strcspn(p, " ]");
        else
            g_string_append_c(out, *p++);
    }
}

/* --- a line --- */

/* "-x": goes past its value. What we refuse needs no mention in the form. */
static int set_switch(const struct viv_mon_cmd *c, const struct viv_slot *slots, unsigned n, char ***words, struct viv_opts *o,
                      struct viv_err *err)
{
    const char *word = **words;
    const struct viv_opt_def *refused = lettered(c->args, word[1], VIV_OPT_REFUSED);

    for (unsigned i = 0; i < n; i++) {
        if (slots[i].letter != word[1] || word[2])
            continue;
        if (!slots[i].value)
            return viv_opts_set(o, slots[i].def->name, "on", err);
        if (!(*words)[1])
            return viv_fail(err, EINVAL, "%s: its value is missing", word);
        return viv_opts_set(o, slots[i].def->name, *++*words, err);
    }
    return refused ? viv_opts_set(o, refused->name, "on", err) : viv_fail(err, EINVAL, "unknown switch '%.40s'", word);
}

/* A number below 0 is none, nor is what an expression begins with. */
static bool is_switch(const struct viv_mon_cmd *c, const struct viv_slot *slots, unsigned n, const char *word)
{
    bool known = !c->hmp_rest;

    for (unsigned i = 0; i < n; i++)
        known |= slots[i].letter == word[1];
    return word[0] == '-' && g_ascii_isalpha(word[1]) && known;
}

static int check_required(const struct viv_mon_cmd *c, const struct viv_opts *o, struct viv_err *err)
{
    for (const struct viv_opt_def *d = c->args; d && d->name; d++) {
        g_autoptr(GString) usage = NULL;

        if (!d->required || viv_opts_given(o, d->name))
            continue;
        usage = g_string_new(NULL);
        viv_form_usage(c, usage);
        return viv_fail(err, EINVAL, "%s: '%s' is missing; usage: %s", c->hmp, d->name, usage->str);
    }
    return 0;
}

int viv_form_fill(const struct viv_mon_cmd *c, char **words, struct viv_opts *o, struct viv_err *err)
{
    struct viv_slot slots[VIV_FORM_MAX];
    unsigned n = viv_form_read(c, slots), next = 0;
    int rc = 0;

    for (; *words && !rc; words++) {
        while (next < n && slots[next].letter)
            next++;
        if (is_switch(c, slots, n, *words))
            rc = set_switch(c, slots, n, &words, o, err);
        else if (words[0][0] == '/' && n && slots[0].letter == '/')
            rc = viv_opts_set(o, slots[0].def->name, *words, err);
        else if (next == n)
            rc = viv_fail(err, EINVAL, "%s: extra argument '%.60s'", c->hmp, *words);
        else
            rc = viv_opts_set(o, slots[next++].def->name, *words, err);
    }
    return rc < 0 ? rc : check_required(c, o, err);
}

void viv_form_problems(const struct viv_mon_cmd *c, GString *out)
{
    struct viv_slot slots[VIV_FORM_MAX];
    unsigned n = viv_form_read(c, slots);

    for (unsigned i = 0; i < n; i++) {
        if (!slots[i].def)
            g_string_append_printf(out, "%s: '%s': word %u is no option of it\n", c->hmp, c->hmp_args, i);
        else if (slots[i].def->type == VIV_OPT_LIST)
            g_string_append_printf(out, "%s: a list is nothing for a line\n", c->hmp);
        if (slots[i].kind[0] && !viv_complete_knows(slots[i].kind))
            g_string_append_printf(out, "%s: nothing completes a '%s'\n", c->hmp, slots[i].kind);
    }
    for (const struct viv_opt_def *d = c->args; d && d->name; d++) {
        bool there = !d->required;

        for (unsigned i = 0; i < n; i++)
            there |= slots[i].def == d;
        if (!there)
            g_string_append_printf(out, "%s: '%s' is required and cannot be said\n", c->hmp, d->name);
    }
}
