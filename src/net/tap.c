#include "net/tap.h"

#include "base/log.h"
#include "host/broker.h"
#include "host/fdname.h"
#include "host/lock.h"
#include "host/loop.h"
#include "net/csum.h"

#include <errno.h>
#include <glib.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BUF_SIZE  (TAP_HEAD + VIV_NET_MAX_FRAME)
#define BATCH     64 /* frames before others get the device lock */
#define SEND_SEGS 64 /* a frame in more pieces is put together first */

/* --- host to guest --- */

static void set_events(struct tap_net *t)
{
    bool vhost = viv_vhost_running(t->n.vhost);

    if (t->watch)
        viv_watch_set_events(t->watch, (t->stalled || vhost ? 0 : POLLIN) | (t->blocked ? POLLOUT : 0));
}

/* One frame into buf. False: there is none. */
static bool read_frame(struct tap_net *t)
{
    size_t skip = TAP_HEAD - t->hdr_len;
    ssize_t got;

    do
        got = read(t->fd, t->buf + skip, BUF_SIZE - skip);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    t->held = skip + got;
    return t->held > TAP_HEAD;
}

/* What is left to be done was the guest's business when the kernel was asked; a driver that was reset since then does not do
 * it. False: the frame is lost. */
static bool make_fit(struct tap_net *t, struct viv_net_hdr *hdr, uint8_t *frame, size_t len)
{
    if (t->n.rx & VIV_NET_CSUM)
        return true;
    if (hdr->gso_type)
        return false;
    if (hdr->flags & VIV_NET_HDR_NEEDS_CSUM && !viv_net_finish_csum(frame, len, hdr))
        return false;
    memset(hdr, 0, sizeof(*hdr));
    return true;
}

/* False: the NIC has no room. */
static bool deliver_held(struct tap_net *t)
{
    uint8_t *frame = t->buf + TAP_HEAD;
    size_t len = t->held - TAP_HEAD;
    struct viv_net_hdr hdr = {0};

    if (t->vnet_hdr)
        memcpy(&hdr, frame - t->hdr_len, sizeof(hdr));
    if (!make_fit(t, &hdr, frame, len) ||
        viv_netdev_deliver(&t->n, frame, len, hdr.flags || hdr.gso_type ? &hdr : NULL))
        t->held = 0;
    return !t->held;
}

static void receive(struct tap_net *t)
{
    unsigned n = 0;

    VIV_ASSERT_DEV_LOCKED();
    if (viv_vhost_running(t->n.vhost))
        return;
    t->stalled = false;
    while (n < BATCH) {
        if (!viv_netdev_can_deliver(&t->n)) {
            t->stalled = true;
            break;
        }
        if (!t->held && !read_frame(t))
            break;
        if (!deliver_held(t)) {
            t->stalled = true;
            break;
        }
        n++;
    }
    if (n)
        viv_netdev_deliver_done(&t->n);
    set_events(t);
}

static void deleted(struct tap_net *t)
{
    viv_watch_free(t->watch);
    t->watch = NULL;
    t->blocked = false;
    viv_netdev_gone(t->n.head ? t->n.head : &t->n);
    if (t->n.ops && t->n.ops->send_ready) /* what waited is lost, as all that comes */
        t->n.ops->send_ready(t->n.nic);
}

static void on_event(void *opaque, int fd, short revents)
{
    struct tap_net *t = opaque;

    if (revents & POLLOUT && t->blocked) {
        t->blocked = false;
        set_events(t);
        if (t->n.ops && t->n.ops->send_ready)
            t->n.ops->send_ready(t->n.nic);
    }
    if (revents & (POLLERR | POLLHUP) && !(revents & POLLIN)) {
        /* The interface was deleted. POLLERR comes with one that is down as well, until it is up. */
        struct ifreq ifr = {0};

        if (ioctl(fd, TUNGETIFF, &ifr) < 0 && errno == EBADFD) {
            viv_warn("%s: interface '%s' was deleted; the network card has no cable any more", t->n.id, t->ifname);
            deleted(t);
            return;
        }
    }
    if (revents & POLLIN)
        receive(t);
}

void tap_can_receive_changed(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    if (t->watch && t->stalled)
        receive(t);
}

/* --- guest to host --- */

static bool write_frame(struct tap_net *t, const struct iovec *iov, int count)
{
    ssize_t rc;

    do
        rc = writev(t->fd, iov, count);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EAGAIN) {
        t->blocked = true;
        set_events(t);
        return false;
    }
    if (rc < 0 && errno == EINVAL)
        viv_guest_error(t->n.id, "the host's kernel refused a frame");
    return true; /* EIO: the interface is down */
}

bool tap_send(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    struct tap_net *t = (struct tap_net *)n;
    struct viv_net_hdr none = {0};
    static uint8_t num_buffers[TAP_HEAD - sizeof(none)]; /* nobody looks at them */
    struct iovec out[2 + SEND_SEGS];
    g_autofree uint8_t *flat = NULL;
    size_t len = 0;
    int k = 0;

    VIV_ASSERT_DEV_LOCKED();
    if (!t->watch)
        return true;
    if (t->blocked)
        return false;
    for (int i = 0; i < iovcnt; i++)
        len += iov[i].iov_len;
    if (len > VIV_NET_MAX_FRAME)
        return true;
    if (t->vnet_hdr)
        out[k++] = (struct iovec){hdr ? (void *)hdr : &none, sizeof(none)};
    if (t->hdr_len > sizeof(none))
        out[k++] = (struct iovec){num_buffers, sizeof(num_buffers)};
    if (iovcnt > SEND_SEGS) {
        flat = g_malloc(len);
        for (int i = 0, at = 0; i < iovcnt; at += iov[i++].iov_len)
            memcpy(flat + at, iov[i].iov_base, iov[i].iov_len);
        out[k++] = (struct iovec){flat, len};
    } else {
        memcpy(out + k, iov, iovcnt * sizeof(*iov));
        k += iovcnt;
    }
    return write_frame(t, out, k);
}

/* --- offloads --- */

static unsigned tun_offloads(unsigned rx)
{
    return (rx & VIV_NET_CSUM ? TUN_F_CSUM : 0) | (rx & VIV_NET_TSO4 ? TUN_F_TSO4 : 0) |
           (rx & VIV_NET_TSO6 ? TUN_F_TSO6 : 0) | (rx & VIV_NET_ECN ? TUN_F_TSO_ECN : 0) |
           (rx & VIV_NET_UFO ? TUN_F_UFO : 0);
}

void tap_rx_changed(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    if (n->head) /* the interface has one setting */
        return;
    if (t->vnet_hdr && ioctl(t->fd, TUNSETOFFLOAD, tun_offloads(n->rx)) < 0)
        viv_warn("%s: offloads %#x of interface '%s': %s", n->id, n->rx, t->ifname, g_strerror(errno));
}

static void find_offloads(struct tap_net *t)
{
    static const unsigned each[] = {VIV_NET_CSUM, VIV_NET_TSO4, VIV_NET_TSO6, VIV_NET_ECN, VIV_NET_UFO};

    if (!t->vnet_hdr)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(each); i++) {
        unsigned with = t->n.rx_offloads | each[i];

        if (!ioctl(t->fd, TUNSETOFFLOAD, tun_offloads(with | VIV_NET_CSUM | (each[i] == VIV_NET_ECN ? VIV_NET_TSO4 : 0))))
            t->n.rx_offloads = with;
    }
    ioctl(t->fd, TUNSETOFFLOAD, 0);
    /* The other way the kernel cuts whatever the header says, in software if it must. */
    t->n.tx_offloads = VIV_NET_CSUM | VIV_NET_TSO4 | VIV_NET_TSO6 | VIV_NET_ECN | VIV_NET_UFO;
}

/* --- life --- */

int tap_adopt(struct tap_net *t, int fd, struct viv_err *err)
{
    int rc = tap_inspect(fd, t->ifname, &t->vnet_hdr, err);

    if (rc < 0) {
        close(fd);
        return rc;
    }
    t->fd = fd;
    t->buf = g_malloc(BUF_SIZE);
    t->hdr_len = t->vnet_hdr ? sizeof(struct viv_net_hdr) : 0;
    find_offloads(t);
    t->stalled = true; /* until there is a NIC */
    t->watch = viv_watch_new(fd, 0, on_event, t);
    return 0;
}

/* A queue that nobody reads is taken off the interface, or the kernel would send part of the connections there. */
static void enable(struct tap_net *t, bool on)
{
    struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

    if (on == (t->watch != NULL))
        return;
    viv_watch_free(t->watch);
    t->watch = NULL;
    if (ioctl(t->fd, TUNSETQUEUE, &ifr) < 0) {
        viv_warn("%s: a queue of interface '%s': %s", t->n.id, t->ifname, g_strerror(errno));
        return;
    }
    if (!on)
        return;
    t->stalled = !t->n.ops;
    t->watch = viv_watch_new(t->fd, 0, on_event, t);
    set_events(t);
}

int tap_add_queue(struct tap_net *t, int fd, struct viv_err *err)
{
    struct tap_net *q = g_new0(struct tap_net, 1);
    int rc;

    q->n.type = t->n.type;
    q->n.id = t->n.id;
    q->n.head = &t->n;
    rc = tap_adopt(q, fd, err);
    if (!rc && (strcmp(q->ifname, t->ifname) || q->vnet_hdr != t->vnet_hdr)) {
        rc = viv_fail(err, EINVAL, "descriptor %d is interface '%s'%s, another is '%s'%s", fd, q->ifname,
                      q->vnet_hdr ? " with vnet headers" : "", t->ifname, t->vnet_hdr ? " with them" : "");
        tap_destroy(&q->n);
    }
    if (rc < 0) {
        g_free(q);
        return rc;
    }
    t->n.more = g_renew(struct viv_netdev *, t->n.more, t->n.more_count + 1);
    t->n.more[t->n.more_count++] = &q->n;
    enable(q, false);
    return 0;
}

void tap_use_queues(struct viv_netdev *n, unsigned count)
{
    for (unsigned i = 0; i < n->more_count; i++)
        enable((struct tap_net *)n->more[i], i + 1 < count);
}

void tap_attached(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    t->stalled = false;
    if (t->watch)
        set_events(t);
}

void tap_detached(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    t->held = 0;
    t->stalled = true;
    if (t->watch)
        set_events(t);
}

void tap_destroy(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;
    struct viv_err err = VIV_ERR_INIT;

    for (unsigned i = 0; i < n->more_count; i++) {
        tap_destroy(n->more[i]);
        g_free(n->more[i]);
    }
    g_free(n->more);
    viv_vhost_free(n->vhost);
    viv_watch_free(t->watch);
    t->watch = NULL;
    if (t->downscript && tap_run_script(t->downscript, t->ifname, &err) < 0)
        viv_warn("%s: %s", n->id, err.text);
    close(t->fd);
    g_free(t->downscript);
    g_free(t->how);
    g_free(t->buf);
}

char *tap_describe(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    return g_strdup_printf("ifname=%s,%s%s", t->ifname, t->how, n->vhost ? ",vhost=on" : "");
}

/* --- vhost --- */

int tap_adopt_vhost(struct tap_net *t, int fd, unsigned poll_us, struct viv_err *err)
{
    return viv_vhost_new(fd, !t->vnet_hdr, poll_us, NULL, &t->n.vhost, err);
}

/* The kernel's vhost passes the guest's header on as it is, so the interface's must be as long. It is one for all queues, and stays:
 * this process can read and write either. */
static int set_header(struct tap_net *t, int len, struct viv_err *err)
{
    struct tap_net *first = t->n.head ? (struct tap_net *)t->n.head : t;

    if (!t->vnet_hdr || t->hdr_len == (unsigned)len)
        return 0;
    if (ioctl(t->fd, TUNSETVNETHDRSZ, &len) < 0)
        return viv_fail_os(err, errno, "interface '%s': headers of %d bytes", t->ifname, len);
    for (unsigned i = 0; i <= first->n.more_count; i++) {
        struct tap_net *q = (struct tap_net *)viv_netdev_queue(&first->n, i);

        q->hdr_len = (unsigned)len;
        q->held = 0; /* one frame that was read and not taken: with the old one */
    }
    return 0;
}

int tap_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    struct tap_net *t = (struct tap_net *)n;
    int rc;

    if (!t->watch)
        return viv_fail(err, ENODEV, "interface '%s' is gone", t->ifname);
    rc = set_header(t, (int)viv_vhost_header(features), err);
    if (!rc)
        rc = viv_vhost_start(n->vhost, t->fd, features, fn, opaque, err);
    t->held = 0; /* one frame is lost rather than late */
    t->blocked = false;
    set_events(t);
    return rc;
}

void tap_vhost_stop(struct viv_netdev *n)
{
    struct tap_net *t = (struct tap_net *)n;

    viv_vhost_stop(n->vhost);
    t->stalled = !n->ops;
    set_events(t);
}

/* --- -netdev tap --- */

static const struct viv_opt_def tap_opts[] = {
    {.name = "ifname", .type = VIV_OPT_STR, .help = "interface of the host; made, and gone with the VM, if it is not there"},
    {.name = "script", .type = VIV_OPT_STR, .help = "program that sets it up, or no (/etc/viv/ifup, else /etc/qemu-ifup)"},
    {.name = "downscript", .type = VIV_OPT_STR,
     .help = "program for the end, or no (/etc/viv/ifdown, else /etc/qemu-ifdown)"},
    {.name = "fd", .type = VIV_OPT_STR, .help = "an open descriptor of an interface: its number, or its name (getfd)"},
    {.name = "br", .type = VIV_OPT_STR, .def = "br0", .help = "with helper=: the bridge"},
    {.name = "helper", .type = VIV_OPT_STR, .help = "program that makes the interface on a bridge"},
    {.name = "sndbuf", .type = VIV_OPT_SIZE, .def = "0", .help = "bytes on their way to the interface (0: no limit)"},
    {.name = "vnet_hdr", .type = VIV_OPT_BOOL, .def = "on", .help = "leave checksums and segments to the kernel"},
    {.name = "vhost", .type = VIV_OPT_BOOL, .def = "off", .help = "let the kernel move the frames"},
    {.name = "vhostforce", .type = VIV_OPT_BOOL, .def = "off", .help = "the same"},
    {.name = "vhostfd", .type = VIV_OPT_STR, .help = "an open descriptor of /dev/vhost-net, so given; vhost=on is meant then"},
    {.name = "vhostfds", .type = VIV_OPT_STR, .help = "several, 5:6:7, one a queue"},
    {.name = "poll-us", .type = VIV_OPT_INT, .def = "0", .max = 1000000, .help = "with vhost=on: the kernel looks so long for more"},
    {.name = "queues", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = TAP_QUEUES, .help = "pairs of queues"},
    {.name = "fds", .type = VIV_OPT_STR, .help = "several open descriptors, 3:4:5, one a queue"},
    VIV_OPT_END,
};

/* What was asked for, "no" for nothing, else the first standard place that is there. g_free; NULL: none. */
static char *pick_script(struct viv_opts *o, const char *key, const char *const *standard)
{
    const char *said = viv_opts_str(o, key);

    if (said)
        return strcmp(said, "no") ? g_strdup(said) : NULL;
    for (; *standard; standard++) {
        if (g_file_test(*standard, G_FILE_TEST_IS_EXECUTABLE))
            return g_strdup(*standard);
    }
    return NULL;
}

static int check_words(struct viv_opts *o, struct viv_err *err)
{
    static const char *const own[] = {"ifname", "script", "downscript", "vnet_hdr", NULL};
    const char *source = viv_opts_given(o, "fd") ? "fd" : viv_opts_given(o, "fds") ? "fds" : viv_opts_given(o, "helper") ? "helper" : NULL;

    for (size_t i = 0; source && own[i]; i++) {
        if (viv_opts_given(o, own[i]))
            return viv_fail(err, EINVAL, "%s= and %s= exclude each other: the interface that %s gives is ready for use",
                            source, own[i], source[0] == 'f' ? "a descriptor" : "the helper");
    }
    if (viv_opts_given(o, "fd") + viv_opts_given(o, "fds") + viv_opts_given(o, "helper") > 1)
        return viv_fail(err, EINVAL, "fd=, fds= and helper= exclude each other");
    if (source && viv_opts_given(o, "queues"))
        return viv_fail(err, EINVAL, "queues= and %s= exclude each other: fds=3:4 gives a descriptor for each queue", source);
    if (viv_opts_given(o, "br") && !viv_opts_given(o, "helper"))
        return viv_fail(err, EINVAL, "br= goes with helper=; -netdev bridge,br=%s is what uses the standard helper",
                        viv_opts_str(o, "br"));
    return 0;
}

/* Is it wanted? 1, 0 or a negative errno. */
static int check_vhost(struct viv_opts *o, struct viv_err *err)
{
    bool fd = viv_opts_given(o, "vhostfd"), fds = viv_opts_given(o, "vhostfds");
    bool on = viv_opts_bool(o, "vhost") || viv_opts_bool(o, "vhostforce");

    if (fd && fds)
        return viv_fail(err, EINVAL, "vhostfd= and vhostfds= exclude each other");
    if ((fd || fds) && !on && viv_opts_given(o, "vhost"))
        return viv_fail(err, EINVAL, "%s= and vhost=off exclude each other", fd ? "vhostfd" : "vhostfds");
    on = on || fd || fds;
    if (!on && viv_opts_int(o, "poll-us"))
        return viv_fail(err, EINVAL, "poll-us= goes with vhost=on");
    return on;
}

const char *const tap_ups[] = {"/etc/viv/ifup", "/etc/qemu-ifup", NULL};
const char *const tap_downs[] = {"/etc/viv/ifdown", "/etc/qemu-ifdown", NULL};

static int open_own(struct tap_net *t, struct viv_opts *o, struct viv_err *err)
{
    g_autofree char *up = pick_script(o, "script", tap_ups), *down = pick_script(o, "downscript", tap_downs);
    const char *name = viv_opts_str(o, "ifname");
    char got[IFNAMSIZ] = "";
    int fd, rc;

    if (name && strlen(name) >= IFNAMSIZ)
        return viv_fail(err, EINVAL, "ifname=%s: at most %d characters", name, IFNAMSIZ - 1);
    g_strlcpy(got, name ? name : "", sizeof(got));
    fd = tap_open(got, viv_opts_bool(o, "vnet_hdr"), viv_opts_int(o, "queues") > 1, err);
    if (fd < 0)
        return fd;
    if (up)
        viv_broker_note_program(up);
    if (down)
        viv_broker_note_program(down);
    if (up) {
        rc = tap_run_script(up, got, err);
        if (rc < 0) {
            close(fd);
            return rc;
        }
    } else if (!viv_opts_str(o, "script")) {
        viv_warn("interface '%s' is as it is: there is no /etc/viv/ifup or /etc/qemu-ifup to set it up (script=no says "
                 "that none is wanted)", got);
    }
    t->how = g_strdup_printf("script=%s,downscript=%s", up ? up : "no", down ? down : "no");
    t->downscript = g_steal_pointer(&down);
    return fd;
}

/* The first queue's descriptor, or a negative errno. */
static int open_first(struct tap_net *t, struct viv_opts *o, char **fds, struct viv_err *err)
{
    int fd;

    if (fds) {
        fd = fds[0] ? viv_fdname_take_any("fd", fds[0], err) : viv_fail(err, EINVAL, "fds= is empty");
        t->how = g_strdup_printf("fd=%d", fd);
    } else if (viv_opts_given(o, "helper")) {
        fd = tap_from_helper(viv_opts_str(o, "helper"), viv_opts_str(o, "br"), err);
        t->how = g_strdup_printf("br=%s,helper=%s", viv_opts_str(o, "br"), viv_opts_str(o, "helper"));
    } else {
        fd = open_own(t, o, err);
    }
    return fd;
}

static int open_others(struct tap_net *t, struct viv_opts *o, char **fds, struct viv_err *err)
{
    unsigned count = fds ? g_strv_length(fds) : (unsigned)viv_opts_int(o, "queues");
    char name[IFNAMSIZ];
    int rc = 0;

    if (count > TAP_QUEUES)
        return viv_fail(err, EINVAL, "fds=: at most %d descriptors", TAP_QUEUES);
    g_strlcpy(name, t->ifname, sizeof(name));
    for (unsigned i = 1; i < count && !rc; i++) {
        int fd = fds ? viv_fdname_take_any("fd", fds[i], err) : tap_open(name, t->vnet_hdr, true, err);

        rc = fd < 0 ? fd : tap_add_queue(t, fd, err);
    }
    return rc;
}

/* One for each queue. */
static int open_vhosts(struct tap_net *t, struct viv_opts *o, struct viv_err *err)
{
    const char *key = viv_opts_given(o, "vhostfds") ? "vhostfds" : "vhostfd", *text = viv_opts_str(o, key);
    g_auto(GStrv) fds = text ? g_strsplit(text, ":", TAP_QUEUES + 2) : NULL;
    unsigned queues = viv_netdev_queues(&t->n);
    int rc = 0;

    if (fds && g_strv_length(fds) != queues)
        return viv_fail(err, EINVAL, "%s=%s: there %s %u queue%s, with a descriptor each", key, text, queues > 1 ? "are" : "is", queues,
                        queues > 1 ? "s" : "");
    for (unsigned i = 0; i < queues && !rc; i++) {
        int fd = fds ? viv_fdname_take_any(key, fds[i], err) : viv_vhost_open(err);

        rc = fd < 0 ? fd
                    : tap_adopt_vhost((struct tap_net *)viv_netdev_queue(&t->n, i), fd, (unsigned)viv_opts_int(o, "poll-us"), err);
    }
    return rc;
}

static int tap_create(struct viv_netdev *n, struct viv_opts *o, struct viv_err *err)
{
    const char *fd_text = viv_opts_given(o, "fds") ? viv_opts_str(o, "fds") : viv_opts_str(o, "fd");
    g_auto(GStrv) fds = fd_text ? g_strsplit(fd_text, ":", TAP_QUEUES + 2) : NULL;
    struct tap_net *t = (struct tap_net *)n;
    int rc = check_words(o, err), vhost = rc ? 0 : check_vhost(o, err), fd;

    if (vhost < 0)
        rc = vhost;
    if (!rc) {
        fd = open_first(t, o, fds, err);
        rc = fd < 0 ? fd : tap_adopt(t, fd, err);
    }
    if (!rc && viv_opts_size(o, "sndbuf"))
        rc = tap_set_sndbuf(t->fd, viv_opts_size(o, "sndbuf"), err);
    if (!rc)
        rc = open_others(t, o, fds, err);
    if (!rc && vhost)
        rc = open_vhosts(t, o, err);
    if (!rc)
        return 0;
    viv_err_prefix(err, "%s", viv_opts_what(o));
    if (t->watch) {
        tap_destroy(n);
    } else {
        g_free(t->how);
        g_free(t->downscript);
    }
    return rc;
}

const struct viv_netdev_type viv_netdev_tap = {
    .name = "tap",
    .desc = "a TAP interface of the host",
    .opts = tap_opts,
    .size = sizeof(struct tap_net),
    .create = tap_create,
    .destroy = tap_destroy,
    .attached = tap_attached,
    .detached = tap_detached,
    .send = tap_send,
    .rx_changed = tap_rx_changed,
    .can_receive_changed = tap_can_receive_changed,
    .describe = tap_describe,
    .vhost_start = tap_vhost_start,
    .vhost_stop = tap_vhost_stop,
    .use_queues = tap_use_queues,
};
