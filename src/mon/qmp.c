/* QMP: JSON objects in, JSON objects and events out, one line each.
 *
 * The peer's bytes are cut into values by a scanner that knows only strings, brackets and a limit; jansson parses what
 * it cut. Nothing is run before qmp_capabilities. */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "base/program.h"
#include "host/broker.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/sandbox.h"

#include <errno.h>
#include <string.h>

#define INPUT_LIMIT (1024 * 1024)

struct qmp {
    struct viv_chr *chr;
    struct viv_mon_out out;
    bool pretty, negotiated, open;
    GString *in;
    int depth;
    bool in_string, escaped, skipping;
};

static GSList *all;
static struct viv_chr *current;

struct viv_chr *viv_mon_current(void)
{
    return current;
}

static void send(struct qmp *q, json_t *take)
{
    char *text = json_dumps(take, q->pretty ? JSON_INDENT(4) : 0);

    json_decref(take);
    if (!text || !q->open) {
        free(text);
        return;
    }
    viv_mon_out_put(&q->out, text, strlen(text));
    viv_mon_out_put(&q->out, "\r\n", 2);
    free(text);
}

static void send_error(struct qmp *q, json_t *id, const char *cls, const char *desc)
{
    g_autofree char *clean = g_utf8_make_valid(desc, -1);
    json_t *m = json_pack("{s:{s:s, s:s}}", "error", "class", cls, "desc", clean);

    if (id)
        json_object_set(m, "id", id);
    send(q, m);
}

static void send_return(struct qmp *q, json_t *id, json_t *take_result)
{
    json_t *m = json_object();

    json_object_set_new(m, "return", take_result ? take_result : json_object());
    if (id)
        json_object_set(m, "id", id);
    send(q, m);
}

static void send_event(struct qmp *q, const char *event, const char *json_data)
{
    int64_t now = viv_clock_wall_ns();
    json_t *m;

    /* A peer that does not read loses events, not our memory. */
    if (!q->negotiated || viv_mon_out_full(&q->out))
        return;
    m = json_pack("{s:{s:I, s:I}, s:s}", "timestamp", "seconds", (json_int_t)(now / 1000000000),
                  "microseconds", (json_int_t)(now / 1000 % 1000000), "event", event);
    if (json_data)
        json_object_set_new(m, "data", json_loads(json_data, 0, NULL));
    send(q, m);
}

void viv_qmp_tell(const char *event, const char *json_data)
{
    for (GSList *l = all; l; l = l->next)
        send_event(l->data, event, json_data);
}

/* --- commands --- */

static const char *error_class; /* NULL: GenericError */

void viv_mon_error_class(const char *cls)
{
    error_class = cls;
}

static const struct viv_mon_cmd *find(const char *name)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    do {
        c = viv_mon_next(&it);
    } while (c && (!c->qmp || strcmp(c->qmp, name) != 0));
    return c;
}

/* Arguments that are text and numbers, whatever they mean. */
static int read_args(const struct viv_mon_cmd *c, json_t *args, struct viv_raw_opts **out, struct viv_err *err)
{
    json_t *empty = args ? NULL : json_object();
    int rc = viv_schema_check(c, args, err);

    if (!rc)
        rc = viv_raw_from_json(c->qmp, args ? args : empty, out, err);
    json_decref(empty);
    return rc;
}

static int run_parsed(const struct viv_mon_cmd *c, struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    struct viv_opts *o = NULL;
    int rc = viv_opts_from_raw(c->qmp, c->args ? c->args : none, raw, &o, err);

    if (!rc)
        rc = c->fn(o, result, err);
    viv_opts_free(o);
    return rc;
}

static int run_row(const struct viv_mon_cmd *c, struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return c->raw ? c->raw(raw, result, err) : run_parsed(c, raw, result, err);
}

int viv_mon_run(const char *qmp, struct viv_raw_opts *raw, struct viv_err *err)
{
    json_t *result = NULL;
    int rc = run_row(find(qmp), raw, &result, err);

    json_decref(result);
    viv_raw_free(raw);
    return rc;
}

/* What a person's words name may be opened. Secrets ("data" of an object; that of an address holds its path) name nothing. */
static void tell_words(json_t *v)
{
    const char *key;
    size_t i;
    json_t *m;

    if (json_is_string(v))
        viv_broker_words(json_string_value(v));
    json_array_foreach(v, i, m)
        tell_words(m);
    json_object_foreach(v, key, m) {
        if (!strstr(key, "password") && (strcmp(key, "data") != 0 || json_is_object(m)))
            tell_words(m);
    }
}

static void run(struct qmp *q, json_t *id, const char *name, json_t *args)
{
    const struct viv_mon_cmd *c = find(name);
    struct viv_err err = VIV_ERR_INIT;
    json_t *result = NULL;
    struct viv_raw_opts *raw = NULL;
    int rc;

    if (!c) {
        g_autofree char *text = g_strdup_printf("The command %.80s has not been found", name);

        send_error(q, id, "CommandNotFound", text);
        return;
    }
    error_class = NULL;
    current = q->chr;
    if (viv_broker_sealed())
        tell_words(args);
    rc = read_args(c, args, &raw, &err);
    if (!rc)
        rc = run_row(c, raw, &result, &err);
    viv_raw_free(raw);
    current = NULL;
    if (rc < 0) {
        json_decref(result);
        send_error(q, id, error_class ? error_class : "GenericError", err.text);
    } else {
        send_return(q, id, result);
    }
}

static void negotiate(struct qmp *q, json_t *id, const char *name, json_t *args)
{
    if (strcmp(name, "qmp_capabilities")) {
        send_error(q, id, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
        return;
    }
    if (json_array_size(json_object_get(args, "enable"))) {
        send_error(q, id, "GenericError", "there are no capabilities to enable");
        return;
    }
    q->negotiated = true;
    send_return(q, id, NULL);
}

static bool known_keys(json_t *m)
{
    const char *key;
    json_t *v;

    json_object_foreach(m, key, v) {
        if (strcmp(key, "execute") && strcmp(key, "arguments") && strcmp(key, "id"))
            return false;
    }
    return true;
}

static void handle(struct qmp *q, json_t *m)
{
    json_t *id = json_object_get(m, "id"), *args = json_object_get(m, "arguments");
    const char *name = json_string_value(json_object_get(m, "execute"));

    if (!json_is_object(m))
        send_error(q, NULL, "GenericError", "QMP input must be a JSON object");
    else if (!known_keys(m))
        send_error(q, id, "GenericError", "QMP input may hold only 'execute', 'arguments' and 'id'");
    else if (!name)
        send_error(q, id, "GenericError", "QMP input lacks member 'execute'");
    else if (args && !json_is_object(args))
        send_error(q, id, "GenericError", "QMP input member 'arguments' must be an object");
    else if (!q->negotiated)
        negotiate(q, id, name, args);
    else if (!strcmp(name, "qmp_capabilities"))
        send_error(q, id, "CommandNotFound", "Capabilities negotiation is already complete, command ignored");
    else
        run(q, id, name, args);
}

/* --- input --- */

static void reset_input(struct qmp *q)
{
    g_string_truncate(q->in, 0);
    q->depth = 0;
    q->in_string = q->escaped = q->skipping = false;
}

static void value_done(struct qmp *q)
{
    json_error_t je;
    json_t *m = json_loadb(q->in->str, q->in->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);

    reset_input(q);
    if (!m) {
        g_autofree char *text = g_strdup_printf("JSON parse error, %s", je.text);

        send_error(q, NULL, "GenericError", text);
        return;
    }
    handle(q, m);
    json_decref(m);
}

/* Not the start of an object: an error now, and the rest of the line is dropped. */
static void bad_input(struct qmp *q, const char *why)
{
    reset_input(q);
    q->skipping = true;
    send_error(q, NULL, "GenericError", why);
}

/* At the end of a line, what no further line can make right is answered at once: braces that a typing error left
 * open would swallow everything that follows. Long requests are checked at their end only. */
static void line_done(struct qmp *q)
{
    json_error_t je;
    json_t *m;

    if (q->in->len > 4096)
        return;
    m = json_loadb(q->in->str, q->in->len, JSON_REJECT_DUPLICATES, &je);
    if (!m && json_error_code(&je) != json_error_premature_end_of_input)
        value_done(q);
    json_decref(m);
}

static void input_byte(struct qmp *q, char c)
{
    if (q->skipping) {
        q->skipping = c != '\n';
        return;
    }
    if (!q->in->len) {
        if (g_ascii_isspace(c))
            return;
        if (c != '{') {
            bad_input(q, "JSON parse error, expecting value");
            return;
        }
    }
    if (q->in->len >= INPUT_LIMIT) {
        bad_input(q, "JSON token size limit exceeded");
        return;
    }
    g_string_append_c(q->in, c);
    if (q->escaped)
        q->escaped = false;
    else if (q->in_string)
        q->in_string = c != '"', q->escaped = c == '\\';
    else if (c == '"')
        q->in_string = true;
    else if (c == '{' || c == '[')
        q->depth++;
    else if (c == '}' || c == ']')
        q->depth--;
    if (q->escaped && !q->in_string)
        q->escaped = false;
    if (q->depth == 0 && !q->in_string)
        value_done(q);
    else if (c == '\n')
        line_done(q);
}

static size_t qmp_can_read(void *opaque)
{
    return viv_mon_out_full(&((struct qmp *)opaque)->out) ? 0 : 4096;
}

static void qmp_read(void *opaque, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        input_byte(opaque, (char)buf[i]);
}

static void qmp_event(void *opaque, enum viv_chr_event ev)
{
    struct qmp *q = opaque;

    if (ev == VIV_CHR_OPENED) {
        q->open = true;
        q->negotiated = false;
        reset_input(q);
        send(q, json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[]}}", "QMP", "version", "qemu", "micro", VIV_QEMU_MICRO,
                          "minor", VIV_QEMU_MINOR, "major", VIV_QEMU_MAJOR, "package", "Vivarium " VIV_VERSION, "capabilities"));
    } else if (ev == VIV_CHR_CLOSED) {
        q->open = q->negotiated = false;
    }
}

static const struct viv_chr_front qmp_front = {.can_read = qmp_can_read, .read = qmp_read, .event = qmp_event};

static void qmp_free(gpointer p)
{
    struct qmp *q = p;

    viv_chr_detach(q->chr, q);
    viv_mon_out_fini(&q->out);
    g_string_free(q->in, TRUE);
    g_free(q);
}

int viv_qmp_new(struct viv_chr *c, bool pretty, struct viv_err *err)
{
    struct qmp *q = g_new0(struct qmp, 1);
    int rc;

    viv_sandbox_need(VIV_SANDBOX_NETWORK | VIV_SANDBOX_MONITOR); /* its commands connect and listen, and name files */
    q->chr = c;
    q->pretty = pretty;
    q->in = g_string_new(NULL);
    viv_mon_out_init(&q->out, c);
    rc = viv_chr_attach(c, &qmp_front, q, err);
    if (rc < 0) {
        qmp_free(q);
        return rc;
    }
    all = g_slist_prepend(all, q);
    return 0;
}

static bool all_sent(void *unused)
{
    for (GSList *l = all; l; l = l->next) {
        if (((struct qmp *)l->data)->out.buf->len)
            return false;
    }
    return true;
}

void viv_mon_free_all(void)
{
    if (all)
        viv_loop_wait_for(all_sent, NULL, 1000000000);
    g_slist_free_full(all, qmp_free);
    all = NULL;
    viv_mon_event_free_all();
    viv_hmp_free_all();
}
