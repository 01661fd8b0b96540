/* The commands about VNC servers. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "host/clock.h"
#include "host/fdname.h"
#include "ui/vnc/vnc.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- passwords --- */

/* The interface has SPICE's, too. */
static int is_vnc(const char *protocol, struct viv_err *err)
{
    return strcmp(protocol, "vnc") ? viv_fail(err, ENOTSUP, "there is no %.40s here, only vnc", protocol) : 0;
}

static const char *const connected[] = {"keep", "fail", "disconnect", NULL};
static const struct viv_opt_def set_password_args[] = {
    {.name = "protocol", .type = VIV_OPT_STR, .required = true, .help = "vnc"},
    {.name = "password", .type = VIV_OPT_STR, .required = true},
    {.name = "connected", .type = VIV_OPT_ENUM, .values = connected, .def = "keep"},
    {.name = "display", .type = VIV_OPT_STR, .help = "id of the server (default: the first)"},
    VIV_OPT_END,
};

COMMAND(set_password)
{
    if (is_vnc(viv_opts_str(o, "protocol"), err) < 0)
        return -ENOTSUP;
    if (strcmp(viv_opts_str(o, "connected"), "keep"))
        return viv_fail(err, EINVAL, "connected=%s: a VNC password is for those who come; connected=keep is what works",
                        viv_opts_str(o, "connected"));
    return viv_vnc_set_password(viv_opts_str(o, "display"), viv_opts_str(o, "password"), err);
}

static const struct viv_opt_def change_password_args[] = {
    {.name = "password", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(change_vnc_password)
{
    return viv_vnc_set_password(NULL, viv_opts_str(o, "password"), err);
}

int viv_mon_change_vnc(const char *what, const char *password, struct viv_err *err)
{
    if (strcmp(what, "password") && strcmp(what, "passwd"))
        return viv_fail(err, EINVAL, "change vnc %.40s: where it listens does not change; 'change vnc password SECRET' works", what);
    if (!password)
        return viv_fail(err, ENOKEY, "change vnc password: the password is missing");
    return viv_vnc_set_password(NULL, password, err);
}

static const struct viv_opt_def expire_args[] = {
    {.name = "protocol", .type = VIV_OPT_STR, .required = true, .help = "vnc"},
    {.name = "time", .type = VIV_OPT_STR, .required = true, .help = "now, never, +seconds, or seconds since 1970"},
    {.name = "display", .type = VIV_OPT_STR, .help = "id of the server (default: the first)"},
    VIV_OPT_END,
};

COMMAND(expire_password)
{
    const char *text = viv_opts_str(o, "time");
    int64_t now = viv_clock_wall_ns() / 1000000000, when = 0;
    uint64_t n;

    if (is_vnc(viv_opts_str(o, "protocol"), err) < 0)
        return -ENOTSUP;
    if (!strcmp(text, "never")) {
        when = INT64_MAX;
    } else if (strcmp(text, "now")) {
        if (viv_parse_u64(*text == '+' ? text + 1 : text, &n, NULL) < 0 || n > INT64_MAX / 2)
            return viv_fail(err, EINVAL, "time: '%.40s' is not now, never, +SECONDS or seconds since 1970", text);
        when = *text == '+' ? now + (int64_t)n : (int64_t)n;
    }
    return viv_vnc_set_expiry(viv_opts_str(o, "display"), when, err);
}

static const struct viv_opt_def add_client_args[] = {
    {.name = "protocol", .type = VIV_OPT_STR, .required = true, .help = "vnc, or the id of a server"},
    {.name = "fdname", .type = VIV_OPT_STR, .required = true, .help = "of a connected socket, as getfd named it"},
    {.name = "skipauth", .type = VIV_OPT_BOOL, .help = "asks for no password"},
    {.name = "tls", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};

COMMAND(add_client)
{
    const char *protocol = viv_opts_str(o, "protocol");
    int fd;

    if (viv_opts_bool(o, "tls"))
        return viv_fail(err, ENOTSUP, "tls=true is for spice; VNC servers have tls-creds=");
    fd = viv_fdname_take(viv_opts_str(o, "fdname"), err);
    if (fd < 0)
        return fd;
    return viv_vnc_add_client_take(strcmp(protocol, "vnc") ? protocol : NULL, fd, viv_opts_bool(o, "skipauth"), err);
}

/* --- certificates --- */

static const char *const displays[] = {"vnc", NULL};
static const struct viv_opt_def reload_args[] = {
    {.name = "type", .type = VIV_OPT_ENUM, .values = displays, .required = true},
    {.name = "tls-certs", .type = VIV_OPT_BOOL, .help = "read the TLS certificates again"},
    VIV_OPT_END,
};

COMMAND(display_reload)
{
    return viv_opts_bool(o, "tls-certs") ? viv_vnc_reload_certs(err) : 0;
}

/* --- what there is --- */

COMMAND(query_vnc)
{
    *result = viv_vnc_query();
    return 0;
}

COMMAND(query_vnc_servers)
{
    *result = viv_vnc_query_servers();
    return 0;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void show_place(const json_t *p, const char *what, GString *out)
{
    g_string_append_printf(out, "  %s: %s:%s (%s%s)\n", what, text_of(p, "host"), text_of(p, "service"), text_of(p, "family"),
                           json_is_true(json_object_get(p, "websocket")) ? " (Websocket)" : "");
}

static void show_client(const json_t *p, GString *out)
{
    show_place(p, "Client", out);
    if (json_object_get(p, "x509_dname"))
        g_string_append_printf(out, "    x509_dname: %s\n", text_of(p, "x509_dname"));
}

static void show_auth(const json_t *p, const char *indent, GString *out)
{
    const char *sub = text_of(p, "vencrypt");

    g_string_append_printf(out, "%sAuth: %s (Sub: %s)\n", indent, text_of(p, "auth"), *sub ? sub : "none");
}

static void show_vnc(const json_t *r, GString *out)
{
    size_t i, n;
    json_t *s, *p;

    if (!json_array_size(r))
        g_string_append(out, "None\n");
    json_array_foreach((json_t *)r, i, s) {
        g_string_append_printf(out, "%s:\n", text_of(s, "id"));
        json_array_foreach(json_object_get(s, "server"), n, p) {
            show_place(p, "Server", out);
            show_auth(p, "    ", out);
        }
        json_array_foreach(json_object_get(s, "clients"), n, p)
            show_client(p, out);
        if (!json_array_size(json_object_get(s, "server")))
            show_auth(s, "  ", out);
        if (json_object_get(s, "display"))
            g_string_append_printf(out, "  Display: %s\n", text_of(s, "display"));
    }
}

const struct viv_mon_cmd viv_mon_vnc[] = {
    {"info vnc", NULL, NULL, NULL, "show the VNC servers and who looks", query_vnc_servers, show_vnc},
    {NULL, "query-vnc", NULL, NULL, "the first VNC server", query_vnc, .returns = "VncInfo"},
    {NULL, "query-vnc-servers", NULL, NULL, "all VNC servers", query_vnc_servers, .returns = "[VncInfo2]"},
    {"set_password", "set_password", "protocol password [-d display] [connected]", set_password_args, "set the password of a VNC server",
     set_password},
    {"expire_password", "expire_password", "protocol time [-d display]", expire_args, "set when a VNC password ends", expire_password},
    {NULL, "add_client", NULL, add_client_args, "give a connected socket to a VNC server", add_client},
    {NULL, "display-reload", NULL, reload_args, "read a VNC server's certificates again", display_reload, .takes = "DisplayReloadOptions"},
    {NULL, "change-vnc-password", NULL, change_password_args, "set the password of the first VNC server", change_vnc_password},
    {0},
};
