/* viv-nbd: serve a disk image over NBD. Answers to qemu-nbd's command line. */
#include "cmd/nbd.h"

#include "base/log.h"
#include "base/program.h"
#include "block/blk.h"
#include "block/overlay.h"
#include "cmd/daemon.h"
#include "cmd/objects.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct service {
    const struct nbd_args *a;
    struct viv_blk *blk;
    struct viv_nbd_server *server;
    struct viv_nbd_export *export; /* the server's */
    struct nbd_kernel *kernel;
    int listen[NBD_LISTEN_MAX];
    unsigned listens;
    char *socket; /* ours, to be removed at the end: --fork leaves the folder that -k counts from */
    int ended_fd, signal_fd;
    bool served; /* atomic: a client that had chosen the export has gone */
};

static void client_ended(void *opaque, bool negotiated)
{
    struct service *s = opaque;
    uint64_t one = 1;

    if (negotiated)
        __atomic_store_n(&s->served, true, __ATOMIC_RELAXED);
    if (write(s->ended_fd, &one, sizeof(one)) < 0)
        viv_error("eventfd: %s", strerror(errno));
}

/* --- what is served --- */

static int open_node(const struct nbd_args *a, struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts o = a->o;
    int ret;

    if (a->snapshot) {
        o.read_only = true;
        o.unmap = false;
        o.detect_zeroes = VIV_DETECT_OFF;
    }
    ret = a->image_opts ? viv_node_open_options("--image-opts", a->file, NULL, &o, out, err)
                        : viv_node_open_image(a->file, a->format, &o, out, err);
    if (ret)
        viv_err_prefix(err, "Could not open '%s'", a->file);
    else if (a->snapshot)
        ret = viv_node_overlay(*out, &a->o, out, err);
    return ret;
}

static int open_export(struct service *s, struct viv_err *err)
{
    const struct nbd_args *a = s->a;
    unsigned perms = VIV_PERM_READ | (a->o.read_only ? 0 : VIV_PERM_WRITE);
    struct viv_nbd_export_spec spec = {.name = a->name,
                                       .description = a->description,
                                       .offset = a->offset,
                                       .size = UINT64_MAX,
                                       .writable = !a->o.read_only,
                                       .multi_conn = a->clients != 1,
                                       .allocation_depth = a->depth,
                                       .bitmaps = (const char *const *)a->bitmaps->pdata,
                                       .bitmap_count = a->bitmaps->len};
    struct viv_node *n = NULL;
    int ret = open_node(a, &n, err);

    if (!ret)
        ret = viv_blk_new(n, perms, VIV_PERM_READ, "viv-nbd", a->writethrough, &s->blk, err);
    return ret ? ret : viv_nbd_export_new(s->blk, &spec, &s->export, err);
}

static int start_server(struct service *s, struct viv_err *err)
{
    struct viv_nbd_server_opts so = {.handshake_seconds = s->a->handshake_seconds,
                                     .verbose = s->a->verbose,
                                     .ended = client_ended,
                                     .opaque = s};
    int ret = s->a->tls_creds ? viv_tls_creds_get(s->a->tls_creds, true, &so.creds, err) : 0;

    if (!ret && s->a->tls_authz)
        ret = viv_authz_get(s->a->tls_authz, so.creds, &so.authz, err);
    if (!ret)
        s->server = viv_nbd_server_new(&so);
    viv_tls_creds_put(&so.creds);
    viv_authz_put(&so.authz);
    if (ret)
        return ret;
    ret = open_export(s, err);
    if (!ret)
        ret = viv_nbd_server_add(s->server, s->export, err);
    if (!ret && s->a->device)
        return nbd_kernel_connect(s->a->device, s->server, s->export, &s->kernel, err);
    if (!ret) {
        ret = nbd_listen(s->a, s->listen, NBD_LISTEN_MAX, err);
        s->listens = MAX(ret, 0);
        if (s->listens && s->a->path && !nbd_is_activated())
            s->socket = g_canonicalize_filename(s->a->path, NULL);
    }
    return MIN(ret, 0);
}

/* --- serving --- */

static void accept_client(struct service *s, int fd)
{
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    struct viv_err err = VIV_ERR_INIT;

    if (conn < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            viv_warn("cannot take a client: %s", strerror(errno));
            g_usleep(100000); /* until some have gone */
        }
        return;
    }
    if (viv_nbd_server_serve(s->server, conn, NULL, &err))
        viv_warn("cannot serve a client: %s", err.text);
}

static bool is_over(struct service *s)
{
    return !s->a->persistent && __atomic_load_n(&s->served, __ATOMIC_RELAXED) && viv_nbd_server_clients(s->server) == 0;
}

/* Until a signal, or until the last client has gone. */
static void serve(struct service *s)
{
    struct pollfd p[2 + NBD_LISTEN_MAX] = {{s->signal_fd, POLLIN, 0}, {s->ended_fd, POLLIN, 0}};
    uint64_t count;

    while (!is_over(s)) {
        bool room = !s->a->clients || viv_nbd_server_clients(s->server) < s->a->clients;

        for (unsigned i = 0; i < s->listens; i++)
            p[2 + i] = (struct pollfd){room ? s->listen[i] : -1, POLLIN, 0};
        if (poll(p, 2 + s->listens, -1) < 0 && errno != EINTR)
            break;
        if (p[0].revents)
            break;
        if (p[1].revents && read(s->ended_fd, &count, sizeof(count)) < 0)
            break;
        for (unsigned i = 0; i < s->listens; i++) {
            room = !s->a->clients || viv_nbd_server_clients(s->server) < s->a->clients;
            if (p[2 + i].revents && room)
                accept_client(s, s->listen[i]);
        }
    }
}

static int open_events(struct service *s, struct viv_err *err)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    s->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    s->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->signal_fd < 0 || s->ended_fd < 0 ? viv_fail_os(err, errno, "cannot wait for signals") : 0;
}

static int finish(struct service *s, struct viv_err *err)
{
    int ret;

    for (unsigned i = 0; i < s->listens; i++)
        close(s->listen[i]);
    if (s->socket)
        unlink(s->socket);
    g_free(s->socket);
    nbd_kernel_free(s->kernel);
    viv_nbd_server_free(s->server);
    ret = viv_blk_close(s->blk, err);
    cmd_pidfile_remove();
    return ret;
}

static int run_server(const struct nbd_args *a, struct viv_err *err)
{
    struct service s = {.a = a, .signal_fd = -1, .ended_fd = -1};
    struct viv_err late = VIV_ERR_INIT;
    int ret = a->fork ? cmd_daemon_start("--fork", err) : 0;

    if (!ret)
        ret = open_events(&s, err);
    if (!ret)
        ret = start_server(&s, err);
    if (!ret && a->pid_file)
        ret = cmd_pidfile_write("--pid-file", a->pid_file, err);
    if (!ret && a->device)
        printf("NBD device %s is now connected to %s\n", a->device, a->file);
    fflush(stdout);
    if (!ret)
        ret = cmd_daemon_ready(err);
    if (!ret)
        serve(&s);
    if (finish(&s, ret ? &late : err) && !ret)
        ret = -EIO;
    close(s.signal_fd);
    close(s.ended_fd);
    return ret;
}

int main(int argc, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    struct nbd_args a;
    int ret;

    viv_program_init(argv[0], "viv-nbd");
    cmd_objects_use();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    ret = nbd_args_parse(argc, argv, &a, &err);
    if (!ret && a.mode == NBD_LIST)
        ret = nbd_list(&a, &err);
    else if (!ret && a.mode == NBD_DISCONNECT)
        ret = nbd_kernel_disconnect(a.file, &err);
    else if (!ret && a.mode == NBD_SERVE)
        ret = run_server(&a, &err);
    if (ret)
        viv_error("%s", err.text);
    nbd_args_fini(&a);
    cmd_objects_free();
    if (fflush(stdout) && !ret)
        ret = -EIO;
    return ret ? 1 : 0;
}
