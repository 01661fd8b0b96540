/* Objects (-object) as QEMU's object model names them: /objects/ID. An option is a property; those that are members of one thing
 * ("limits.iops-total") are one property, whose value is an object. */
#include "mon/mon_int.h"

#include "opt/object.h"

#include <errno.h>
#include <string.h>

static json_t *option_json(struct viv_opts *o, const struct viv_opt_def *d)
{
    const char *text;

    switch (d->type) {
    case VIV_OPT_BOOL:
        return json_boolean(viv_opts_bool(o, d->name));
    case VIV_OPT_INT:
        return json_integer(viv_opts_int(o, d->name));
    case VIV_OPT_SIZE:
        return json_integer((json_int_t)viv_opts_size(o, d->name));
    default:
        text = viv_opts_str(o, d->name);
        return text ? viv_mon_text(text) : NULL;
    }
}

/* What is no property: the id, what is refused, the other names of what others say. */
static bool is_property(const struct viv_opt_def *d)
{
    return strcmp(d->name, "id") && d->type != VIV_OPT_REFUSED && d->type != VIV_OPT_LIST && !g_str_has_prefix(d->name, "x-");
}

/* "limits" of "limits.iops-total"; NULL: it is no member. g_free. */
static char *group_of(const struct viv_opt_def *d)
{
    const char *dot = strchr(d->name, '.');

    return dot ? g_strndup(d->name, (gsize)(dot - d->name)) : NULL;
}

static json_t *properties(const struct viv_object *object)
{
    struct viv_opts *o = viv_object_options(object);
    json_t *all = json_object();

    for (const struct viv_opt_def *d = viv_object_class(object)->opts; o && d->name; d++) {
        g_autofree char *group = group_of(d);
        json_t *value = is_property(d) ? option_json(o, d) : NULL;

        if (group && !json_object_get(all, group))
            json_object_set_new(all, group, json_object());
        if (value)
            json_object_set_new(group ? json_object_get(all, group) : all, group ? d->name + strlen(group) + 1 : d->name, value);
    }
    viv_opts_free(o);
    return all;
}

void viv_mon_list_object(const struct viv_object *object, json_t *list)
{
    json_t *all = properties(object), *value;
    const char *name;

    json_object_foreach(all, name, value) {
        const char *type = json_is_object(value) ? "struct" : json_is_boolean(value) ? "bool" : json_is_integer(value) ? "int" : "string";

        json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "type", type));
    }
    json_decref(all);
}

json_t *viv_mon_get_object(const struct viv_object *object, const char *property)
{
    json_t *all = properties(object), *value = json_incref(json_object_get(all, property));

    json_decref(all);
    return value;
}

json_t *viv_mon_object_properties(const struct viv_object_class *c)
{
    g_autoptr(GHashTable) groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_t *list = json_array();

    for (const struct viv_opt_def *d = c->opts; d->name; d++) {
        char *group = group_of(d);

        if (!is_property(d))
            g_free(group);
        else if (!group)
            json_array_append_new(list, viv_mon_property(d));
        else if (g_hash_table_add(groups, group))
            json_array_append_new(list, json_pack("{s:s, s:s}", "name", group, "type", "struct"));
    }
    return list;
}

int viv_mon_set_object(struct viv_object *object, const char *property, const char *value, const struct viv_raw_opts *members, struct viv_err *err)
{
    const char *type = viv_object_class(object)->type, *key, *text;
    json_t *there = viv_mon_get_object(object, property);
    bool known = there, has_members = json_is_object(there);
    g_autofree char *what = g_strdup_printf("object '%s'", viv_object_id(object));
    struct viv_raw_opts *some;
    int rc;

    json_decref(there);
    if (!known)
        return viv_fail(err, ENOENT, "Property '%s.%.60s' not found", type, property);
    if (has_members != !value)
        return viv_fail(err, EINVAL, "Invalid parameter type for '%.60s', expected: %s", property, has_members ? "object" : "a value");
    some = viv_raw_new(what);
    if (value)
        viv_raw_set(some, property, value);
    for (size_t i = 0; members && i < viv_raw_count(members); i++) {
        g_autofree char *whole = NULL;

        viv_raw_at(members, i, &key, &text);
        whole = g_strconcat(property, ".", key, NULL);
        viv_raw_set(some, whole, text);
    }
    rc = viv_object_change(object, some, err);
    viv_raw_free(some);
    return rc;
}
