/* The machine's monitors: which commands they have; those about this program. */
#include "cmd/objects.h"
#include "cmd/vm_args.h"

#include "block/options.h"
#include "mon/command.h"
#include "mon/schema.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const char *type_name(const struct viv_opt_def *d)
{
    return d->type == VIV_OPT_BOOL ? "boolean" : d->type == VIV_OPT_INT ? "number" : d->type == VIV_OPT_SIZE ? "size" : "string";
}

/* Some are known by another name than the one that is typed. */
static json_t *option_json(const char *name, const struct viv_opt_def *d)
{
    const char *known = !strcmp(name, "smp") ? "smp-opts" : !strcmp(name, "boot") ? "boot-opts" : name;
    json_t *list = json_array();

    for (; d && d->name; d++) {
        json_t *p;

        if (d->type == VIV_OPT_REFUSED)
            continue;
        p = json_pack("{s:s, s:s}", "name", d->name, "type", type_name(d));
        if (d->help)
            json_object_set_new(p, "help", json_string(d->help));
        if (d->def)
            json_object_set_new(p, "default", json_string(d->def));
        json_array_append_new(list, p);
    }
    return json_pack("{s:s, s:o}", "option", known, "parameters", list);
}

static const struct viv_opt_def option_args[] = {
    {.name = "option", .type = VIV_OPT_STR, .help = "only this one"},
    VIV_OPT_END,
};

static void add(json_t *list, const char *wanted, json_t *take)
{
    if (!wanted || !strcmp(wanted, json_string_value(json_object_get(take, "option"))))
        json_array_append(list, take);
    json_decref(take);
}

/* Options that take the same whatever is said: not -device, -netdev and the like, about which others tell. */
COMMAND(query_options)
{
    const char *wanted = viv_opts_str(o, "option"), *name;
    const struct viv_opt_def *d;

    *result = json_array();
    for (unsigned i = 0; (d = vm_option_table(i, &name)) != NULL; i++)
        add(*result, wanted, option_json(name, d));
    add(*result, wanted, option_json("drive", viv_drive_opts));
    if (!json_array_size(*result)) {
        json_decref(*result);
        *result = NULL;
        return viv_fail(err, ENOENT, "invalid option name: %.80s", wanted);
    }
    return 0;
}

/* --- objects --- */

static int object_add(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_object_add(raw, err);
}

static const struct viv_opt_def object_args[] = {
    {.name = "object", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(object_add_text)
{
    if (viv_mon_choices("object_add", "qom-type", viv_opts_str(o, "object"), viv_object_help, result))
        return 0;
    return viv_object_add_text("object_add", viv_opts_str(o, "object"), err);
}

static const struct viv_opt_def id_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(object_del)
{
    return viv_object_del(viv_opts_str(o, "id"), err);
}

static void types(void)
{
    viv_schema_use_union("ObjectOptions", "qom-type: cases, id: str", "qom-type", cmd_object_opts);
}

static const struct viv_mon_cmd commands[] = {
    {.qmp = "object-add", .help = "make an object", .raw = object_add, .takes = "ObjectOptions"},
    {"object_add", NULL, "object", object_args, "make an object: type,id=id[,prop=value]...", object_add_text},
    {"object_del", "object-del", "id", id_args, "delete an object", object_del},
    {NULL, "query-command-line-options", NULL, option_args, "what options of the command line take", query_options,
     .returns = "[CommandLineOptionInfo]"},
    {0},
};

void vm_use_monitor(void)
{
    viv_mon_use(viv_mon_people);
    viv_mon_use(viv_mon_common);
    viv_mon_use(viv_mon_chardev);
    viv_mon_use(commands);
    viv_mon_use_types(types);
    viv_mon_use_machine();
    viv_mon_use_exports();
}
