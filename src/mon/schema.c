/* The registry of types: from types.def, from option tables. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <string.h>

static GHashTable *types; /* by name */

/* --- making --- */

static void free_member(gpointer p)
{
    struct viv_member *m = p;

    g_free(m->name);
    g_free(m->type);
    g_free(m);
}

static struct viv_type *new_type(const char *name, enum viv_type_kind kind)
{
    struct viv_type *t = g_new0(struct viv_type, 1);

    t->name = g_strdup(name);
    t->kind = kind;
    t->members = g_ptr_array_new_with_free_func(free_member);
    g_assert(!g_hash_table_contains(types, name));
    g_hash_table_insert(types, t->name, t);
    return t;
}

static struct viv_member *add(GPtrArray *to, const char *name, const char *type, bool optional)
{
    struct viv_member *m = g_new0(struct viv_member, 1);

    *m = (struct viv_member){.name = g_strdup(name), .type = g_strdup(type), .optional = optional};
    g_ptr_array_add(to, m);
    return m;
}

static struct viv_member *member(const struct viv_type *t, const char *name)
{
    for (guint i = 0; i < t->members->len; i++) {
        struct viv_member *m = g_ptr_array_index(t->members, i);

        if (!strcmp(m->name, name))
            return m;
    }
    return NULL;
}

static void add_base(struct viv_type *t, const char *name)
{
    const struct viv_type *base = viv_schema_find(name);

    g_assert(base && base->kind == VIV_TYPE_STRUCT); /* one that stands above in types.def */
    for (guint i = 0; i < base->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(base->members, i);

        add(t->members, m->name, m->type, m->optional);
    }
}

/* "a: int, b?: [str], +Base". */
static void add_fields(struct viv_type *t, const char *text)
{
    g_auto(GStrv) fields = g_strsplit(text, ",", -1);

    for (char **f = fields; *f; f++) {
        char *name = g_strstrip(*f), *colon = strchr(name, ':');
        bool optional;

        if (!*name)
            continue;
        if (*name == '+') {
            add_base(t, name + 1);
            continue;
        }
        g_assert(colon && colon > name);
        optional = colon[-1] == '?';
        colon[optional ? -1 : 0] = '\0';
        add(t->members, name, g_strstrip(colon + 1), optional);
    }
}

static void define_struct(const char *name, const char *fields)
{
    add_fields(new_type(name, VIV_TYPE_STRUCT), fields);
}

static void define_enum(const char *name, const char *values)
{
    struct viv_type *t = new_type(name, VIV_TYPE_ENUM);
    g_auto(GStrv) words = g_strsplit(values, " ", -1);

    for (char **w = words; *w; w++)
        add(t->members, *w, NULL, false);
}

static void define_alternate(const char *name, const char *choices)
{
    struct viv_type *t = new_type(name, VIV_TYPE_ALTERNATE);
    g_auto(GStrv) words = g_strsplit(choices, " ", -1);

    for (char **w = words; *w; w++)
        add(t->members, NULL, *w, false);
}

/* `cases`: "inet=InetSocketAddress unix=UnixSocketAddress". */
static void define_union(const char *name, const char *fields, const char *tag, const char *cases)
{
    struct viv_type *t = new_type(name, VIV_TYPE_STRUCT);
    g_auto(GStrv) words = g_strsplit(cases, " ", -1);

    add_fields(t, fields);
    t->tag = g_strdup(tag);
    t->variants = g_ptr_array_new_with_free_func(free_member);
    for (char **w = words; *w; w++) {
        char *eq = strchr(*w, '=');

        g_assert(eq);
        *eq = '\0';
        add(t->variants, *w, eq + 1, false);
    }
}

static void define_all(void)
{
    static const struct { const char *name, *json; } builtins[] = {
        {"str", "string"}, {"int", "int"}, {"number", "number"}, {"bool", "boolean"}, {"null", "null"}, {"any", "value"},
    };

    types = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++)
        new_type(builtins[i].name, VIV_TYPE_BUILTIN)->json = builtins[i].json;
#define STRUCT(name, fields)            define_struct(#name, fields);
#define ENUM(name, values)              define_enum(#name, values);
#define ALTERNATE(name, choices)        define_alternate(#name, choices);
#define UNION(name, fields, tag, cases) define_union(#name, fields, tag, cases);
#include "mon/schema/types.def"
    viv_mon_define_types();
}

/* --- finding --- */

static const struct viv_type *args_of(const char *command)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (!g_strcmp0(c->qmp, command))
            return viv_schema_args(c);
    }
    return NULL;
}

const struct viv_type *viv_schema_find(const char *name)
{
    struct viv_type *t;
    size_t len = strlen(name);

    if (!types)
        define_all();
    t = g_hash_table_lookup(types, name);
    if (!t && name[0] == '[' && name[len - 1] == ']') {
        t = new_type(name, VIV_TYPE_LIST);
        t->element = g_strndup(name + 1, len - 2);
    } else if (!t && g_str_has_prefix(name, "data:")) {
        t = new_type(name, VIV_TYPE_STRUCT);
        add(t->members, "data", name + 5, false);
    } else if (!t && g_str_has_prefix(name, "args:")) {
        return args_of(name + 5);
    }
    return t;
}

/* --- from option tables --- */

static const char *enum_of(const char *const *values)
{
    g_autofree char *text = g_strjoinv(" ", (char **)values), *name = g_strdup_printf("enum %s", text);

    if (!viv_schema_find(name))
        define_enum(name, text);
    return viv_schema_find(name)->name;
}

static const char *type_of(const struct viv_opt_def *d)
{
    switch (d->type) {
    case VIV_OPT_BOOL:
        return "bool";
    case VIV_OPT_INT:
    case VIV_OPT_SIZE:
        return "int";
    case VIV_OPT_ENUM:
        return enum_of(d->values);
    case VIV_OPT_LIST:
        return "[str]";
    default:
        return "str";
    }
}

/* The struct that `name` of `t` is, for what stands behind a dot. */
static struct viv_type *below(struct viv_type *t, const char *name, bool optional)
{
    g_autofree char *full = g_strdup_printf("%s.%s", t->name, name);

    if (!member(t, name))
        add(t->members, name, full, true);
    if (!optional)
        member(t, name)->optional = false;
    if (!viv_schema_find(full))
        define_struct(full, "");
    return g_hash_table_lookup(types, full);
}

/* "cache.direct" is `direct` of the object `cache`. */
static void add_option(struct viv_type *t, const struct viv_opt_def *d, const char *name, const struct viv_type *not_these)
{
    const char *dot = strchr(name, '.');
    g_autofree char *first = dot ? g_strndup(name, dot - name) : NULL;

    if (not_these && member(not_these, first ? first : name))
        return;
    if (dot && (!strcmp(first, "addr") || !strcmp(first, "server"))) { /* always one of these */
        if (!member(t, first))
            add(t->members, first, "SocketAddress", true);
        member(t, first)->optional &= !d->required;
        return;
    }
    if (dot)
        add_option(below(t, first, !d->required), d, dot + 1, NULL);
    else if (!member(t, name))
        add(t->members, name, type_of(d), !d->required)->help = d->help;
}

static void add_options(struct viv_type *t, const struct viv_opt_def *d, const struct viv_type *not_these)
{
    for (; d && d->name; d++) {
        if (d->type != VIV_OPT_REFUSED)
            add_option(t, d, d->name, not_these);
    }
}

void viv_schema_use_union(const char *name, const char *fields, const char *tag,
                          const struct viv_opt_def *(*next)(unsigned i, const char **name))
{
    const struct viv_opt_def *table;
    const char *which;
    struct viv_type *t;

    if (viv_schema_find(name))
        return;
    define_union(name, fields, tag, "none=none");
    t = g_hash_table_lookup(types, name);
    g_ptr_array_set_size(t->variants, 0);
    for (unsigned i = 0; (table = next(i, &which)) != NULL; i++) {
        g_autofree char *full = g_strdup_printf("%s %s", name, which);

        add_options(new_type(full, VIV_TYPE_STRUCT), table, t);
        add(t->variants, which, full, false);
    }
    if (!strcmp(member(t, tag)->type, "cases")) { /* the tag's type: those that there are */
        GString *all = g_string_new(NULL);

        for (guint i = 0; i < t->variants->len; i++)
            g_string_append_printf(all, "%s%s", i ? " " : "", ((struct viv_member *)g_ptr_array_index(t->variants, i))->name);
        g_free(member(t, tag)->type);
        member(t, tag)->type = g_strdup_printf("enum %s", all->str);
        if (!viv_schema_find(member(t, tag)->type))
            define_enum(member(t, tag)->type, all->str);
        g_string_free(all, TRUE);
    }
}

void viv_schema_use_enum(const char *name, const char *values)
{
    if (!viv_schema_find(name))
        define_enum(name, values);
}

void viv_schema_retype(const char *name, const char *which, const char *type, bool optional)
{
    struct viv_type *t = g_hash_table_lookup(types, name);
    struct viv_member *m = t ? member(t, which) : NULL;

    g_assert(m);
    g_free(m->type);
    m->type = g_strdup(type);
    m->optional = optional;
}

const struct viv_type *viv_schema_args(const struct viv_mon_cmd *c)
{
    g_autofree char *name = g_strdup_printf("arguments of %s", c->qmp);
    const struct viv_type *t = viv_schema_find(c->takes ? c->takes : name);

    if (t)
        return t;
    if (c->takes)
        g_error("%s takes '%s', which is no type", c->qmp, c->takes);
    add_options(new_type(name, VIV_TYPE_STRUCT), c->args, NULL);
    return viv_schema_find(name);
}

const struct viv_type *viv_schema_event(const struct viv_mon_event_def *e)
{
    g_autofree char *name = g_strdup_printf("event %s", e->name);

    if (!viv_schema_find(name))
        define_struct(name, e->fields);
    return viv_schema_find(name);
}
