/* Text and JSON into raw key/value pairs; no schema yet.
 *
 * "a=b,c,d=x,,y": pairs end at a single comma, ",," is a comma in a value. A first word without '=' is the value
 * of the implied key; any other word without '=' is a bare switch. JSON objects nest to MAX_DEPTH. */
#include "opt/raw_int.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define MAX_DEPTH 32

static void pair_clear(gpointer p)
{
    struct viv_raw_pair *pair = p;

    g_free(pair->key);
    g_free(pair->value);
}

struct viv_raw_opts *viv_raw_new(const char *what)
{
    struct viv_raw_opts *r = g_new0(struct viv_raw_opts, 1);

    r->what = g_strdup(what);
    r->pairs = g_array_new(FALSE, FALSE, sizeof(struct viv_raw_pair));
    g_array_set_clear_func(r->pairs, pair_clear);
    return r;
}

void viv_raw_free(struct viv_raw_opts *r)
{
    if (!r)
        return;
    g_array_free(r->pairs, TRUE);
    g_free(r->what);
    g_free(r);
}

static void add_take(struct viv_raw_opts *r, char *key, char *value, bool bare)
{
    struct viv_raw_pair p = {.key = key, .value = value, .bare = bare};

    g_array_append_val(r->pairs, p);
}

/* Reads a value up to a single comma; moves *p past it. */
static char *scan_value(const char **p)
{
    GString *s = g_string_new(NULL);

    for (; **p; (*p)++) {
        if (**p == ',') {
            if ((*p)[1] != ',')
                break;
            (*p)++;
        }
        g_string_append_c(s, **p);
    }
    *p += **p == ',';
    return g_string_free(s, FALSE);
}

static int parse_text(struct viv_raw_opts *r, const char *implied, const char *text,
                      struct viv_err *err)
{
    const char *p = text;
    bool first = true;

    while (*p) {
        size_t len = strcspn(p, "=,");

        if (p[len] != '=' && first && implied) {
            add_take(r, g_strdup(implied), scan_value(&p), false);
        } else if (len == 0) {
            return viv_fail(err, EINVAL, "%s: a name is missing before '%.40s'", r->what, p);
        } else if (p[len] == '=') {
            char *key = g_strndup(p, len);

            p += len + 1;
            add_take(r, key, scan_value(&p), false);
        } else {
            add_take(r, g_strndup(p, len), g_strdup("on"), true);
            p += len + (p[len] == ',');
        }
        first = false;
    }
    return 0;
}

static int add_json(struct viv_raw_opts *r, const char *key, json_t *v, unsigned depth,
                    struct viv_err *err);

static int add_json_object(struct viv_raw_opts *r, const char *prefix, json_t *obj, unsigned depth,
                           struct viv_err *err)
{
    const char *k;
    json_t *v;

    json_object_foreach(obj, k, v) {
        g_autofree char *key = prefix ? g_strdup_printf("%s.%s", prefix, k) : g_strdup(k);
        int rc = add_json(r, key, v, depth, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int add_json(struct viv_raw_opts *r, const char *key, json_t *v, unsigned depth,
                    struct viv_err *err)
{
    if (depth > MAX_DEPTH)
        return viv_fail(err, EINVAL, "%s: JSON nested deeper than %d levels", r->what, MAX_DEPTH);
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return add_json_object(r, key, v, depth + 1, err);
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(v); i++) {
            g_autofree char *item = g_strdup_printf("%s.%zu", key, i);
            int rc = add_json(r, item, json_array_get(v, i), depth + 1, err);

            if (rc < 0)
                return rc;
        }
        return 0;
    case JSON_STRING:
        if (strlen(json_string_value(v)) != json_string_length(v))
            return viv_fail(err, EINVAL, "%s: '%s' holds a NUL character", r->what, key);
        add_take(r, g_strdup(key), g_strdup(json_string_value(v)), false);
        return 0;
    case JSON_INTEGER:
        add_take(r, g_strdup(key), g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(v)),
                 false);
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        add_take(r, g_strdup(key), g_strdup(json_is_true(v) ? "on" : "off"), false);
        return 0;
    case JSON_NULL:
        add_take(r, g_strdup(key), g_strdup(""), false);
        return 0;
    case JSON_REAL:
        break;
    }
    return viv_fail(err, EINVAL, "%s: '%s' is a fraction: no option takes one", r->what, key);
}

int viv_raw_from_json(const char *what, struct json_t *obj, struct viv_raw_opts **out,
                      struct viv_err *err)
{
    struct viv_raw_opts *r = viv_raw_new(what);
    int rc = add_json_object(r, NULL, obj, 0, err);

    if (rc < 0) {
        viv_raw_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static int parse_json(const char *what, const char *text, struct viv_raw_opts **out,
                      struct viv_err *err)
{
    json_error_t je;
    json_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, &je);
    int rc;

    if (!obj)
        return viv_fail(err, EINVAL, "%s: not JSON at column %d: %s", what, je.column, je.text);
    rc = json_is_object(obj) ? viv_raw_from_json(what, obj, out, err)
                             : viv_fail(err, EINVAL, "%s: a JSON object is expected", what);
    json_decref(obj);
    return rc;
}

int viv_raw_parse(const char *what, const char *implied, const char *text, struct viv_raw_opts **out,
                  struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc;

    if (text[0] == '{')
        return parse_json(what, text, out, err);
    r = viv_raw_new(what);
    rc = parse_text(r, implied, text, err);
    if (rc < 0) {
        viv_raw_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static struct viv_raw_pair *find_last(const struct viv_raw_opts *r, const char *key)
{
    for (guint i = r->pairs->len; i-- > 0;) {
        struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, i);

        if (!strcmp(p->key, key))
            return p;
    }
    return NULL;
}

const char *viv_raw_get(const struct viv_raw_opts *r, const char *key)
{
    struct viv_raw_pair *p = find_last(r, key);

    return p ? p->value : NULL;
}

char *viv_raw_take(struct viv_raw_opts *r, const char *key)
{
    char *value = g_strdup(viv_raw_get(r, key));

    for (guint i = r->pairs->len; value && i-- > 0;) {
        if (!strcmp(g_array_index(r->pairs, struct viv_raw_pair, i).key, key))
            g_array_remove_index(r->pairs, i);
    }
    return value;
}

void viv_raw_set(struct viv_raw_opts *r, const char *key, const char *value)
{
    g_free(viv_raw_take(r, key));
    add_take(r, g_strdup(key), g_strdup(value), false);
}

struct viv_raw_opts *viv_raw_copy(const struct viv_raw_opts *r)
{
    struct viv_raw_opts *c = viv_raw_new(r->what);

    for (guint i = 0; i < r->pairs->len; i++) {
        const struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, i);

        add_take(c, g_strdup(p->key), g_strdup(p->value), p->bare);
    }
    return c;
}

/* The pair at *i goes to `to`, with `skip` bytes less of its key; *i is then at the next one. */
static void move_pair(struct viv_raw_opts *r, guint *i, struct viv_raw_opts *to, size_t skip)
{
    const struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, *i);

    add_take(to, g_strdup(p->key + skip), g_strdup(p->value), p->bare);
    g_array_remove_index(r->pairs, *i);
}

/* A bare "nofoo" is the switch foo's. */
/* "hostfwd.0" of the list "hostfwd". */
static bool is_item(const char *key, const struct viv_opt_def *list)
{
    size_t len = strlen(list->name);

    return !strncmp(key, list->name, len) && key[len] == '.' && key[len + 1] && !key[len + 1 + strspn(key + len + 1, "0123456789")];
}

static bool is_known(const struct viv_raw_pair *p, const struct viv_opt_def *def)
{
    for (; def->name; def++)
        if (!strcmp(p->key, def->name) || (def->type == VIV_OPT_LIST && is_item(p->key, def)) ||
            (p->bare && def->type == VIV_OPT_BOOL && g_str_has_prefix(p->key, "no") && !strcmp(p->key + 2, def->name)))
            return true;
    return false;
}

struct viv_raw_opts *viv_raw_take_known(struct viv_raw_opts *r, const struct viv_opt_def *def)
{
    struct viv_raw_opts *to = viv_raw_new(r->what);

    for (guint i = 0; i < r->pairs->len;) {
        if (is_known(&g_array_index(r->pairs, struct viv_raw_pair, i), def))
            move_pair(r, &i, to, 0);
        else
            i++;
    }
    return to;
}

struct viv_raw_opts *viv_raw_take_below(struct viv_raw_opts *r, const char *name, const char *what)
{
    struct viv_raw_opts *to = NULL;
    size_t len = strlen(name);

    for (guint i = 0; i < r->pairs->len;) {
        const char *key = g_array_index(r->pairs, struct viv_raw_pair, i).key;

        if (strncmp(key, name, len) || key[len] != '.' || !key[len + 1]) {
            i++;
            continue;
        }
        to = to ? to : viv_raw_new(what);
        move_pair(r, &i, to, len + 1);
    }
    return to;
}

size_t viv_raw_count(const struct viv_raw_opts *r)
{
    return r->pairs->len;
}

void viv_raw_at(const struct viv_raw_opts *r, size_t i, const char **key, const char **value)
{
    const struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, i);

    *key = p->key;
    *value = p->value;
}

void viv_raw_add_absent(struct viv_raw_opts *to, const struct viv_raw_opts *from)
{
    for (size_t i = 0; i < viv_raw_count(from); i++) {
        const char *key, *value;

        viv_raw_at(from, i, &key, &value);
        if (!viv_raw_get(to, key))
            viv_raw_set(to, key, value);
    }
}

const char *viv_raw_what(const struct viv_raw_opts *r)
{
    return r->what;
}

bool viv_raw_help(const struct viv_raw_opts *r)
{
    for (guint i = 0; i < r->pairs->len; i++) {
        const struct viv_raw_pair *p = &g_array_index(r->pairs, struct viv_raw_pair, i);

        if (p->bare && (!strcmp(p->key, "help") || !strcmp(p->key, "?")))
            return true;
        if (i == 0 && (!strcmp(p->value, "help") || !strcmp(p->value, "?")))
            return true;
    }
    return false;
}
