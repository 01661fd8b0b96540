/* Port forwards of `-netdev user`: rules, and who is in the way when a port is taken. */
#include "net/user.h"

#include "host/broker.h"
#include "host/sandbox.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct endpoint {
    struct in_addr addr;
    uint16_t port;
};

static int bad_rule(const char *key, const char *rule, const char *form, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "%s=%s: the form is %s", key, rule, form);
}

#define HOSTFWD_FORM                                                                               \
    "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport, as in tcp:127.0.0.1:2222-:22 (hostport 0: any free one, info usernet shows it)"
#define GUESTFWD_FORM "[tcp]:addr:port-cmd:COMMAND or [tcp]:addr:port-unix:PATH"

/* "tcp:", "udp:" or ":" at *p; moves past it. */
static bool take_protocol(const char **p, bool *udp)
{
    *udp = !strncmp(*p, "udp:", 4);
    if (*udp || !strncmp(*p, "tcp:", 4)) {
        *p += 4;
        return true;
    }
    return **p == ':' && (*p)++;
}

/* "[addr]:port" up to `end`. An empty address gives `fallback`; port 0 only where `any_port`. */
static bool take_endpoint(const char *p, const char *end, struct in_addr fallback, bool any_port,
                          struct endpoint *out)
{
    const char *colon = memchr(p, ':', end - p);
    g_autofree char *addr = NULL, *port = NULL;
    uint64_t n;

    if (!colon)
        return false;
    addr = g_strndup(p, colon - p);
    port = g_strndup(colon + 1, end - colon - 1);
    out->addr = fallback;
    if (*addr && inet_pton(AF_INET, addr, &out->addr) != 1)
        return false;
    if (!isdigit((unsigned char)*port) || viv_parse_u64(port, &n, NULL) < 0 || n > 65535 ||
        (!n && !any_port))
        return false;
    out->port = n;
    return true;
}

static void refuse_taken(struct user_net *u, const char *rule, bool udp, const struct endpoint *h,
                         int errnum, struct viv_err *err)
{
    g_autofree char *owner = errnum == EADDRINUSE ? user_port_owner(udp, h->port) : NULL;
    char addr[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &h->addr, addr, sizeof(addr));
    if (errnum == EADDRINUSE)
        viv_fail(err, errnum, "hostfwd=%s: %s port %u of %s is in use%s%s; choose another host port or "
                 "end its owner",
                 rule, udp ? "udp" : "tcp", h->port, addr, owner ? " by " : "", owner ? owner : "");
    else
        viv_fail_os(err, errnum, "hostfwd=%s: cannot listen on %s port %u of %s%s", rule,
                    udp ? "udp" : "tcp", h->port, addr,
                    errnum == EACCES ? " (ports below 1024 are for root; choose a higher one)" : "");
}

int user_hostfwd_add(struct user_net *u, const char *rule, struct viv_err *err)
{
    struct endpoint host, guest;
    const char *p = rule, *dash = strchr(rule, '-');
    bool udp;
    int rc, saved;

    if (!dash || !take_protocol(&p, &udp) || p > dash ||
        !take_endpoint(p, dash, (struct in_addr){INADDR_ANY}, true, &host) ||
        !take_endpoint(dash + 1, rule + strlen(rule), u->dhcp, false, &guest))
        return bad_rule("hostfwd", rule, HOSTFWD_FORM, err);
    if (!guest.addr.s_addr) /* 0.0.0.0 is nobody's, and said for "the guest", as in QEMU */
        guest.addr = u->dhcp;
    if ((guest.addr.s_addr & u->mask.s_addr) != u->net.s_addr)
        return viv_fail(err, EINVAL, "hostfwd=%s: the guest address is not in the guest's network", rule);
    pthread_mutex_lock(&u->lock);
    rc = slirp_add_hostfwd(u->slirp, udp, host.addr, host.port, guest.addr, guest.port);
    saved = errno;
    pthread_mutex_unlock(&u->lock);
    if (rc >= 0)
        return 0;
    refuse_taken(u, rule, udp, &host, saved ? saved : EADDRINUSE, err);
    return -(saved ? saved : EADDRINUSE);
}

int user_hostfwd_remove(struct user_net *u, const char *rule, struct viv_err *err)
{
    const char *p = rule, *dash = strchr(rule, '-');
    struct endpoint host;
    bool udp;
    int rc;

    if (!take_protocol(&p, &udp) || !take_endpoint(p, dash ? dash : rule + strlen(rule),
                                                   (struct in_addr){INADDR_ANY}, false, &host))
        return bad_rule("hostfwd_remove", rule, "[tcp|udp]:[hostaddr]:hostport", err);
    pthread_mutex_lock(&u->lock);
    rc = slirp_remove_hostfwd(u->slirp, udp, host.addr, host.port);
    pthread_mutex_unlock(&u->lock);
    return rc < 0 ? viv_fail(err, ENOENT, "there is no forward of %s", rule) : 0;
}

int user_guestfwd_add(struct user_net *u, const char *rule, struct viv_err *err)
{
    const char *p = rule, *dash = strchr(rule, '-');
    g_autofree char *path = NULL;
    struct endpoint server;
    bool udp;
    int rc;

    if (viv_sandbox_cannot("guestfwd= starts a program or connects for each connection of the guest", err) < 0)
        return -EPERM;
    if (!dash || !take_protocol(&p, &udp) || udp || p > dash ||
        !take_endpoint(p, dash, (struct in_addr){0}, false, &server) || !server.addr.s_addr)
        return bad_rule("guestfwd", rule, GUESTFWD_FORM, err);
    if ((server.addr.s_addr & u->mask.s_addr) != u->net.s_addr)
        return viv_fail(err, EINVAL, "guestfwd=%s: the address is not in the guest's network", rule);
    if (!strncmp(dash + 1, "unix:", 5))
        path = viv_unix_path(dash + 6);
    pthread_mutex_lock(&u->lock);
    if (!strncmp(dash + 1, "cmd:", 4))
        rc = slirp_add_exec(u->slirp, dash + 5, &server.addr, server.port);
    else if (path)
        rc = slirp_add_unix(u->slirp, path, &server.addr, server.port);
    else
        rc = -2;
    pthread_mutex_unlock(&u->lock);
    if (rc == -2)
        return viv_fail(err, ENOTSUP, "guestfwd=%s: '%s' is no target that works; unix:PATH and cmd:COMMAND do, as in cmd:nc HOST PORT",
                        rule, dash + 1);
    return rc < 0 ? viv_fail(err, EINVAL, "guestfwd=%s: the address and port are taken, by another "
                             "guestfwd or by the gateway itself", rule)
                  : 0;
}

/* --- who has the port: /proc/net/tcp gives the socket's inode, /proc/PID/fd the process --- */

static unsigned long inode_of_port(const char *table, bool udp, uint16_t port)
{
    FILE *f = fopen(table, "re");
    unsigned long inode, found = 0;
    unsigned local, state;
    char line[512];

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local,
                   &state, &inode) == 3 &&
            local == port && (udp || state == 0x0a)) /* 0x0a: LISTEN */
            found = inode;
    }
    fclose(f);
    return found;
}

static bool has_socket(const char *pid, unsigned long inode)
{
    g_autofree char *dir = g_strdup_printf("/proc/%s/fd", pid);
    g_autofree char *want = g_strdup_printf("socket:[%lu]", inode);
    DIR *d = opendir(dir);
    struct dirent *e;
    bool found = false;

    if (!d)
        return false;
    while (!found && (e = readdir(d))) {
        char link[64];
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

        link[n > 0 ? n : 0] = '\0';
        found = !strcmp(link, want);
    }
    closedir(d);
    return found;
}

static char *owner_of_inode(unsigned long inode)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    char *owner = NULL;

    while (d && !owner && (e = readdir(d))) {
        g_autofree char *path = NULL, *comm = NULL;

        if (!isdigit((unsigned char)e->d_name[0]) || !has_socket(e->d_name, inode))
            continue;
        path = g_strdup_printf("/proc/%s/comm", e->d_name);
        if (g_file_get_contents(path, &comm, NULL, NULL))
            owner = g_strdup_printf("pid %s (%s)", e->d_name, g_strchomp(comm));
        else
            owner = g_strdup_printf("pid %s", e->d_name);
    }
    if (d)
        closedir(d);
    return owner;
}

char *user_port_owner(bool udp, uint16_t port)
{
    static const char *const tables[2][2] = {{"/proc/net/tcp", "/proc/net/tcp6"},
                                             {"/proc/net/udp", "/proc/net/udp6"}};

    for (int i = 0; i < 2; i++) {
        unsigned long inode = inode_of_port(tables[udp][i], udp, port);

        if (inode)
            return owner_of_inode(inode);
    }
    return NULL;
}
