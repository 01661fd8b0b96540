/* query-qmp-schema: the reference's "QMP introspection". Types have numbers for names, in the order in which they are met. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <string.h>

struct walk {
    GHashTable *number; /* type to its number, plus 1 */
    GHashTable *done;   /* builtins and lists that have been told */
    GQueue todo;        /* of types to be told */
    json_t *out;
};

static const struct viv_type *need(const char *name)
{
    const struct viv_type *t = viv_schema_find(name);

    if (!t)
        g_error("QMP schema: there is no type '%s'", name);
    return t;
}

/* The name that programs see; the type is told in its turn. */
static char *mask(struct walk *w, const struct viv_type *t)
{
    unsigned n;

    if (t->kind == VIV_TYPE_BUILTIN || t->kind == VIV_TYPE_LIST) {
        g_autofree char *element = t->kind == VIV_TYPE_LIST ? mask(w, need(t->element)) : NULL;

        if (g_hash_table_add(w->done, (gpointer)t))
            g_queue_push_tail(&w->todo, (gpointer)t);
        return element ? g_strdup_printf("[%s]", element) : g_strdup(t->name);
    }
    n = GPOINTER_TO_UINT(g_hash_table_lookup(w->number, t));
    if (!n) {
        n = g_hash_table_size(w->number) + 1;
        g_hash_table_insert(w->number, (gpointer)t, GUINT_TO_POINTER(n));
        g_queue_push_tail(&w->todo, (gpointer)t);
    }
    return g_strdup_printf("%u", n - 1);
}

static json_t *masked(struct walk *w, const char *type)
{
    g_autofree char *name = mask(w, need(type));

    return json_string(name);
}

static json_t *members(struct walk *w, const struct viv_type *t)
{
    json_t *list = json_array();

    for (guint i = 0; i < t->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->members, i);
        json_t *o = json_object();

        if (m->name)
            json_object_set_new(o, "name", json_string(m->name));
        if (m->type)
            json_object_set_new(o, "type", masked(w, m->type));
        if (m->optional)
            json_object_set_new(o, "default", json_null());
        json_array_append_new(list, o);
    }
    return list;
}

static const char *variant(const struct viv_type *t, const char *name)
{
    for (guint i = 0; i < t->variants->len; i++) {
        const struct viv_member *v = g_ptr_array_index(t->variants, i);

        if (!strcmp(v->name, name))
            return v->type;
    }
    return "Empty";
}

/* One for each value of the tag, "Empty" where nothing comes with it. */
static void put_variants(struct walk *w, const struct viv_type *t, json_t *o)
{
    const struct viv_type *tag = NULL;
    json_t *list = json_array();

    for (guint i = 0; i < t->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->members, i);

        if (!strcmp(m->name, t->tag))
            tag = need(m->type);
    }
    for (guint i = 0; tag && i < tag->members->len; i++) {
        const char *name = ((struct viv_member *)g_ptr_array_index(tag->members, i))->name;

        json_array_append_new(list, json_pack("{s:s, s:o}", "case", name, "type", masked(w, variant(t, name))));
    }
    json_object_set_new(o, "tag", json_string(t->tag));
    json_object_set_new(o, "variants", list);
}

static void put_values(const struct viv_type *t, json_t *o)
{
    json_t *values = json_array();

    for (guint i = 0; i < t->members->len; i++)
        json_array_append_new(values, json_string(((struct viv_member *)g_ptr_array_index(t->members, i))->name));
    json_object_set_new(o, "values", values);
}

static void tell(struct walk *w, const struct viv_type *t)
{
    static const char *const kinds[] = {[VIV_TYPE_BUILTIN] = "builtin", [VIV_TYPE_ENUM] = "enum", [VIV_TYPE_STRUCT] = "object",
                                        [VIV_TYPE_ALTERNATE] = "alternate", [VIV_TYPE_LIST] = "array"};
    json_t *o = json_pack("{s:o, s:s}", "name", masked(w, t->name), "meta-type", kinds[t->kind]);

    if (t->kind == VIV_TYPE_BUILTIN)
        json_object_set_new(o, "json-type", json_string(t->json));
    else if (t->kind == VIV_TYPE_LIST)
        json_object_set_new(o, "element-type", masked(w, t->element));
    else
        json_object_set_new(o, "members", members(w, t));
    if (t->kind == VIV_TYPE_ENUM)
        put_values(t, o);
    if (t->tag)
        put_variants(w, t, o);
    json_array_append_new(w->out, o);
}

json_t *viv_schema_query(void)
{
    struct walk w = {g_hash_table_new(NULL, NULL), g_hash_table_new(NULL, NULL), G_QUEUE_INIT, json_array()};
    const struct viv_mon_event_def *e;
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (c->qmp)
            json_array_append_new(w.out, json_pack("{s:s, s:s, s:o, s:o, s:b}", "name", c->qmp, "meta-type", "command", "arg-type",
                                                   masked(&w, viv_schema_args(c)->name), "ret-type",
                                                   masked(&w, c->returns ? c->returns : "Empty"), "allow-oob", 0));
    }
    viv_mon_iter_init(&it);
    while ((e = viv_mon_next_event(&it)))
        json_array_append_new(w.out, json_pack("{s:s, s:s, s:o}", "name", e->name, "meta-type", "event", "arg-type",
                                               masked(&w, viv_schema_event(e)->name)));
    while (!g_queue_is_empty(&w.todo))
        tell(&w, g_queue_pop_head(&w.todo));
    g_hash_table_destroy(w.number);
    g_hash_table_destroy(w.done);
    return w.out;
}
