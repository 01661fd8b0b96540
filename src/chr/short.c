/* The short forms of -serial, -monitor, -qmp: turned into what -chardev takes. */
#include "chr/chr_int.h"

#include <errno.h>
#include <string.h>

static int split_host_port(const char *what, const char *addr, struct viv_raw_opts *r,
                           struct viv_err *err)
{
    g_autofree char *host = NULL, *port = NULL;

    if (!viv_split_host_port(addr, &host, &port))
        return viv_fail(err, EINVAL, "%s: '%.80s' is not HOST:PORT", what, addr);
    viv_raw_set(r, "host", host);
    viv_raw_set(r, "port", port);
    return 0;
}

/* "unix:PATH,...", "tcp:HOST:PORT,...": the address may also be given by its keys, "unix:path=PATH". */
static int socket_form(const char *what, const char *kind, const char *rest,
                       struct viv_raw_opts **out, struct viv_err *err)
{
    g_autofree char *addr = NULL;
    bool local = !strcmp(kind, "unix");
    struct viv_raw_opts *r;
    int rc = viv_raw_parse(what, local ? "path" : "addr", rest, &r, err);

    if (rc < 0)
        return rc;
    addr = local ? NULL : viv_raw_take(r, "addr");
    if (!addr && !viv_raw_get(r, local ? "path" : "port"))
        rc = viv_fail(err, EINVAL, "%s: '%s:' needs an address", what, kind);
    else if (addr)
        rc = split_host_port(what, addr, r, err);
    if (rc < 0) {
        viv_raw_free(r);
        return rc;
    }
    if (!strcmp(kind, "telnet"))
        viv_raw_set(r, "telnet", "on");
    viv_raw_set(r, "backend", "socket");
    *out = r;
    return 0;
}

static int path_form(const char *what, const char *backend, const char *rest,
                     struct viv_raw_opts **out, struct viv_err *err)
{
    int rc = viv_raw_parse(what, "path", rest, out, err);

    if (rc < 0)
        return rc;
    viv_raw_set(*out, "backend", backend);
    return 0;
}

/* "80Cx24C", or in pixels "800x600". */
static int vc_form(const char *what, const char *size, struct viv_raw_opts **out, struct viv_err *err)
{
    g_auto(GStrv) sides = g_strsplit(size, "x", 2);
    struct viv_raw_opts *r = viv_raw_new(what);

    viv_raw_set(r, "backend", "vc");
    for (unsigned i = 0; i < 2; i++) {
        char *text = sides[0] ? sides[i] : NULL, *end = text ? text + strspn(text, "0123456789") : NULL;
        bool chars = end && !strcmp(end, "C");

        if (!text || end == text || (*end && !chars)) {
            viv_raw_free(r);
            return viv_fail(err, EINVAL, "%s vc:%.60s: a size is like 80Cx24C, or in pixels 800x600", what, size);
        }
        *end = '\0';
        viv_raw_set(r, i ? (chars ? "rows" : "height") : (chars ? "cols" : "width"), text);
    }
    *out = r;
    return 0;
}

/* "kind:rest" -> pairs; a word without a colon is a back end with its options. */
static int expand(const char *what, const char *text, struct viv_raw_opts **out, struct viv_err *err)
{
    static const char *const sockets[] = {"unix", "tcp", "telnet", NULL};
    size_t len = strcspn(text, ":,");
    g_autofree char *kind = g_strndup(text, len);

    if (text[0] == '/')
        return path_form(what, "serial", text, out, err);
    if (text[len] != ':')
        return viv_raw_parse(what, "backend", text, out, err);
    if (g_strv_contains(sockets, kind))
        return socket_form(what, kind, text + len + 1, out, err);
    if (!strcmp(kind, "file") || !strcmp(kind, "pipe"))
        return path_form(what, kind, text + len + 1, out, err);
    if (!strcmp(kind, "vc"))
        return vc_form(what, text + len + 1, out, err);
    return viv_fail(err, EINVAL,
                    "%s: '%.60s:' is not a known form; there are stdio, pty, vc, null, none, file:, "
                    "pipe:, unix:, tcp:, telnet:, chardev:, ringbuf and mon: before any of them",
                    what, kind);
}

int viv_chr_new_short(const char *what, const char *id, const char *text, struct viv_chr **out,
                      struct viv_err *err)
{
    bool mon = g_str_has_prefix(text, "mon:");
    struct viv_raw_opts *r;
    int rc;

    if (mon)
        text += 4;
    if (!strcmp(text, "none")) {
        *out = NULL;
        return 0;
    }
    if (g_str_has_prefix(text, "chardev:")) {
        *out = viv_chr_find(text + 8);
        if (!*out)
            return viv_fail(err, ENOENT, "%s: there is no chardev '%.60s'", what, text + 8);
        if (mon && !viv_chr_is_mux(*out))
            return viv_fail(err, EINVAL, "%s: 'mon:' needs mux=on at chardev '%.60s'", what,
                            text + 8);
        return 0;
    }
    rc = expand(what, text, &r, err);
    if (rc < 0)
        return rc;
    if (mon) {
        viv_raw_set(r, "mux", "on");
        /* Ctrl-C belongs to the guest: Ctrl-A X ends the machine. */
        if (!g_strcmp0(viv_raw_get(r, "backend"), "stdio") && !viv_raw_get(r, "signal"))
            viv_raw_set(r, "signal", "off");
    }
    viv_raw_set(r, "id", id);
    rc = viv_chr_new(r, out, err);
    viv_raw_free(r);
    return rc;
}
