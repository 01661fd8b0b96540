/* The manual's page, in Markdown: commands for people, QMP's commands, events, types. */
#include "mon/form.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <string.h>

static void put_members(const GPtrArray *members, GString *out)
{
    for (guint i = 0; i < members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(members, i);

        g_string_append_printf(out, "- `%s%s%s%s`%s%s\n", m->name ? m->name : "", m->optional ? "?" : "", m->name && m->type ? ": " : "",
                               m->type ? m->type : "", m->help ? ": " : "", m->help ? m->help : "");
    }
}

static void need(const char *name, GHashTable *seen, GQueue *todo)
{
    const struct viv_type *t = viv_schema_find(name);

    if (t && t->kind == VIV_TYPE_LIST)
        need(t->element, seen, todo);
    else if (t && t->kind != VIV_TYPE_BUILTIN && g_hash_table_add(seen, (gpointer)t))
        g_queue_push_tail(todo, (gpointer)t);
}

static void put_needed(const struct viv_type *t, GHashTable *seen, GQueue *todo)
{
    for (guint i = 0; i < t->members->len; i++) {
        const struct viv_member *m = g_ptr_array_index(t->members, i);

        if (m->type)
            need(m->type, seen, todo);
    }
    for (guint i = 0; t->variants && i < t->variants->len; i++)
        need(((struct viv_member *)g_ptr_array_index(t->variants, i))->type, seen, todo);
}

static void put_type(const struct viv_type *t, GString *out)
{
    static const char *const what[] = {[VIV_TYPE_ENUM] = "one of", [VIV_TYPE_STRUCT] = "an object", [VIV_TYPE_ALTERNATE] = "one of the types"};

    g_string_append_printf(out, "### %s\n\n%s\n\n", t->name, what[t->kind]);
    put_members(t->members, out);
    for (guint i = 0; t->variants && i < t->variants->len; i++) {
        const struct viv_member *v = g_ptr_array_index(t->variants, i);

        g_string_append_printf(out, "- with `%s` = `%s`: what `%s` has\n", t->tag, v->name, v->type);
    }
    g_string_append_c(out, '\n');
}

static void put_command(const struct viv_mon_cmd *c, GHashTable *seen, GQueue *todo, GString *out)
{
    const struct viv_type *args = viv_schema_args(c);

    g_string_append_printf(out, "### %s\n\n%s\n\n", c->qmp, c->help);
    put_members(args->members, out);
    if (args->members->len)
        g_string_append_c(out, '\n');
    g_string_append_printf(out, "Returns `%s`.\n\n", c->returns ? c->returns : "{}");
    put_needed(args, seen, todo);
    if (c->returns)
        need(c->returns, seen, todo);
}

static void put_people(GString *out)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    g_string_append(out, "# Monitor commands\n\n## For people (HMP)\n\n");
    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (!c->hmp)
            continue;
        g_string_append(out, "- `");
        viv_form_usage(c, out);
        g_string_append_printf(out, "`: %s\n", c->help);
    }
}

void viv_schema_manual(GString *out)
{
    GHashTable *seen = g_hash_table_new(NULL, NULL);
    const struct viv_mon_event_def *e;
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;
    GQueue todo = G_QUEUE_INIT;

    put_people(out);
    g_string_append(out, "\n## For programs (QMP)\n\n");
    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (c->qmp)
            put_command(c, seen, &todo, out);
    }
    g_string_append(out, "## Events\n\n");
    viv_mon_iter_init(&it);
    while ((e = viv_mon_next_event(&it))) {
        g_string_append_printf(out, "### %s\n\n%s\n\n", e->name, e->help);
        put_members(viv_schema_event(e)->members, out);
        g_string_append_c(out, '\n');
        put_needed(viv_schema_event(e), seen, &todo);
    }
    g_string_append(out, "## Types\n\n");
    while (!g_queue_is_empty(&todo)) {
        const struct viv_type *t = g_queue_pop_head(&todo);

        put_type(t, out);
        put_needed(t, seen, &todo);
    }
    g_hash_table_destroy(seen);
}
