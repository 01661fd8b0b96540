/* Where the guest's memory lies: memory back ends, and what the machine takes without one. */
#include "mon/mon_int.h"

#include "machine/vm.h"
#include "mem/backend.h"

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static json_t *memdev(const struct viv_mem_facts *f, bool dump)
{
    return json_pack("{s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:[], s:s}", "id", f->id, "size", (json_int_t)f->size, "merge", f->merge, "dump",
                     dump, "prealloc", f->prealloc, "share", f->share, "reserve", f->reserve, "host-nodes", "policy", "default");
}

COMMAND(query_memdev)
{
    const struct viv_machine_config *cfg = viv_vm_config();
    bool dump = cfg->machine_opts && viv_opts_bool(cfg->machine_opts, "dump-guest-core");
    struct viv_mem_facts f = {.id = "pc.ram", .size = cfg->ram_bytes, .reserve = true};

    *result = json_array();
    for (struct viv_mem_backend *b = viv_mem_backend_next(NULL); b; b = viv_mem_backend_next(b)) {
        struct viv_mem_facts facts;

        viv_mem_backend_facts(b, &facts);
        json_array_append_new(*result, memdev(&facts, viv_mem_backend_dump(b, dump)));
    }
    if (!cfg->memory)
        json_array_append_new(*result, memdev(&f, dump));
    return 0;
}

static void show_memdev(const json_t *r, GString *out)
{
    static const char *const flags[] = {"merge", "dump", "prealloc", "share", "reserve"};
    size_t i;
    json_t *m;

    json_array_foreach((json_t *)r, i, m) {
        g_string_append_printf(out, "memory backend: %s\n  size:  %lld\n", json_string_value(json_object_get(m, "id")),
                               (long long)json_integer_value(json_object_get(m, "size")));
        for (size_t k = 0; k < G_N_ELEMENTS(flags); k++)
            g_string_append_printf(out, "  %s: %s\n", flags[k], json_is_true(json_object_get(m, flags[k])) ? "true" : "false");
        g_string_append(out, "  policy: default\n  host nodes: \n\n");
    }
}

const struct viv_mon_cmd viv_mon_memdev[] = {
    {"info memdev", "query-memdev", NULL, NULL, "show where the guest's memory lies", query_memdev, show_memdev, .returns = "[Memdev]"},
    {NULL},
};
