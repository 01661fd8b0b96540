/* Arguments against their types; the tables against themselves. */
#include "mon/form.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <errno.h>
#include <string.h>

/* --- arguments --- */

#define DEEP 64 /* objects and lists in each other */

static int check(const struct viv_type *t, json_t *v, const char *path, unsigned depth, struct viv_err *err);

static bool builtin_fits(const char *json, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return !strcmp(json, "string") || !strcmp(json, "value");
    case JSON_INTEGER:
        return !strcmp(json, "int") || !strcmp(json, "number") || !strcmp(json, "value");
    case JSON_REAL:
        return !strcmp(json, "number") || !strcmp(json, "value");
    case JSON_TRUE:
    case JSON_FALSE:
        return !strcmp(json, "boolean") || !strcmp(json, "value");
    case JSON_NULL:
        return !strcmp(json, "null") || !strcmp(json, "value");
    default:
        return !strcmp(json, "value");
    }
}

static bool fits(const struct viv_type *t, const json_t *v)
{
    switch (t->kind) {
    case VIV_TYPE_BUILTIN:
        return builtin_fits(t->json, v);
    case VIV_TYPE_ENUM:
        return json_is_string(v);
    case VIV_TYPE_LIST:
        return json_is_array(v);
    case VIV_TYPE_STRUCT:
        return json_is_object(v);
    case VIV_TYPE_ALTERNATE:
        break;
    }
    for (guint i = 0; i < t->members->len; i++) {
        if (fits(viv_schema_find(((struct viv_member *)g_ptr_array_index(t->members, i))->type), v))
            return true;
    }
    return false;
}

static const char *expected(const struct viv_type *t)
{
    switch (t->kind) {
    case VIV_TYPE_BUILTIN:
        return !strcmp(t->json, "int") ? "integer" : t->json;
    case VIV_TYPE_ENUM:
        return "string";
    case VIV_TYPE_LIST:
        return "array";
    case VIV_TYPE_STRUCT:
        return "object";
    case VIV_TYPE_ALTERNATE:
        break;
    }
    return expected(viv_schema_find(((struct viv_member *)g_ptr_array_index(t->members, 0))->type));
}

/* Those of them that are known. */
static int check_members(const struct viv_type *t, json_t *v, const char *path, unsigned depth, struct viv_err *err)
{
    for (guint i = 0; i < t->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->members, i);
        json_t *given = json_object_get(v, m->name);
        g_autofree char *name = g_strdup_printf("%s%s%s", path, *path ? "." : "", m->name);
        int rc = given ? check(viv_schema_find(m->type), given, name, depth + 1, err) : 0;

        if (rc < 0)
            return rc;
        if (!given && !m->optional && viv_schema_find(m->type)->kind == VIV_TYPE_LIST) /* an empty one is none to the option tables */
            return viv_fail(err, EINVAL, "Parameter '%.80s' is missing", name);
    }
    return 0;
}

static int check_struct(const struct viv_type *t, json_t *v, const char *path, unsigned depth, struct viv_err *err)
{
    const char *tag = t->tag ? json_string_value(json_object_get(v, t->tag)) : NULL;
    int rc = check_members(t, v, path, depth, err);

    for (guint i = 0; tag && !rc && i < t->variants->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->variants, i);

        if (!strcmp(m->name, tag))
            rc = check_struct(viv_schema_find(m->type), v, path, depth, err);
    }
    return rc;
}

static int check(const struct viv_type *t, json_t *v, const char *path, unsigned depth, struct viv_err *err)
{
    int rc = 0;

    if (depth > DEEP)
        return viv_fail(err, EINVAL, "'%.80s' is nested too deep", path);
    if (!fits(t, v))
        return viv_fail(err, EINVAL, "Invalid parameter type for '%.80s', expected: %s", path, expected(t));
    if (t->kind == VIV_TYPE_ALTERNATE) {
        for (guint i = 0; i < t->members->len; i++) {
            const struct viv_type *one = viv_schema_find(((struct viv_member *)g_ptr_array_index(t->members, i))->type);

            if (fits(one, v))
                return check(one, v, path, depth + 1, err);
        }
    }
    for (size_t i = 0; t->kind == VIV_TYPE_LIST && !rc && i < json_array_size(v); i++) {
        g_autofree char *name = g_strdup_printf("%s[%zu]", path, i);

        rc = check(viv_schema_find(t->element), json_array_get(v, i), name, depth + 1, err);
    }
    return t->kind == VIV_TYPE_STRUCT ? check_struct(t, v, path, depth, err) : rc;
}

int viv_schema_check(const struct viv_mon_cmd *c, json_t *args, struct viv_err *err)
{
    return args ? check(viv_schema_args(c), args, "", 0, err) : 0;
}

/* --- the tables --- */

static void check_type(const char *name, const char *where, GHashTable *seen, GString *out)
{
    const struct viv_type *t = viv_schema_find(name);

    if (!t)
        g_string_append_printf(out, "%s: there is no type '%s'\n", where, name);
    if (!t || !g_hash_table_add(seen, (gpointer)t))
        return;
    if (t->element)
        check_type(t->element, where, seen, out);
    for (guint i = 0; i < t->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->members, i);

        if (m->type)
            check_type(m->type, where, seen, out);
    }
    for (guint i = 0; t->variants && i < t->variants->len; i++)
        check_type(((struct viv_member *)g_ptr_array_index(t->variants, i))->type, where, seen, out);
}

static void check_command(const struct viv_mon_cmd *c, GHashTable *seen, GString *out)
{
    const char *name = c->qmp ? c->qmp : c->hmp;

    if (!c->help || !*c->help)
        g_string_append_printf(out, "%s: no help\n", name);
    if (!c->fn == !c->raw)
        g_string_append_printf(out, "%s: one of fn and raw\n", name);
    if (c->raw && (c->hmp || !c->takes || c->args))
        g_string_append_printf(out, "%s: raw is for QMP alone, with `takes` and without `args`\n", name);
    if (c->qmp)
        check_type(viv_schema_args(c)->name, name, seen, out);
    if (c->returns)
        check_type(c->returns, name, seen, out);
    if (c->hmp)
        viv_form_problems(c, out);
}

void viv_schema_problems(GString *out)
{
    GHashTable *seen = g_hash_table_new(NULL, NULL), *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const struct viv_mon_event_def *e;
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if ((c->qmp && !g_hash_table_add(names, g_strdup_printf("q%s", c->qmp))) ||
            (c->hmp && !g_hash_table_add(names, g_strdup_printf("h%s", c->hmp))))
            g_string_append_printf(out, "%s: twice\n", c->qmp ? c->qmp : c->hmp);
        check_command(c, seen, out);
    }
    viv_mon_iter_init(&it);
    while ((e = viv_mon_next_event(&it))) {
        if (!e->help || !*e->help)
            g_string_append_printf(out, "%s: no help\n", e->name);
        check_type(viv_schema_event(e)->name, e->name, seen, out);
    }
    g_hash_table_destroy(seen);
    g_hash_table_destroy(names);
}
