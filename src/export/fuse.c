/* An export as a file: a file system with one file in it is mounted on a regular file, which shows the disk from then on.
 *
 * A few threads wait for requests of the kernel and for the end; which of them gets a request does not matter. */
#include "export/fuse_int.h"

#include "base/log.h"
#include "host/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static GHashTable *mounted; /* paths. Main thread */

static const char *const allow_values[] = {"off", "on", "auto", NULL};
static const struct viv_opt_def fuse_opts[] = {
    VIV_EXPORT_OPTS,
    {.name = "mountpoint", .type = VIV_OPT_STR, .required = true, .help = "a regular file, which shows the disk"},
    {.name = "growable", .type = VIV_OPT_BOOL, .help = "writes behind the end make the disk larger"},
    {.name = "allow-other", .type = VIV_OPT_ENUM, .values = allow_values, .def = "auto", .help = "for other users than this one"},
    VIV_OPT_END,
};

/* --- threads --- */

static void *serve(void *opaque)
{
    struct viv_fuse *f = opaque;
    struct pollfd p[2] = {{fuse_session_fd(f->session), POLLIN, 0}, {f->stop, POLLIN, 0}};
    struct fuse_buf buf = {0};

    while (!fuse_session_exited(f->session)) {
        int n;

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            break;
        if (!p[0].revents)
            continue;
        n = fuse_session_receive_buf(f->session, &buf);
        if (n == -EINTR || n == -EAGAIN) /* another thread has it */
            continue;
        if (n <= 0)
            break;
        fuse_session_process_buf(f->session, &buf);
    }
    free(buf.mem); /* libfuse's malloc */
    if (!p[1].revents && !__atomic_exchange_n(&f->gone, true, __ATOMIC_RELAXED))
        viv_export_ended(f->x); /* unmounted by somebody else */
    return NULL;
}

static int start_threads(struct viv_fuse *f, struct viv_err *err)
{
    int fd = fuse_session_fd(f->session);

    /* poll() wakes all of them; one reads. */
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return viv_fail_os(err, errno, "cannot serve '%s'", f->path);
    while (f->threads < VIV_FUSE_THREADS) {
        int ret = viv_thread_start(&f->thread[f->threads], "viv-fuse", serve, f, err);

        if (ret)
            return ret;
        f->threads++;
    }
    return 0;
}

static void stop_threads(struct viv_fuse *f)
{
    uint64_t one = 1;

    if (write(f->stop, &one, sizeof(one)) < 0)
        viv_error("eventfd: %s", strerror(errno));
    for (unsigned i = 0; i < f->threads; i++)
        pthread_join(f->thread[i], NULL);
    f->threads = 0;
}

/* --- mounting --- */

static int check_path(const char *path, struct viv_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return viv_fail_os(err, errno, "Failed to stat '%s'", path);
    if (!S_ISREG(st.st_mode))
        return viv_fail(err, EINVAL, "'%s' is not a regular file", path);
    return 0;
}

/* The name that stays the same when this process goes elsewhere, and when it is mounted on. */
static int take_path(struct viv_fuse *f, const char *path, struct viv_err *err)
{
    g_autofree char *real = NULL;
    char *text;
    int ret;

    text = realpath(path, NULL); /* libc's malloc */
    real = g_strdup(text ? text : path);
    free(text);
    if (mounted && g_hash_table_contains(mounted, real))
        return viv_fail(err, EEXIST, "There already is a FUSE export on '%s'", path);
    ret = check_path(real, err);
    if (ret)
        return ret;
    if (!mounted)
        mounted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_add(mounted, g_strdup(real));
    f->path = g_steal_pointer(&real);
    return 0;
}

static int mount_as(struct viv_fuse *f, bool others, struct viv_err *err)
{
    g_autofree char *options = g_strdup_printf("fsname=%s,subtype=viv-storaged,max_read=%u,default_permissions%s",
                                               f->x->id, VIV_FUSE_IO_MAX, others ? ",allow_other" : "");
    struct fuse_args args = {0};
    int ret = 0;

    if (fuse_opt_add_arg(&args, "viv-storaged") || fuse_opt_add_arg(&args, "-o") || fuse_opt_add_arg(&args, options))
        ret = -ENOMEM;
    if (!ret)
        f->session = fuse_session_new(&args, &viv_fuse_ops, sizeof(viv_fuse_ops), f);
    fuse_opt_free_args(&args);
    if (!f->session)
        return viv_fail(err, EIO, "libfuse cannot start for '%s'", f->path);
    if (fuse_session_mount(f->session, f->path) == 0) {
        f->mounted = true;
        return 0;
    }
    fuse_session_destroy(g_steal_pointer(&f->session));
    return viv_fail(err, EIO, "'%s' cannot be mounted on%s", f->path,
                    others ? " for all users (allow-other=off, or user_allow_other in /etc/fuse.conf)" : "");
}

static int mount_it(struct viv_fuse *f, const char *allow_other, struct viv_err *err)
{
    int ret = strcmp(allow_other, "off") == 0 ? -EACCES : mount_as(f, true, err);

    if (!ret || strcmp(allow_other, "on") == 0)
        return ret;
    viv_err_clear(err);
    return mount_as(f, false, err);
}

/* --- the export --- */

static void destroy(struct viv_fuse *f)
{
    if (f->threads)
        stop_threads(f);
    if (f->mounted)
        fuse_session_unmount(f->session);
    if (f->session)
        fuse_session_destroy(f->session);
    if (f->path)
        g_hash_table_remove(mounted, f->path);
    if (f->stop >= 0)
        close(f->stop);
    pthread_mutex_destroy(&f->lock);
    g_free(f->path);
    g_free(f);
}

/* The kernel asks often enough. */
static void on_resized(void *opaque)
{
}

static int fuse_open(struct viv_export *x, struct viv_opts *o, struct viv_err *err)
{
    struct viv_fuse *f;
    int ret = viv_fuse_load(err);

    if (ret)
        return ret;
    if (viv_opts_bool(o, "growable") && !x->writable)
        return viv_fail(err, EINVAL, "growable=on needs writable=on");
    f = g_new0(struct viv_fuse, 1);
    f->x = x;
    f->growable = viv_opts_bool(o, "growable");
    f->mode = x->writable ? 0600 : 0400;
    f->uid = getuid();
    f->gid = getgid();
    f->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&f->lock, NULL);
    ret = f->stop < 0 ? viv_fail_os(err, errno, "no eventfd") : take_path(f, viv_opts_str(o, "mountpoint"), err);
    if (!ret)
        ret = mount_it(f, viv_opts_str(o, "allow-other"), err);
    if (!ret)
        ret = start_threads(f, err);
    if (ret) {
        destroy(f);
        return ret;
    }
    x->state = f;
    viv_blk_on_resize(x->blk, 512, on_resized, f);
    return 0;
}

static int fuse_close(struct viv_export *x, bool hard)
{
    struct viv_fuse *f = x->state;
    bool busy;

    pthread_mutex_lock(&f->lock);
    busy = f->opens && !__atomic_load_n(&f->gone, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&f->lock);
    if (busy && !hard)
        return -EBUSY;
    destroy(f);
    return 0;
}

const struct viv_export_type viv_export_fuse = {
    .name = "fuse",
    .opts = fuse_opts,
    .resizes = true,
    .open = fuse_open,
    .close = fuse_close,
};
