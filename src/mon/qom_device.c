/* The properties of a device for the object model: what it was made with, defaults included. Its place in the boot order is the one that
 * can be changed: the firmware looks at it when the machine is reset. */
#include "mon/mon_int.h"

#include "bus/bootorder.h"
#include "bus/dev.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BOOTINDEX "bootindex"

static const struct viv_opt_def *find_prop(const struct viv_dev *d, const char *name)
{
    const struct viv_opt_def *p = d->cls->props;

    while (p && p->name && (strcmp(p->name, name) || p->type == VIV_OPT_REFUSED))
        p++;
    return p && p->name ? p : NULL;
}

static json_t *list_value(const struct viv_dev *d, const char *name)
{
    json_t *list = json_array();

    for (size_t i = 0; i < viv_opts_list_len(d->opts, name); i++)
        json_array_append_new(list, viv_mon_text(viv_opts_list_item(d->opts, name, i)));
    return list;
}

/* NULL: it was not given and has no default. */
static json_t *value_of(const struct viv_dev *d, const struct viv_opt_def *p)
{
    if (!strcmp(p->name, BOOTINDEX))
        return json_integer(viv_bootorder_index(d));
    if (!p->def && !viv_opts_given(d->opts, p->name))
        return NULL;
    switch (p->type) {
    case VIV_OPT_BOOL:
        return json_boolean(viv_opts_bool(d->opts, p->name));
    case VIV_OPT_INT:
        return json_integer(viv_opts_int(d->opts, p->name));
    case VIV_OPT_SIZE:
        return json_integer((json_int_t)viv_opts_size(d->opts, p->name));
    case VIV_OPT_LIST:
        return list_value(d, p->name);
    default:
        return viv_mon_text(viv_opts_str(d->opts, p->name));
    }
}

void viv_mon_list_device(const struct viv_dev *d, json_t *list)
{
    for (const struct viv_opt_def *p = d->cls->props; p && p->name; p++) {
        json_t *value = p->type == VIV_OPT_REFUSED ? NULL : value_of(d, p), *about;

        if (!value)
            continue;
        about = viv_mon_property(p);
        json_array_append_new(list, json_pack("{s:s, s:O}", "name", p->name, "type", json_object_get(about, "type")));
        json_decref(about);
        json_decref(value);
    }
}

json_t *viv_mon_get_device(const struct viv_dev *d, const char *property)
{
    const struct viv_opt_def *p = find_prop(d, property);

    return p ? value_of(d, p) : NULL;
}

int viv_mon_set_device(const struct viv_dev *d, const char *property, const char *value, struct viv_err *err)
{
    const struct viv_opt_def *p = find_prop(d, property);
    int64_t n;
    int rc;

    if (!p)
        return viv_fail(err, ENOENT, "Property '%.80s' not found; qom-list names what can be read", property);
    if (strcmp(property, BOOTINDEX))
        return viv_fail(err, EPERM, "Property '%.80s' cannot be set while the machine runs; bootindex can", property);
    rc = viv_parse_i64(value, &n, err);
    if (rc < 0)
        return rc;
    if (n < -1 || n > INT32_MAX)
        return viv_fail(err, ERANGE, "bootindex=%" PRId64 " is out of range: 0 to %d, or -1 for none", n, INT32_MAX);
    return viv_bootorder_move(d, n, err);
}
