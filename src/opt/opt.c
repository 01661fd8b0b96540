/* Typed options: raw pairs checked against a schema. */
#include "opt/raw_int.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct value {
    char *text;      /* last one given, or NULL */
    GPtrArray *list; /* LIST: all that were given */
    bool used;
    union {
        bool b;
        int64_t i;
        uint64_t size;
    };
};

struct viv_opts {
    char *what;
    const struct viv_opt_def *def;
    size_t count;
    struct value *values; /* one a row of def */
};

static size_t def_count(const struct viv_opt_def *def)
{
    size_t n = 0;

    while (def && def[n].name)
        n++;
    return n;
}

static int def_index(const struct viv_opts *o, const char *key)
{
    for (size_t i = 0; i < o->count; i++) {
        if (!strcmp(o->def[i].name, key))
            return i;
    }
    return -1;
}

/* "hostfwd.0" and "hostfwd.0.str" (JSON lists) name the list "hostfwd". */
static int list_index(const struct viv_opts *o, const char *key)
{
    const char *dot = strchr(key, '.');
    g_autofree char *name = dot ? g_strndup(key, dot - key) : NULL;
    int i = name ? def_index(o, name) : -1;

    if (i < 0 || o->def[i].type != VIV_OPT_LIST || !isdigit((unsigned char)dot[1]))
        return -1;
    dot += 1 + strspn(dot + 1, "0123456789");
    return *dot == '\0' || !strcmp(dot, ".str") ? i : -1;
}

static int fail_unknown(const struct viv_opts *o, const char *key, struct viv_err *err)
{
    g_autofree const char **names = g_new0(const char *, o->count + 1);
    g_autoptr(GString) all = g_string_new(NULL);
    const char *near;
    size_t n = 0;

    for (size_t i = 0; i < o->count; i++) {
        if (o->def[i].type != VIV_OPT_REFUSED)
            names[n++] = o->def[i].name;
    }
    if (!n)
        return viv_fail(err, EINVAL, "%s: unknown option '%.80s': it takes none", o->what, key);
    near = viv_nearest(key, names);
    if (near)
        return viv_fail(err, EINVAL, "%s: unknown option '%.80s'; did you mean '%s'?", o->what, key,
                        near);
    for (size_t i = 0; i < n && all->len < 400; i++)
        g_string_append_printf(all, "%s%s", i ? ", " : "", names[i]);
    return viv_fail(err, EINVAL, "%s: unknown option '%.80s'; it takes: %s", o->what, key, all->str);
}

static int fail_range(const struct viv_opts *o, const struct viv_opt_def *d, const char *text,
                      struct viv_err *err)
{
    return viv_fail(err, ERANGE, "%s: %s=%.80s is out of range: %" PRId64 " to %" PRId64, o->what,
                    d->name, text, d->min, d->max);
}

static int check_enum(const struct viv_opts *o, const struct viv_opt_def *d, const char *text,
                      struct viv_err *err)
{
    g_autoptr(GString) all = g_string_new(NULL);
    const char *near;

    for (size_t i = 0; d->values[i]; i++) {
        if (!strcmp(d->values[i], text))
            return 0;
        g_string_append_printf(all, "%s%s", i ? ", " : "", d->values[i]);
    }
    near = viv_nearest(text, d->values);
    return viv_fail(err, EINVAL, "%s: %s=%.80s is not possible%s%s%s; possible: %s", o->what, d->name,
                    text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                    all->str);
}

/* Parses text into v by d's type; v->text is set on success. */
static int assign(struct viv_opts *o, const struct viv_opt_def *d, struct value *v, const char *text,
                  struct viv_err *err)
{
    struct viv_err why = VIV_ERR_INIT;
    int rc = 0;

    switch (d->type) {
    case VIV_OPT_REFUSED:
        return viv_fail(err, ENOTSUP, "%s: %s is not supported yet%s%s", o->what, d->name,
                        d->help ? ": " : "", d->help ? d->help : "");
    case VIV_OPT_BOOL:
        rc = viv_parse_bool(text, &v->b, &why);
        break;
    case VIV_OPT_INT:
        /* An unsigned 64-bit value keeps its bits (a WWN, an address). */
        if (text[0] == '-')
            rc = viv_parse_i64(text, &v->i, &why);
        else
            rc = viv_parse_u64(text, &v->size, &why);
        if (!rc && d->max > d->min && (v->i < d->min || v->i > d->max))
            return fail_range(o, d, text, err);
        break;
    case VIV_OPT_SIZE:
        rc = viv_parse_size(text, 1, &v->size, &why);
        if (!rc && d->max > d->min &&
            (v->size < (uint64_t)d->min || v->size > (uint64_t)d->max))
            return fail_range(o, d, text, err);
        break;
    case VIV_OPT_ENUM:
        rc = check_enum(o, d, text, err);
        break;
    case VIV_OPT_LIST:
        if (!v->list)
            v->list = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(v->list, g_strdup(text));
        break;
    case VIV_OPT_STR:
        break;
    }
    if (rc < 0 && why.code)
        return viv_fail(err, -rc, "%s: %s: %s", o->what, d->name, why.text);
    return rc;
}

int viv_opts_set(struct viv_opts *o, const char *key, const char *value, struct viv_err *err)
{
    int i = def_index(o, key);
    int rc;

    if (i < 0)
        i = list_index(o, key);
    if (i < 0)
        return fail_unknown(o, key, err);
    rc = assign(o, &o->def[i], &o->values[i], value, err);
    if (rc < 0)
        return rc;
    g_free(o->values[i].text);
    o->values[i].text = g_strdup(value);
    return 0;
}

/* A word without '=': a switch goes on (or off, for "nofoo"), anything else wants a value. */
static int set_bare(struct viv_opts *o, const char *key, struct viv_err *err)
{
    int i = def_index(o, key);

    if (i < 0 && g_str_has_prefix(key, "no")) {
        int off = def_index(o, key + 2);

        if (off >= 0 && o->def[off].type == VIV_OPT_BOOL)
            return viv_opts_set(o, key + 2, "off", err);
    }
    if (i < 0)
        return fail_unknown(o, key, err);
    if ((o->def[i].type == VIV_OPT_ENUM || o->def[i].type == VIV_OPT_STR) && o->def[i].values &&
        g_strv_contains(o->def[i].values, "on"))
        return viv_opts_set(o, key, "on", err);
    if (o->def[i].type != VIV_OPT_BOOL && o->def[i].type != VIV_OPT_REFUSED)
        return viv_fail(err, EINVAL, "%s: '%s' needs a value: %s=...", o->what, key, key);
    return viv_opts_set(o, key, "on", err);
}

struct viv_opts *viv_opts_new(const char *what, const struct viv_opt_def *def)
{
    struct viv_opts *o = g_new0(struct viv_opts, 1);

    o->what = g_strdup(what);
    o->def = def;
    o->count = def_count(def);
    o->values = g_new0(struct value, o->count);
    for (size_t i = 0; i < o->count; i++) {
        if (def[i].def && def[i].type != VIV_OPT_LIST) {
            struct viv_err err = VIV_ERR_INIT;
            int rc = assign(o, &def[i], &o->values[i], def[i].def, &err);

            assert(rc == 0 && "a schema's default is a valid value");
            (void)rc;
        }
    }
    return o;
}

static gpointer copy_text(gconstpointer text, gpointer unused)
{
    return g_strdup(text);
}

struct viv_opts *viv_opts_copy(const struct viv_opts *o)
{
    struct viv_opts *c = g_new0(struct viv_opts, 1);

    *c = (struct viv_opts){.what = g_strdup(o->what), .def = o->def, .count = o->count, .values = g_new0(struct value, o->count)};
    for (size_t i = 0; i < o->count; i++) {
        c->values[i] = o->values[i];
        c->values[i].text = g_strdup(o->values[i].text);
        if (o->values[i].list)
            c->values[i].list = g_ptr_array_copy(o->values[i].list, copy_text, NULL);
    }
    return c;
}

void viv_opts_free(struct viv_opts *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->count; i++) {
        g_free(o->values[i].text);
        if (o->values[i].list)
            g_ptr_array_free(o->values[i].list, TRUE);
    }
    g_free(o->values);
    g_free(o->what);
    g_free(o);
}

static int check_required(const struct viv_opts *o, struct viv_err *err)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->def[i].required && !o->values[i].text)
            return viv_fail(err, EINVAL, "%s: '%s=' is missing%s%s", o->what, o->def[i].name,
                            o->def[i].help ? ": " : "", o->def[i].help ? o->def[i].help : "");
    }
    return 0;
}

int viv_opts_from_raw(const char *what, const struct viv_opt_def *def, const struct viv_raw_opts *r,
                      struct viv_opts **out, struct viv_err *err)
{
    struct viv_opts *o = viv_opts_new(what, def);
    int rc = 0;

    for (guint i = 0; i < r->pairs->len && !rc; i++) {
        const struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, i);

        rc = p->bare ? set_bare(o, p->key, err) : viv_opts_set(o, p->key, p->value, err);
    }
    if (!rc)
        rc = check_required(o, err);
    if (rc < 0) {
        viv_opts_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

int viv_opts_parse(const char *what, const struct viv_opt_def *def, const char *implied,
                   const char *text, struct viv_opts **out, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc = viv_raw_parse(what, implied, text, &r, err);

    if (rc < 0)
        return rc;
    rc = viv_opts_from_raw(what, def, r, out, err);
    viv_raw_free(r);
    return rc;
}

static struct value *typed(struct viv_opts *o, const char *key, unsigned types)
{
    int i = def_index(o, key);

    assert(i >= 0 && "a reader asks for an option of its own schema");
    assert((types >> o->def[i].type & 1) && "... by its type");
    (void)types;
    o->values[i].used = true;
    return &o->values[i];
}

bool viv_opts_given(const struct viv_opts *o, const char *key)
{
    int i = def_index(o, key);

    return i >= 0 && o->values[i].text;
}

const char *viv_opts_str(struct viv_opts *o, const char *key)
{
    struct value *v = typed(o, key, 1u << VIV_OPT_STR | 1u << VIV_OPT_ENUM);

    return v->text ? v->text : o->def[v - o->values].def;
}

bool viv_opts_bool(struct viv_opts *o, const char *key)
{
    return typed(o, key, 1u << VIV_OPT_BOOL)->b;
}

int64_t viv_opts_int(struct viv_opts *o, const char *key)
{
    return typed(o, key, 1u << VIV_OPT_INT)->i;
}

uint64_t viv_opts_size(struct viv_opts *o, const char *key)
{
    return typed(o, key, 1u << VIV_OPT_SIZE)->size;
}

size_t viv_opts_list_len(struct viv_opts *o, const char *key)
{
    struct value *v = typed(o, key, 1u << VIV_OPT_LIST);

    return v->list ? v->list->len : 0;
}

const char *viv_opts_list_item(struct viv_opts *o, const char *key, size_t i)
{
    struct value *v = typed(o, key, 1u << VIV_OPT_LIST);

    return v->list && i < v->list->len ? g_ptr_array_index(v->list, i) : NULL;
}

const char *viv_opts_what(const struct viv_opts *o)
{
    return o->what;
}

int viv_opts_check_used(const struct viv_opts *o, struct viv_err *err)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->values[i].text && !o->values[i].used)
            return viv_fail(err, EINVAL, "%s: '%s' has no effect together with the other options",
                            o->what, o->def[i].name);
    }
    return 0;
}

static char *describe(const struct viv_opt_def *d, const struct value *v)
{
    switch (d->type) {
    case VIV_OPT_BOOL:
        return g_strdup_printf("%s = %s", d->name, v->b ? "true" : "false");
    case VIV_OPT_INT:
        return g_strdup_printf("%s = %" PRId64 " (0x%" PRIx64 ")", d->name, v->i, (uint64_t)v->i);
    case VIV_OPT_SIZE:
        return g_strdup_printf("%s = %" PRIu64 " (0x%" PRIx64 ")", d->name, v->size, v->size);
    default:
        return g_strdup_printf("%s = \"%s\"", d->name, v->text ? v->text : d->def ? d->def : "");
    }
}

char **viv_opts_describe(const struct viv_opts *o)
{
    GPtrArray *lines = g_ptr_array_new();

    for (size_t i = 0; i < o->count; i++) {
        const struct viv_opt_def *d = &o->def[i];
        bool number = d->type == VIV_OPT_INT || d->type == VIV_OPT_SIZE;

        if (d->type == VIV_OPT_REFUSED || (number && !o->values[i].text && !d->def))
            continue;
        g_ptr_array_add(lines, describe(d, &o->values[i]));
    }
    g_ptr_array_add(lines, NULL);
    return (char **)g_ptr_array_free(lines, FALSE);
}

void viv_opts_print_help(const char *what, const struct viv_opt_def *def, FILE *out)
{
    static const char *const types[] = {
        [VIV_OPT_STR] = "str",   [VIV_OPT_BOOL] = "bool", [VIV_OPT_INT] = "int",
        [VIV_OPT_SIZE] = "size", [VIV_OPT_ENUM] = "",     [VIV_OPT_LIST] = "str (repeatable)",
    };

    fprintf(out, "%s options:\n", what);
    for (; def && def->name; def++) {
        if (def->type == VIV_OPT_REFUSED)
            continue;
        fprintf(out, "  %s=<", def->name);
        if (def->type == VIV_OPT_ENUM) {
            for (size_t i = 0; def->values[i]; i++)
                fprintf(out, "%s%s", i ? "/" : "", def->values[i]);
        }
        fprintf(out, "%s>%s%s", types[def->type], def->help ? " - " : "", def->help ? def->help : "");
        if (def->def)
            fprintf(out, " (default: %s)", def->def);
        fputc('\n', out);
    }
}
