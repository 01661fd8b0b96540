/* Monitors without a machine: the first byte says who is typing (QMP before or after its negotiation, a terminal, lines for HMP, a line
 * to be completed), the rest is what they type. Commands are those that every program has and some with all kinds of arguments, which
 * give back what they were given. */
#include "fuzz/fuzz.h"

#include "chr/chr_int.h"
#include "host/lock.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <errno.h>
#include <string.h>

/* --- commands --- */

static const char *const values[] = {"one", "two", "three", NULL};
static const struct viv_opt_def args[] = {
    {.name = "fmt", .type = VIV_OPT_STR},
    {.name = "text", .type = VIV_OPT_STR, .required = true},
    {.name = "flag", .type = VIV_OPT_BOOL},
    {.name = "number", .type = VIV_OPT_INT, .min = -5, .max = 500},
    {.name = "size", .type = VIV_OPT_SIZE},
    {.name = "choice", .type = VIV_OPT_ENUM, .values = values, .def = "two"},
    {.name = "below.flag", .type = VIV_OPT_BOOL},
    {.name = "below.deep.text", .type = VIV_OPT_STR},
    {.name = "old", .type = VIV_OPT_REFUSED, .help = "it is gone"},
    VIV_OPT_END,
};
static const struct viv_opt_def list_args[] = {
    {.name = "text", .type = VIV_OPT_STR},
    {.name = "list", .type = VIV_OPT_LIST},
    VIV_OPT_END,
};

static int echo(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *text = viv_opts_str(o, "text"), *deep = viv_opts_str(o, "below.deep.text"), *format = viv_opts_str(o, "fmt");

    if (viv_opts_int(o, "number") == 13)
        return viv_fail(err, EINVAL, "'%s': %s", text, deep ? deep : "");
    *result = json_pack("{s:s, s:b, s:I, s:I, s:s, s:b}", "text", text, "flag", viv_opts_bool(o, "flag"), "number",
                        (json_int_t)viv_opts_int(o, "number"), "size", (json_int_t)viv_opts_size(o, "size"), "choice",
                        viv_opts_str(o, "choice"), "below", viv_opts_bool(o, "below.flag"));
    if (format && !*result)
        *result = json_string("not UTF-8");
    return 0;
}

static int echo_list(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    *result = json_array();
    for (size_t i = 0; i < viv_opts_list_len(o, "list"); i++)
        json_array_append_new(*result, json_string(viv_opts_list_item(o, "list", i)));
    return 0;
}

static int echo_raw(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    struct viv_raw_opts *events = viv_raw_take_below(raw, "events", "events");

    *result = json_integer((json_int_t)(viv_raw_count(raw) + (events ? viv_raw_count(events) : 0)));
    viv_raw_free(events);
    return 0;
}

static void show(const json_t *r, GString *out)
{
    char *text = json_dumps(r, JSON_ENCODE_ANY);

    g_string_append(out, text ? text : "");
    free(text);
}

static const struct viv_mon_cmd commands[] = {
    {"echo", "echo", "/fmt [-f] text:command [-c choice] [number] [size]", args, "gives it back", echo, show, .returns = "any"},
    {"info echo", NULL, "text:switch [number]", args, "gives it back", echo, show, .hmp_rest = true},
    {"rest", NULL, "text:keys", list_args, "the rest", echo_list, .hmp_rest = true},
    {NULL, "echo-list", NULL, list_args, "gives a list back", echo_list, .returns = "[str]"},
    {.qmp = "echo-raw", .help = "counts", .raw = echo_raw, .takes = "InputSendEventArguments", .returns = "any"},
    {0},
};
static const struct viv_mon_event_def events[] = {
    {"THING", "name: str, many?: [int]", "it happened"},
    {0},
};

static void types(void)
{
    viv_schema_use_enum("QKeyCode", "a b c");
}

/* --- the other side --- */

static size_t take_all(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    return len;
}

static const struct viv_chr_class sink = {.name = "sink", .write = take_all};

static void type(struct viv_chr *c, const uint8_t *data, size_t size)
{
    for (size_t n; size; data += n, size -= n) {
        n = MIN(viv_chr_wants(c), size);
        g_assert(n);
        viv_chr_deliver(c, data, n);
    }
}

static void talk(unsigned who, const uint8_t *data, size_t size)
{
    static const char negotiation[] = "{\"execute\":\"qmp_capabilities\"}";
    struct viv_chr c = {.cls = &sink, .id = (char *)"fuzz", .filename = (char *)"fuzz", .is_open = true, .log_fd = -1};
    struct viv_err err = VIV_ERR_INIT;

    if (who < 2)
        viv_qmp_new(&c, who, &err);
    else
        viv_hmp_new(&c, &err);
    if (who == 1)
        type(&c, (const uint8_t *)negotiation, sizeof(negotiation) - 1);
    type(&c, data, size);
    viv_mon_event("THING", "{\"name\": \"x\"}");
    viv_mon_free_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = NULL;
    static bool ready;

    if (!ready) {
        ready = true;
        viv_dev_lock(); /* as the loop's thread has it */
        viv_mon_use(viv_mon_people);
        viv_mon_use(viv_mon_common);
        viv_mon_use(commands);
        viv_mon_use_events(events);
        viv_mon_use_types(types);
    }
    if (!size)
        return 0;
    if (data[0] % 5 < 3) {
        talk(data[0] % 5, data + 1, size - 1);
        return 0;
    }
    text = g_strndup((const char *)data + 1, size - 1);
    if (data[0] % 5 == 3) {
        GString *out = g_string_new(NULL);

        viv_hmp_run(text, out);
        g_string_free(out, TRUE);
    } else {
        g_ptr_array_unref(viv_hmp_complete(text));
    }
    return 0;
}
