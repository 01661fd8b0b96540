/* chardev-add, -change, -remove, -send-break: character back ends while the machine runs.
 *
 * QMP says a back end as {"type": T, "data": {...}}, with names of its own in places; it is turned into the words of -chardev here.
 * HMP has -chardev's words themselves. */
#include "mon/command.h"

#include "chr/chr.h"
#include "host/fdname.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)
#define RAW(name)     static int name(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)

/* --- QMP's words --- */

struct word {
    const char *qmp; /* below backend.data */
    const char *opt; /* of -chardev */
    bool required;
};

/* What socket refuses has its reason there. */
static const struct word common[] = {{"logfile", "logfile"}, {"logappend", "logappend"}, {0}},
                         file[] = {{"out", "path", true}, {"in", "input-path"}, {"append", "append"}, {0}},
                         device[] = {{"device", "path", true}, {0}},
                         sock[] = {{"server", "server"},       {"wait", "wait"},           {"nodelay", "nodelay"},
                                   {"telnet", "telnet"},       {"reconnect", "reconnect"}, {"tn3270", "tn3270"},
                                   {"websocket", "websocket"}, {"tls-creds", "tls-creds"}, {"tls-authz", "tls-authz"},
                                   {0}},
                         addr_inet[] = {{"addr.data.host", "host", true}, {"addr.data.port", "port", true}, {"addr.data.ipv4", "ipv4"},
                                        {"addr.data.ipv6", "ipv6"},       {"addr.data.to", "to"},           {0}},
                         addr_unix[] = {{"addr.data.path", "path", true}, {"addr.data.abstract", "abstract"}, {0}},
                         addr_fd[] = {{"addr.data.str", "fd", true}, {0}},
                         terminal[] = {{"signal", "signal"}, {0}},
                         vc[] = {{"width", "width"}, {"height", "height"}, {"cols", "cols"}, {"rows", "rows"}, {0}},
                         ring[] = {{"size", "size"}, {0}}, nothing[] = {{0}};

static const struct {
    const char *name;
    const struct word *words;
} types[] = {
    {"file", file},   {"serial", device}, {"pipe", device}, {"socket", sock},  {"pty", nothing},
    {"null", nothing}, {"stdio", terminal}, {"vc", vc},     {"ringbuf", ring}, {"memory", ring},
}, addresses[] = {{"inet", addr_inet}, {"unix", addr_unix}, {"fd", addr_fd}};

static int move_words(const struct word *w, struct viv_raw_opts *data, struct viv_raw_opts *to, struct viv_err *err)
{
    for (; w->qmp; w++) {
        g_autofree char *value = viv_raw_take(data, w->qmp);

        if (value)
            viv_raw_set(to, w->opt, value);
        else if (w->required)
            return viv_fail(err, EINVAL, "Parameter 'backend.data.%s' is missing", w->qmp);
    }
    return 0;
}

static int move_address(struct viv_raw_opts *data, struct viv_raw_opts *to, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(data, "addr.type");

    if (!type)
        return viv_fail(err, EINVAL, "Parameter 'backend.data.addr.type' is missing");
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        if (!strcmp(type, addresses[i].name))
            return move_words(addresses[i].words, data, to, err);
    }
    return viv_fail(err, EINVAL, "Parameter 'type' does not accept value '%.60s'", type);
}

static int move_data(const char *type, struct viv_raw_opts *data, struct viv_raw_opts *to, struct viv_err *err)
{
    const struct word *words = NULL;
    const char *key, *value;
    int rc = move_words(common, data, to, err);

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (!strcmp(type, types[i].name))
            words = types[i].words;
    }
    if (rc < 0 || !words) /* chr/ says why there is none */
        return rc;
    rc = move_words(words, data, to, err);
    if (!rc && words == sock) {
        rc = move_address(data, to, err);
        if (!viv_raw_get(to, "server")) /* -chardev: off */
            viv_raw_set(to, "server", "on");
    }
    if (rc < 0 || !viv_raw_count(data))
        return rc;
    viv_raw_at(data, 0, &key, &value);
    return viv_fail(err, EINVAL, "Parameter 'backend.data.%.60s' is unexpected", key);
}

/* `what` opens errors. */
static int from_qmp(const char *what, struct viv_raw_opts *raw, struct viv_raw_opts **out, struct viv_err *err)
{
    struct viv_raw_opts *backend = viv_raw_take_below(raw, "backend", what), *data = backend ? viv_raw_take_below(backend, "data", what) : NULL;
    g_autofree char *type = backend ? viv_raw_take(backend, "type") : NULL;
    struct viv_raw_opts *to = viv_raw_new(what);
    const char *key, *value;
    int rc;

    if (!data)
        data = viv_raw_new(what);
    if (!backend)
        rc = viv_fail(err, EINVAL, "Parameter 'backend' is missing");
    else if (!type)
        rc = viv_fail(err, EINVAL, "Parameter 'backend.type' is missing");
    else
        rc = move_data(type, data, to, err);
    if (!rc && viv_raw_count(backend)) {
        viv_raw_at(backend, 0, &key, &value);
        rc = viv_fail(err, EINVAL, "Parameter 'backend.%.60s' is unexpected", key);
    } else if (!rc && viv_raw_count(raw)) {
        viv_raw_at(raw, 0, &key, &value);
        rc = viv_fail(err, EINVAL, "Parameter '%.60s' is unexpected", key);
    }
    viv_raw_free(data);
    viv_raw_free(backend);
    if (rc < 0) {
        viv_raw_free(to);
        return rc;
    }
    viv_raw_set(to, "backend", type);
    *out = to;
    return 0;
}

/* --- coming and changing --- */

static json_t *told(const struct viv_chr *c)
{
    const char *name = viv_chr_filename(c);

    return g_str_has_prefix(name, "pty:") ? json_pack("{s:s}", "pty", name + 4) : NULL;
}

/* For HMP, as -chardev says it. */
static json_t *told_people(const struct viv_chr *c)
{
    const char *name = viv_chr_filename(c);

    return g_str_has_prefix(name, "pty:") ? json_sprintf("char device redirected to %s (label %s)\n", name + 4, viv_chr_id(c)) : NULL;
}

static int find(const char *id, const char *missing, struct viv_chr **out, struct viv_err *err)
{
    *out = viv_chr_find(id);
    return *out ? 0 : viv_fail(err, ENOENT, "Chardev '%.60s' %s", id, missing);
}

/* fd= is a name of getfd's here, never a number of ours. *fd: to be closed when the back end has its own; -1: none. */
static int name_to_fd(struct viv_raw_opts *r, int *fd, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(r, "fd"), *number = NULL;

    *fd = -1;
    if (!name)
        return 0;
    *fd = viv_fdname_take(name, err);
    if (*fd < 0)
        return *fd;
    number = g_strdup_printf("%d", *fd);
    viv_raw_set(r, "fd", number);
    return 0;
}

static int add(struct viv_raw_opts *r, const char *id, struct viv_chr **out, struct viv_err *err)
{
    int fd, rc;

    if (viv_chr_find(id))
        return viv_fail(err, EEXIST, "Chardev with id '%s' already exists", id);
    rc = name_to_fd(r, &fd, err);
    if (!rc)
        rc = viv_chr_add(r, out, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int change(struct viv_chr *c, struct viv_raw_opts *r, struct viv_chr **out, struct viv_err *err)
{
    int fd, rc = name_to_fd(r, &fd, err);

    if (!rc)
        rc = viv_chr_change(c, r, out, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

RAW(chardev_add)
{
    g_autofree char *id = viv_raw_take(raw, "id"), *what = id ? g_strdup_printf("Failed to add chardev '%.60s'", id) : NULL;
    struct viv_raw_opts *r;
    struct viv_chr *c;
    int rc = id ? from_qmp(what, raw, &r, err) : viv_fail(err, EINVAL, "Parameter 'id' is missing");

    if (rc < 0)
        return rc;
    viv_raw_set(r, "id", id);
    rc = add(r, id, &c, err);
    viv_raw_free(r);
    if (!rc)
        *result = told(c);
    return rc;
}

RAW(chardev_change)
{
    g_autofree char *id = viv_raw_take(raw, "id"), *what = id ? g_strdup_printf("Failed to change chardev '%.60s'", id) : NULL;
    struct viv_raw_opts *r = NULL;
    struct viv_chr *c;
    int rc = id ? from_qmp(what, raw, &r, err) : viv_fail(err, EINVAL, "Parameter 'id' is missing");

    if (!rc)
        rc = find(id, "does not exist", &c, err);
    if (!rc)
        rc = change(c, r, &c, err);
    viv_raw_free(r);
    if (!rc)
        *result = told(c);
    return rc;
}

static const struct viv_opt_def add_args[] = {{.name = "args", .type = VIV_OPT_STR, .required = true}, VIV_OPT_END};
static const struct viv_opt_def change_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true}, {.name = "args", .type = VIV_OPT_STR, .required = true}, VIV_OPT_END,
};

COMMAND(add_text)
{
    struct viv_raw_opts *r;
    struct viv_chr *c;
    int rc;

    if (viv_mon_choices("chardev-add", "backend", viv_opts_str(o, "args"), viv_chr_help, result))
        return 0;
    rc = viv_raw_parse("chardev-add", "backend", viv_opts_str(o, "args"), &r, err);
    if (rc < 0)
        return rc;
    rc = viv_raw_get(r, "id") ? add(r, viv_raw_get(r, "id"), &c, err) : viv_fail(err, EINVAL, "chardev: no id specified");
    viv_raw_free(r);
    if (!rc)
        *result = told_people(c);
    return rc;
}

COMMAND(change_text)
{
    struct viv_raw_opts *r;
    struct viv_chr *c;
    int rc = find(viv_opts_str(o, "id"), "does not exist", &c, err);

    if (!rc)
        rc = viv_raw_parse("chardev-change", "backend", viv_opts_str(o, "args"), &r, err);
    if (rc < 0)
        return rc;
    rc = change(c, r, &c, err);
    viv_raw_free(r);
    if (!rc)
        *result = told_people(c);
    return rc;
}

/* --- going, and a break --- */

static const struct viv_opt_def id_args[] = {{.name = "id", .type = VIV_OPT_STR, .required = true}, VIV_OPT_END};

COMMAND(chardev_remove)
{
    struct viv_chr *c;
    int rc = find(viv_opts_str(o, "id"), "not found", &c, err);

    return rc < 0 ? rc : viv_chr_remove(c, err);
}

COMMAND(send_break)
{
    struct viv_chr *c;
    int rc = find(viv_opts_str(o, "id"), "not found", &c, err);

    if (!rc)
        viv_chr_break(c);
    return rc;
}

const struct viv_mon_cmd viv_mon_chardev[] = {
    {.qmp = "chardev-add", .help = "add a character device", .raw = chardev_add, .takes = "ChardevArguments", .returns = "ChardevReturn"},
    {.qmp = "chardev-change", .help = "put another back end under a character device", .raw = chardev_change, .takes = "ChardevArguments",
     .returns = "ChardevReturn"},
    {"chardev-add", NULL, "args", add_args, "add a character device: what -chardev takes", add_text},
    {"chardev-change", NULL, "id:chardev args", change_args, "put another back end under a character device: what -chardev takes, without id=",
     change_text},
    {"chardev-remove", "chardev-remove", "id:chardev", id_args, "remove a character device that nobody uses", chardev_remove},
    {"chardev-send-break", "chardev-send-break", "id:chardev", id_args, "send a break to who uses a character device", send_break},
    {0},
};
