/* pcap (draft-ietf-opsawg-pcap): a header, then each frame behind its time and lengths, in this host's byte order, which the magic
 * number tells. Frames are what the guest and its back end hand each other: large ones are not cut, checksums may be left to do. */
#include "net/dump.h"

#include "base/log.h"
#include "base/units.h"
#include "host/clock.h"
#include "host/open.h"
#include "net/net.h"
#include "opt/object.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#define SEGS 64 /* a frame in more pieces is kept up to there */

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, sigfigs, snaplen, linktype;
};

struct record_header {
    uint32_t sec, usec, kept, len;
};

struct dump {
    struct viv_net_spy spy;
    struct viv_netdev *netdev; /* NULL: it is gone */
    char *id, *file;
    uint32_t maxlen;
    bool to_host, to_guest;
    int fd; /* -1: closed after a failure */
    struct dump *next;
};

static struct dump *dumps;

static const char *const queues[] = {"all", "rx", "tx", NULL};
const struct viv_opt_def viv_dump_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "its name"},
    {.name = "netdev", .type = VIV_OPT_STR, .required = true, .help = "id of the -netdev to look at"},
    {.name = "file", .type = VIV_OPT_STR, .required = true, .help = "file to write, for tcpdump -r and Wireshark"},
    {.name = "maxlen", .type = VIV_OPT_SIZE, .def = "65536", .min = 1, .max = 262144, .help = "bytes of a frame to keep"},
    {.name = "queue", .type = VIV_OPT_ENUM, .values = queues, .def = "all", .help = "rx: what the guest sends, tx: what it gets"},
    VIV_OPT_END,
};

static bool put(struct dump *d, const struct iovec *iov, int n, size_t len)
{
    ssize_t rc = writev(d->fd, iov, n);

    if (rc == (ssize_t)len)
        return true;
    viv_warn("filter-dump '%s': %s: %s; nothing more is written", d->id, d->file, rc < 0 ? g_strerror(errno) : "short write");
    close(d->fd);
    d->fd = -1;
    return false;
}

static void on_frame(struct viv_net_spy *spy, bool to_host, const struct iovec *iov, int iovcnt)
{
    struct dump *d = VIV_CONTAINER(spy, struct dump, spy);
    int64_t now = viv_clock_wall_ns();
    struct record_header h = {(uint32_t)(now / (int64_t)VIV_NS_PER_SEC),
                              (uint32_t)(now % (int64_t)VIV_NS_PER_SEC / (int64_t)VIV_NS_PER_US), 0, 0};
    struct iovec out[1 + SEGS] = {{&h, sizeof(h)}};
    int n = 1;

    if (d->fd < 0 || !(to_host ? d->to_host : d->to_guest))
        return;
    for (int i = 0; i < iovcnt; i++) {
        size_t part = MIN(iov[i].iov_len, d->maxlen - h.kept);

        h.len += (uint32_t)iov[i].iov_len;
        if (part && n <= SEGS) {
            out[n++] = (struct iovec){iov[i].iov_base, part};
            h.kept += (uint32_t)part;
        }
    }
    put(d, out, n, sizeof(h) + h.kept);
}

static void on_gone(struct viv_net_spy *spy)
{
    struct dump *d = VIV_CONTAINER(spy, struct dump, spy);

    d->netdev = NULL;
    viv_object_gone(d->id);
    viv_dump_del(d->id, NULL);
}

static struct dump **find(const char *id)
{
    struct dump **d = &dumps;

    while (*d && strcmp((*d)->id, id))
        d = &(*d)->next;
    return d;
}

int viv_dump_add(struct viv_opts *o, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id"), *netdev = viv_opts_str(o, "netdev"), *file = viv_opts_str(o, "file");
    const char *queue = viv_opts_str(o, "queue");
    struct viv_netdev *n = viv_netdev_find(netdev);
    struct file_header h = {0xa1b2c3d4, 2, 4, 0, 0, (uint32_t)viv_opts_size(o, "maxlen"), 1 /* Ethernet */};
    struct iovec iov = {&h, sizeof(h)};
    struct dump *d;
    int fd;

    if (*find(id))
        return viv_fail(err, EEXIST, "there is a filter-dump '%s' already", id);
    if (!n)
        return viv_fail(err, ENOENT, "there is no back end '%s' (-netdev user,id=%s)", netdev, netdev);
    if (viv_netdev_vhost(n))
        return viv_fail(err, ENOTSUP, "filter-dump: the frames of back end '%s' do not come by here, as it has vhost=on; vhost=off works", netdev);
    fd = viv_open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
    if (fd < 0)
        return fd;
    d = g_new0(struct dump, 1);
    *d = (struct dump){.spy = {on_frame, on_gone, NULL}, .netdev = n, .id = g_strdup(id), .file = g_strdup(file),
                       .maxlen = h.snaplen, .to_host = strcmp(queue, "tx") != 0, .to_guest = strcmp(queue, "rx") != 0, .fd = fd};
    d->next = dumps;
    dumps = d;
    viv_netdev_spy_add(n, &d->spy);
    put(d, &iov, 1, sizeof(h));
    return 0;
}

int viv_dump_del(const char *id, struct viv_err *err)
{
    struct dump **at = find(id), *d = *at;

    if (!d)
        return viv_fail(err, ENOENT, "there is no filter-dump '%s'", id);
    *at = d->next;
    if (d->netdev)
        viv_netdev_spy_remove(d->netdev, &d->spy);
    if (d->fd >= 0)
        close(d->fd);
    g_free(d->id);
    g_free(d->file);
    g_free(d);
    return 0;
}

void viv_dump_free_all(void)
{
    while (dumps)
        viv_dump_del(dumps->id, NULL);
}
