/* What programs ask before they use a machine: machines, CPU models, what can be plugged. */
#include "mon/mon_int.h"

#include "accel/accel.h"
#include "chr/chr.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_models.h"
#include "host/iothread.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

COMMAND(query_target)
{
    *result = json_pack("{s:s}", "arch", viv_vm_config()->cpu_32bit ? "i386" : "x86_64");
    return 0;
}

static json_t *cpu_type(const char *model)
{
    return json_sprintf("%s-%s-cpu", model, viv_vm_config()->cpu_32bit ? "i386" : "x86_64");
}

/* --- machines --- */

static json_t *machine_json(const struct viv_machine_class *m, const char *name)
{
    return json_pack("{s:s, s:I, s:b, s:b, s:b, s:o}", "name", name, "cpu-max", (json_int_t)m->max_cpus, "hotpluggable-cpus", 0,
                     "numa-mem-supported", 0, "deprecated", 0, "default-cpu-type",
                     cpu_type(viv_vm_config()->cpu_32bit ? "qemu32" : "qemu64"));
}

/* As QEMU has it, the version ("pc-i440fx-7.2") is what the machine is, and the name without one is the alias of the newest. */
static void add_machine(json_t *list, const struct viv_machine_class *m, bool is_default)
{
    const char *const *versions = m->aliases;
    json_t *row = machine_json(m, versions ? versions[0] : m->name);

    if (versions)
        json_object_set_new(row, "alias", json_string(m->name));
    if (is_default)
        json_object_set_new(row, "is-default", json_true());
    json_array_append_new(list, row);
    for (unsigned i = 1; versions && versions[i]; i++)
        json_array_append_new(list, machine_json(m, versions[i]));
}

COMMAND(query_machines)
{
    *result = json_array();
    for (const struct viv_machine_class *const *m = viv_machines(); *m; m++)
        add_machine(*result, *m, m == viv_machines());
    return 0;
}

/* No power state but S5 (docs/pc.md). */
COMMAND(query_current_machine)
{
    *result = json_pack("{s:b}", "wakeup-suspend-support", 0);
    return 0;
}

/* --- CPU models --- */

/* The model as this accelerator gives it. `gone`: names of what it has to do without; may be NULL. */
static int model_here(const char *text, struct viv_cpuid **out, json_t *gone, struct viv_err *err)
{
    uint32_t before[VIV_FW_COUNT];
    int rc = viv_cpuid_parse(text, out, err);

    if (rc < 0)
        return rc;
    memcpy(before, (*out)->word, sizeof(before));
    (*out)->check = (*out)->enforce = false;
    rc = viv_vm_accel()->filter_cpuid(*out, err);
    for (unsigned f = 0; gone && !rc && !(*out)->host && f < VIV_FW_COUNT * 32; f++) {
        const char *name = viv_cpuid_feature_name(f / 32, f % 32);

        if (name && (before[f / 32] & ~(*out)->word[f / 32]) >> (f % 32) & 1 && f / 32 != VIV_FW_KVM_EAX)
            json_array_append_new(gone, json_string(name));
    }
    if (rc < 0)
        g_clear_pointer(out, g_free);
    return rc;
}

static json_t *definition(const char *name)
{
    struct viv_err ignored = VIV_ERR_INIT;
    struct viv_cpuid *m = NULL;
    json_t *gone = json_array();
    bool moves = strcmp(name, "host") && strcmp(name, "max");

    model_here(name, &m, gone, &ignored);
    g_free(m);
    return json_pack("{s:s, s:b, s:b, s:o, s:o, s:b}", "name", name, "migration-safe", moves, "static", !strcmp(name, "base"),
                     "unavailable-features", gone, "typename", cpu_type(name), "deprecated", 0);
}

COMMAND(query_cpu_definitions)
{
    static const char *const special[] = {"base", "host", "max"};

    *result = json_array();
    for (unsigned i = 0; i < G_N_ELEMENTS(special); i++)
        json_array_append_new(*result, definition(special[i]));
    for (const struct viv_cpu_model *m = viv_cpu_models; m->name; m++)
        json_array_append_new(*result, definition(m->name));
    return 0;
}

/* {"name": "qemu64", "props": {"avx2": true}} as -cpu has it. */
static int model_text(struct viv_raw_opts *raw, GString *text, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(raw, "model.name");
    struct viv_raw_opts *props = viv_raw_take_below(raw, "model.props", "model.props");
    int rc = 0;

    if (!name)
        rc = viv_fail(err, EINVAL, "Parameter 'model.name' is missing");
    else
        g_string_assign(text, name);
    for (size_t i = 0; !rc && props && i < viv_raw_count(props); i++) {
        const char *key, *value;

        viv_raw_at(props, i, &key, &value);
        if (strpbrk(key, ",=.") || strchr(value, ','))
            rc = viv_fail(err, EINVAL, "model.props: '%.40s' is no property of a CPU", key);
        g_string_append_printf(text, ",%s=%s", key, value);
    }
    viv_raw_free(props);
    return rc;
}

static json_t *all_properties(const struct viv_cpuid *m)
{
    json_t *p = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s%, s:s}", "family", (json_int_t)m->family, "model", (json_int_t)m->family_model,
                          "stepping", (json_int_t)m->stepping, "level", (json_int_t)m->level, "xlevel", (json_int_t)m->xlevel, "vendor",
                          m->vendor, (size_t)12, "model-id", m->model_id);

    for (unsigned f = 32; f < VIV_FW_COUNT * 32; f++) {
        const char *name = viv_cpuid_feature_name(f / 32, f % 32);

        if (name)
            json_object_set_new(p, name, json_boolean(m->word[f / 32] >> (f % 32) & 1));
    }
    return p;
}

/* Both kinds tell all features; static ones as changes of `base`, which has none and never changes. */
static int expand(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(raw, "type");
    g_autoptr(GString) text = g_string_new(NULL);
    struct viv_cpuid *m;
    int rc;

    if (!type || (strcmp(type, "static") && strcmp(type, "full")))
        return viv_fail(err, EINVAL, "type: '%.40s': static or full", type ? type : "");
    rc = model_text(raw, text, err);
    if (!rc)
        rc = model_here(text->str, &m, NULL, err);
    if (rc < 0)
        return rc;
    *result = json_pack("{s:{s:s, s:o}}", "model", "name", strcmp(type, "static") ? m->model : "base", "props", all_properties(m));
    g_free(m);
    return 0;
}

/* --- what can be plugged --- */

static json_t *cpu_place(unsigned i)
{
    const struct viv_smp *s = &viv_vm_config()->smp;
    unsigned core = i / s->threads, die = core / s->cores;

    return json_pack("{s:i, s:i, s:i, s:i}", "socket-id", die / s->dies, "die-id", die % s->dies, "core-id", core % s->cores, "thread-id",
                     i % s->threads);
}

COMMAND(query_hotpluggable_cpus)
{
    *result = json_array();
    for (unsigned i = viv_vcpu_count; i-- > 0;)
        json_array_append_new(*result, json_pack("{s:o, s:i, s:o, s:o}", "type", cpu_type(viv_vm_cpuid()->model), "vcpus-count", 1,
                                                 "props", cpu_place(i), "qom-path", json_sprintf("/machine/cpu[%u]", i)));
    return 0;
}

static void show_hotpluggable(const json_t *r, GString *out)
{
    size_t i;
    json_t *c;

    g_string_append(out, "Hotpluggable CPUs:\n");
    json_array_foreach((json_t *)r, i, c)
        g_string_append_printf(out, "  type: \"%s\"\n  vcpus_count: \"1\"\n  qom_path: \"%s\"\n",
                               json_string_value(json_object_get(c, "type")), json_string_value(json_object_get(c, "qom-path")));
}

/* Memory is as large as -m says: no DIMM comes or goes. */
COMMAND(query_memory_devices)
{
    *result = json_array();
    return 0;
}

COMMAND(query_iothreads)
{
    *result = json_array();
    for (struct viv_iothread *t = viv_iothread_next(NULL); t; t = viv_iothread_next(t))
        json_array_append_new(*result, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "id", viv_iothread_id(t), "thread-id", viv_iothread_tid(t),
                                                 "poll-max-ns", 0, "poll-grow", 0, "poll-shrink", 0, "aio-max-batch", 0));
    return 0;
}

static void show_iothreads(const json_t *r, GString *out)
{
    static const char *const facts[] = {"poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch"};
    json_t *t;
    size_t i;

    if (!json_array_size(r))
        g_string_append(out, "none\n");
    json_array_foreach((json_t *)r, i, t) {
        g_string_append_printf(out, "%s:\n  thread_id=%lld\n", json_string_value(json_object_get(t, "id")),
                               (long long)json_integer_value(json_object_get(t, "thread-id")));
        for (unsigned f = 0; f < G_N_ELEMENTS(facts); f++)
            g_string_append_printf(out, "  %s=%lld\n", facts[f], (long long)json_integer_value(json_object_get(t, facts[f])));
    }
}

static void show_nothing(const json_t *r, GString *out)
{
    g_string_append(out, json_array_size(r) ? "" : "none\n");
}

COMMAND(query_chardev_backends)
{
    const char *name;

    *result = json_array();
    for (unsigned i = 0; (name = viv_chr_backend_at(i)) != NULL; i++)
        json_array_append_new(*result, json_pack("{s:s}", "name", name));
    return 0;
}

/* There are none. */
COMMAND(query_tpm)
{
    *result = json_array();
    return 0;
}

const struct viv_mon_cmd viv_mon_about[] = {
    {"info tpm", "query-tpm", NULL, NULL, "show the TPM: none", query_tpm, .returns = "[TPMInfo]"},
    {NULL, "query-tpm-models", NULL, NULL, "list the models of TPM devices: none", query_tpm, .returns = "[TpmModel]"},
    {NULL, "query-tpm-types", NULL, NULL, "list the kinds of TPM back ends: none", query_tpm, .returns = "[TpmType]"},
    {NULL, "query-target", NULL, NULL, "the architecture of the machine", query_target, .returns = "TargetInfo"},
    {NULL, "query-machines", NULL, NULL, "the machines that there are", query_machines, .returns = "[MachineInfo]"},
    {NULL, "query-current-machine", NULL, NULL, "what this machine can", query_current_machine, .returns = "CurrentMachineParams"},
    {NULL, "query-cpu-definitions", NULL, NULL, "the CPU models, and what this accelerator cannot give them", query_cpu_definitions,
     .returns = "[CpuDefinitionInfo]"},
    {.qmp = "query-cpu-model-expansion", .help = "the features of a CPU model, as this accelerator gives them", .raw = expand,
     .takes = "CpuModelExpansionArguments", .returns = "CpuModelExpansionInfo"},
    {"info hotpluggable-cpus", "query-hotpluggable-cpus", NULL, NULL, "show the places of CPUs", query_hotpluggable_cpus, show_hotpluggable,
     .returns = "[HotpluggableCPU]"},
    {"info memory-devices", "query-memory-devices", NULL, NULL, "show memory that was plugged: none", query_memory_devices, show_nothing,
     .returns = "[MemoryDeviceInfo]"},
    {"info iothreads", "query-iothreads", NULL, NULL, "show the threads of -object iothread", query_iothreads, show_iothreads,
     .returns = "[IOThreadInfo]"},
    {NULL, "query-chardev-backends", NULL, NULL, "the kinds of character devices", query_chardev_backends, .returns = "[ChardevBackendInfo]"},
    {0},
};
