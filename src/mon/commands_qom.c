/* Our devices as QEMU's object model names them: /machine/peripheral has those with an id, /machine/unattached all others by their
 * paths, /machine/cpu[N] the CPUs, /objects what -object made. What a path's properties are is what can be read here. */
#include "mon/mon_int.h"

#include "bus/dev.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_models.h"
#include "machine/vm.h"
#include "opt/object.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const char *arch(void)
{
    return viv_vm_config()->cpu_32bit ? "i386" : "x86_64";
}

/* --- types --- */

static json_t *type_json(json_t *name_take, bool abstract, const char *parent)
{
    json_t *o = json_pack("{s:o}", "name", name_take);

    if (abstract)
        json_object_set_new(o, "abstract", json_true());
    if (parent)
        json_object_set_new(o, "parent", json_string(parent));
    return o;
}

static const char *parent_of(const struct viv_dev_class *c)
{
    static const char *const parents[] = {[VIV_BUS_ISA] = "isa-device",   [VIV_BUS_PCI] = "pci-device",   [VIV_BUS_VIRTIO] = "virtio-device",
                                          [VIV_BUS_VIRTIO_SERIAL] = "virtio-serial-port", [VIV_BUS_IDE] = "ide-device", [VIV_BUS_SCSI] = "scsi-device",
                                          [VIV_BUS_USB] = "usb-device"};

    return (unsigned)c->bus < G_N_ELEMENTS(parents) && parents[c->bus] ? parents[c->bus] : "device";
}

/* Adds the type if it is one of what is asked for: itself or one of its ancestors is `wanted`. */
static void add_type(json_t *list, const char *name, const char *parent, const char *wanted, bool abstract, struct viv_opts *o)
{
    bool is_object = viv_object_class_named(name), is_device = g_strcmp0(parent, "machine") && strcmp(name, "machine") && !is_object;
    bool fits = !wanted || !strcmp(wanted, name) || !g_strcmp0(wanted, parent) || !strcmp(wanted, "object") ||
                (!strcmp(wanted, "device") && is_device) || (!strcmp(wanted, "user-creatable") && is_object);

    if (abstract && !(viv_opts_given(o, "abstract") && viv_opts_bool(o, "abstract")))
        return;
    if (fits)
        json_array_append_new(list, type_json(json_string(name), abstract, parent));
}

static const struct viv_opt_def list_types_args[] = {
    {.name = "implements", .type = VIV_OPT_STR, .help = "only what is one of these"},
    {.name = "abstract", .type = VIV_OPT_BOOL, .help = "abstract types too"},
    VIV_OPT_END,
};

COMMAND(list_types)
{
    static const char *const special[] = {"base", "host", "max"};
    const char *wanted = viv_opts_str(o, "implements");
    g_autofree char *cpu = g_strdup_printf("%s-cpu", arch());

    *result = json_array();
    add_type(*result, "device", "object", wanted, true, o);
    add_type(*result, "machine", "object", wanted, true, o);
    add_type(*result, cpu, "device", wanted, true, o);
    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++)
        add_type(*result, (*c)->name, parent_of(*c), wanted, false, o);
    for (unsigned i = 0; viv_object_class_at(i); i++)
        add_type(*result, viv_object_class_at(i)->type, viv_object_class_at(i)->parent ? viv_object_class_at(i)->parent : "object", wanted, false, o);
    for (const struct viv_machine_class *const *m = viv_machines(); *m; m++) {
        g_autofree char *name = g_strdup_printf("%s-machine", (*m)->name);

        add_type(*result, name, "machine", wanted, false, o);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(special); i++) {
        g_autofree char *name = g_strdup_printf("%s-%s", special[i], cpu);

        add_type(*result, name, cpu, wanted, false, o);
    }
    for (const struct viv_cpu_model *m = viv_cpu_models; m->name; m++) {
        g_autofree char *name = g_strdup_printf("%s-%s", m->name, cpu);

        add_type(*result, name, cpu, wanted, false, o);
    }
    return 0;
}

/* --- properties of types --- */

static const char *type_name(const struct viv_opt_def *d)
{
    static const char *const names[] = {[VIV_OPT_STR] = "str",  [VIV_OPT_BOOL] = "bool", [VIV_OPT_INT] = "int",
                                        [VIV_OPT_SIZE] = "size", [VIV_OPT_ENUM] = "enum", [VIV_OPT_LIST] = "list"};

    return names[d->type];
}

static json_t *default_json(const struct viv_opt_def *d)
{
    struct viv_err ignored = VIV_ERR_INIT;
    uint64_t n;
    bool on;

    if (d->type == VIV_OPT_BOOL && !viv_parse_bool(d->def, &on, &ignored))
        return json_boolean(on);
    if ((d->type == VIV_OPT_INT || d->type == VIV_OPT_SIZE) && !viv_parse_size(d->def, 1, &n, &ignored) && n <= INT64_MAX)
        return json_integer((json_int_t)n);
    return json_string(d->def);
}

json_t *viv_mon_property(const struct viv_opt_def *d)
{
    json_t *p = json_pack("{s:s, s:s}", "name", d->name, "type", type_name(d));

    if (d->help)
        json_object_set_new(p, "description", json_string(d->help));
    if (d->def)
        json_object_set_new(p, "default-value", default_json(d));
    return p;
}

static json_t *properties_of(const struct viv_opt_def *d)
{
    json_t *list = json_array();

    for (; d && d->name; d++) {
        if (d->type != VIV_OPT_REFUSED)
            json_array_append_new(list, viv_mon_property(d));
    }
    return list;
}

static const struct viv_opt_def typename_args[] = {
    {.name = "typename", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static int not_found(const char *what, const char *name, struct viv_err *err)
{
    viv_mon_error_class("DeviceNotFound");
    return viv_fail(err, ENOENT, "%s '%.80s' not found", what, name);
}

COMMAND(device_properties)
{
    const char *name = viv_opts_str(o, "typename");
    const struct viv_dev_class *c = viv_dev_class_find(name);

    if (!c)
        return not_found("Device", name, err);
    *result = properties_of(c->props);
    return 0;
}

/* Of machines and objects too. */
COMMAND(type_properties)
{
    const char *name = viv_opts_str(o, "typename");
    const struct viv_dev_class *c = viv_dev_class_find(name);
    g_autofree char *machine = g_str_has_suffix(name, "-machine") ? g_strndup(name, strlen(name) - 8) : NULL;
    const struct viv_machine_class *m = machine ? viv_machine_find(machine) : NULL;

    const struct viv_object_class *object = viv_object_class_named(name);

    if (!c && !m && !object)
        return not_found("Class", name, err);
    *result = object ? viv_mon_object_properties(object) : properties_of(c ? c->props : m->props);
    return 0;
}

/* --- paths --- */

struct place {
    enum { AT_ROOT, AT_MACHINE, AT_PERIPHERAL, AT_UNATTACHED, AT_DEVICE, AT_CPU, AT_OBJECTS, AT_OBJECT } kind;
    struct viv_dev *dev;
    struct viv_vcpu *cpu;
    struct viv_object *object;
};

static struct viv_dev *unattached(const char *path)
{
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        if (!d->id && !strcmp(d->path, path))
            return d;
    }
    return NULL;
}

/* A virtio device and its transport are one here: ".../virtio-backend" is the device itself. "/machine/" is "/machine". */
static char *clean(const char *path)
{
    static const char backend[] = "/virtio-backend";
    size_t len = strlen(path) - (g_str_has_suffix(path, backend) ? strlen(backend) : 0);

    while (len > 1 && path[len - 1] == '/')
        len--;
    return g_strndup(path, len);
}

/* An id alone will do, if it is one thing's. */
static void find_id(const char *id, struct place *p)
{
    struct viv_object *object = viv_object_find(id);
    struct viv_dev *d = viv_dev_find(id);

    *p = object && !d ? (struct place){AT_OBJECT, .object = object} : (struct place){AT_DEVICE, object ? NULL : d};
}

static int find_place(const char *path, struct place *p, struct viv_err *err)
{
    g_autofree char *whole = clean(path);
    unsigned cpu;
    char end;

    *p = (struct place){AT_ROOT};
    path = whole;
    if (!strcmp(path, "/"))
        return 0;
    if (*path != '/')
        find_id(path, p);
    else if (!strcmp(path, "/objects"))
        p->kind = AT_OBJECTS;
    else if (g_str_has_prefix(path, "/objects/"))
        *p = (struct place){AT_OBJECT, .object = viv_object_find(path + strlen("/objects/"))};
    else if (g_str_has_prefix(path, "/machine/peripheral/"))
        *p = (struct place){AT_DEVICE, viv_dev_find(path + strlen("/machine/peripheral/"))};
    else if (g_str_has_prefix(path, "/machine/unattached/"))
        *p = (struct place){AT_DEVICE, unattached(path + strlen("/machine/unattached/"))};
    else if (sscanf(path, "/machine/cpu[%u]%c", &cpu, &end) == 1)
        *p = (struct place){AT_CPU, NULL, cpu < viv_vcpu_count ? viv_vcpus[cpu] : NULL};
    else if (!strcmp(path, "/machine") || !strcmp(path, "/machine/peripheral") || !strcmp(path, "/machine/unattached"))
        p->kind = path[8] == '\0' ? AT_MACHINE : path[9] == 'p' ? AT_PERIPHERAL : AT_UNATTACHED;
    if (p->kind == AT_ROOT || (p->kind == AT_DEVICE && !p->dev) || (p->kind == AT_CPU && !p->cpu) || (p->kind == AT_OBJECT && !p->object)) {
        viv_mon_error_class("DeviceNotFound");
        return viv_fail(err, ENOENT, "Device '%.80s' not found", path);
    }
    return 0;
}

static void add_property(json_t *list, const char *type, const char *name)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "type", type));
}

static void add_child(json_t *list, const char *type, const char *name)
{
    json_array_append_new(list, json_pack("{s:s, s:o}", "name", name, "type", json_sprintf("child<%s>", type)));
}

static void list_machine(json_t *list)
{
    g_autofree char *cpu = g_strdup_printf("%s-%s-cpu", viv_vm_cpuid()->model, arch());

    add_child(list, "container", "peripheral");
    add_child(list, "container", "unattached");
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        g_autofree char *name = g_strdup_printf("cpu[%u]", i);

        add_child(list, cpu, name);
    }
}

static const struct viv_opt_def path_args[] = {
    {.name = "path", .type = VIV_OPT_STR, .required = true, .help = "/machine/..., /objects/..."},
    VIV_OPT_END,
};

COMMAND(qom_list)
{
    struct place p;
    json_t *ignored;
    int rc = find_place(viv_opts_str(o, "path"), &p, err);

    if (rc < 0)
        return rc;
    *result = json_array();
    add_property(*result, "string", "type");
    if (p.kind == AT_ROOT) {
        g_autofree char *machine = g_strdup_printf("%s-machine", viv_vm_config()->cls->name);

        add_child(*result, machine, "machine");
        add_child(*result, "container", "objects");
    } else if (p.kind == AT_MACHINE) {
        list_machine(*result);
    } else if (p.kind == AT_OBJECTS) {
        for (struct viv_object *x = viv_object_next(NULL); x; x = viv_object_next(x))
            add_child(*result, viv_object_class(x)->type, viv_object_id(x));
    } else if (p.kind == AT_OBJECT) {
        viv_mon_list_object(p.object, *result);
    } else if (p.kind == AT_PERIPHERAL || p.kind == AT_UNATTACHED) {
        for (struct viv_dev *d = viv_dev_first(); d; d = d->next)
            if (!d->id == (p.kind == AT_UNATTACHED))
                add_child(*result, d->cls->name, d->id ? d->id : d->path);
    } else if (p.kind == AT_DEVICE) {
        add_property(*result, "bool", "realized");
        viv_mon_list_device(p.dev, *result);
        if (viv_mon_balloon_get(p.dev, "guest-stats-polling-interval", &ignored)) {
            add_property(*result, "guest statistics", "guest-stats");
            add_property(*result, "int", "guest-stats-polling-interval");
            json_decref(ignored);
        }
    } else {
        add_property(*result, "int", "apic-id");
        add_property(*result, "strList", "unavailable-features");
    }
    return 0;
}

static const struct viv_opt_def get_args[] = {
    {.name = "path", .type = VIV_OPT_STR, .required = true, .help = "/machine/..., /objects/..."},
    {.name = "property", .type = VIV_OPT_STR, .required = true, .help = "one that qom-list names"},
    VIV_OPT_END,
};

static json_t *type_at(const struct place *p)
{
    if (p->kind == AT_DEVICE)
        return json_string(p->dev->cls->name);
    if (p->kind == AT_CPU)
        return json_sprintf("%s-%s-cpu", viv_vm_cpuid()->model, arch());
    if (p->kind == AT_OBJECT)
        return json_string(viv_object_class(p->object)->type);
    return p->kind == AT_MACHINE ? json_sprintf("%s-machine", viv_vm_config()->cls->name) : json_string("container");
}

COMMAND(qom_get)
{
    const char *property = viv_opts_str(o, "property");
    struct place p;
    int rc = find_place(viv_opts_str(o, "path"), &p, err);

    if (rc < 0)
        return rc;
    if (!strcmp(property, "type"))
        *result = type_at(&p);
    else if (p.kind == AT_DEVICE && !strcmp(property, "realized"))
        *result = json_true();
    else if (p.kind == AT_CPU && !strcmp(property, "apic-id"))
        *result = json_integer(p.cpu->apic_id);
    else if (p.kind == AT_CPU && !strcmp(property, "unavailable-features"))
        *result = json_array(); /* what the accelerator lacks the CPU was made without */
    else if (p.kind == AT_DEVICE && !viv_mon_balloon_get(p.dev, property, result))
        *result = viv_mon_get_device(p.dev, property);
    else if (p.kind == AT_OBJECT)
        *result = viv_mon_get_object(p.object, property);
    return *result ? 0 : viv_fail(err, ENOENT, "Property '%.80s' not found; qom-list names what can be read", property);
}

static int set_value(const struct place *p, const char *property, const char *value, const struct viv_raw_opts *members, struct viv_err *err)
{
    int64_t n;
    int rc;

    if (p->kind == AT_OBJECT)
        return viv_mon_set_object(p->object, property, value, members, err);
    if (p->kind != AT_DEVICE)
        return viv_fail(err, ENOENT, "Property '%.80s' cannot be set; those of devices and objects can", property);
    if (strcmp(property, "guest-stats-polling-interval"))
        return viv_mon_set_device(p->dev, property, value ? value : "", err);
    rc = viv_parse_i64(value ? value : "", &n, err);
    return rc < 0 ? rc : viv_mon_balloon_set(p->dev, property, n, err);
}

static int set_property(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    g_autofree char *path = viv_raw_take(raw, "path"), *property = viv_raw_take(raw, "property"), *value = viv_raw_take(raw, "value");
    struct viv_raw_opts *members = viv_raw_take_below(raw, "value", "value");
    const char *key, *text;
    struct place p;
    int rc = 0;

    if (!path || !property || (!value && !members))
        rc = viv_fail(err, EINVAL, "Parameter '%s' is missing", !path ? "path" : !property ? "property" : "value");
    if (!rc && viv_raw_count(raw)) {
        viv_raw_at(raw, 0, &key, &text);
        rc = viv_fail(err, EINVAL, "Parameter '%.60s' is unexpected", key);
    }
    if (!rc)
        rc = find_place(path, &p, err);
    if (!rc)
        rc = set_value(&p, property, value, members, err);
    viv_raw_free(members);
    return rc;
}

static const struct viv_opt_def set_args[] = {
    {.name = "path", .type = VIV_OPT_STR, .required = true, .help = "/machine/..., /objects/..."},
    {.name = "property", .type = VIV_OPT_STR, .required = true, .help = "a device's bootindex, a balloon's guest-stats-polling-interval, a throttle-group's limits"},
    {.name = "value", .type = VIV_OPT_STR, .required = true, .help = "a word, or JSON"},
    {.name = "json", .type = VIV_OPT_BOOL, .help = "nothing but JSON"},
    VIV_OPT_END,
};

/* People's words: "limits {\"iops-total\": 100}" is JSON, anything else is a word. */
COMMAND(set_text)
{
    const char *value = viv_opts_str(o, "value");
    json_t *args = json_pack("{s:s, s:s, s:o}", "path", viv_opts_str(o, "path"), "property", viv_opts_str(o, "property"), "value",
                             json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL));
    struct viv_raw_opts *raw = NULL;
    int rc;

    if (!args && viv_opts_bool(o, "json"))
        return viv_fail(err, EINVAL, "this is no JSON: %.80s", value);
    if (!args)
        args = json_pack("{s:s, s:s, s:s}", "path", viv_opts_str(o, "path"), "property", viv_opts_str(o, "property"), "value", value);
    rc = viv_raw_from_json("qom-set", args, &raw, err);
    if (!rc)
        rc = set_property(raw, result, err);
    viv_raw_free(raw);
    json_decref(args);
    return rc;
}

static void show_list(const json_t *r, GString *out)
{
    size_t i;
    json_t *p;

    json_array_foreach((json_t *)r, i, p)
        g_string_append_printf(out, "%s (%s)\n", json_string_value(json_object_get(p, "name")),
                               json_string_value(json_object_get(p, "type")));
}

static void show_value(const json_t *r, GString *out)
{
    char *text = json_dumps(r, JSON_ENCODE_ANY);

    g_string_append_printf(out, "%s\n", text ? text : "");
    free(text);
}

const struct viv_mon_cmd viv_mon_qom[] = {
    {NULL, "qom-list-types", NULL, list_types_args, "the kinds of devices, machines and CPUs", list_types, .returns = "[ObjectTypeInfo]"},
    {NULL, "device-list-properties", NULL, typename_args, "the properties of a kind of device", device_properties,
     .returns = "[ObjectPropertyInfo]"},
    {NULL, "qom-list-properties", NULL, typename_args, "the properties of a kind of device or machine", type_properties,
     .returns = "[ObjectPropertyInfo]"},
    {"qom-list", "qom-list", "path", path_args, "show what is below a path (/machine)", qom_list, show_list,
     .returns = "[ObjectPropertyInfo]"},
    {"qom-get", "qom-get", "path property", get_args, "show a property", qom_get, show_value, .returns = "any"},
    {.qmp = "qom-set", .help = "set a property", .raw = set_property, .takes = "QomSetArguments"},
    {"qom-set", NULL, "[-j] path property value", set_args, "set a property", set_text, .hmp_rest = true},
    {0},
};
