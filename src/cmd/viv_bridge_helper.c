/* viv-bridge-helper: makes a TAP interface on a bridge for a VM that may not do that itself, and passes it.
 *
 *     viv-bridge-helper [--use-vnet] --br=BRIDGE --fd=SOCKET
 *
 * The command line and the answer (one byte with the descriptor beside it, SCM_RIGHTS) are those of qemu-bridge-helper, so that
 * either serves the other's callers. Set-uid root or with the file capability cap_net_admin. Whoever calls chooses arguments,
 * environment, descriptors and limits: so there is no library here but libc and libcap-ng, and nothing is read from the
 * environment. Of all privileges only CAP_NET_ADMIN is left when the first file is read, and none when the answer is sent. */
#include "cmd/bridge_acl.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const config_files[] = {"/etc/viv/bridge.conf", "/etc/qemu/bridge.conf"};

struct args {
    const char *bridge;
    int fd;
    bool vnet_hdr;
};

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *fmt, ...)
{
    va_list ap;

    fputs("viv-bridge-helper: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

/* ---- arguments ---- */

static int usage(FILE *out)
{
    fprintf(out, "usage: viv-bridge-helper [--use-vnet] --br=BRIDGE --fd=SOCKET\n\n"
                 "Makes a TAP interface on BRIDGE and passes it over the unix socket that is descriptor SOCKET.\n"
                 "%s, else %s, says which bridges: lines 'allow BRIDGE', 'deny BRIDGE' ('all' for any),\n"
                 "'include /PATH'.\n", config_files[0], config_files[1]);
    return out == stderr;
}

static int parse_fd(const char *text, int *fd)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < 0 || v > 1 << 20)
        return fail("--fd=%.40s is no descriptor", text);
    *fd = (int)v;
    return 0;
}

/* Exit code, or -1: go on. */
static int parse(struct args *a, int argc, char **argv)
{
    static const struct option longs[] = {{"br", required_argument, NULL, 'b'}, {"fd", required_argument, NULL, 'f'},
                                          {"use-vnet", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},  {0}};
    int c;

    while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        switch (c) {
        case 'b': a->bridge = optarg; break;
        case 'f': if (parse_fd(optarg, &a->fd)) return 1; break;
        case 'v': a->vnet_hdr = true; break;
        case 'h': return usage(stdout);
        case 'V': return printf("viv-bridge-helper version " VIV_VERSION "\n") < 0;
        default: return usage(stderr);
        }
    }
    if (optind < argc || !a->bridge || a->fd < 0)
        return usage(stderr);
    if (!*a->bridge || strlen(a->bridge) >= IFNAMSIZ || strpbrk(a->bridge, "/:"))
        return fail("'%.40s' is no name of a bridge", a->bridge);
    return -1;
}

/* ---- privileges ---- */

static int keep_net_admin(void)
{
    bool was_root = geteuid() == 0 && getuid() != 0;

    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN) ||
        (was_root || getegid() != getgid() ? capng_change_id((int)getuid(), (int)getgid(), CAPNG_NO_FLAG)
                                           : capng_apply(CAPNG_SELECT_CAPS)))
        return fail("it has not the right to make interfaces: it must be set-uid root, or `setcap cap_net_admin+ep`");
    return 0;
}

static int keep_nothing(void)
{
    capng_clear(CAPNG_SELECT_CAPS);
    return capng_apply(CAPNG_SELECT_CAPS) ? fail("privileges cannot be dropped") : 0;
}

/* ---- rules ---- */

static int check_rules(const char *bridge)
{
    struct acl a = {.bridge = bridge, .owner = 0};
    int rc = -ENOENT;

    for (size_t i = 0; rc == -ENOENT && i < sizeof(config_files) / sizeof(*config_files); i++) {
        bool there = access(config_files[i], F_OK) == 0 || errno != ENOENT;

        if (there) {
            rc = acl_read(&a, config_files[i]);
            break;
        }
    }
    if (rc == -ENOENT && !a.wrong[0])
        return fail("there is neither %s nor %s: no bridge is allowed; root can write 'allow %s' there", config_files[0],
                    config_files[1], bridge);
    if (rc)
        return fail("%s", a.wrong);
    if (a.denied)
        return fail("bridge '%s' is denied by the rules", bridge);
    return acl_allows(&a) ? 0 : fail("no rule allows bridge '%s'", bridge);
}

/* ---- the interface ---- */

static int make_tap(int tun, bool vnet_hdr, char name[IFNAMSIZ])
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    unsigned features = 0;

    if (vnet_hdr && !ioctl(tun, TUNGETFEATURES, &features) && features & IFF_VNET_HDR)
        r.ifr_flags |= IFF_VNET_HDR;
    memcpy(r.ifr_name, "tap%d", sizeof("tap%d"));
    if (ioctl(tun, TUNSETIFF, &r) < 0)
        return fail("a TAP interface cannot be made: %s", strerror(errno));
    memcpy(name, r.ifr_name, IFNAMSIZ);
    return 0;
}

static void set_name(struct ifreq *r, const char *name)
{
    memset(r, 0, sizeof(*r));
    memcpy(r->ifr_name, name, strnlen(name, IFNAMSIZ - 1));
}

/* The kernel knows an interface by more than its name: "br0:x" is br0, and so is an alternative name. The rules know the name. */
static int check_name(int s, const char *bridge)
{
    struct ifreq r;

    set_name(&r, bridge);
    if (ioctl(s, SIOCGIFINDEX, &r) < 0 || ioctl(s, SIOCGIFNAME, &r) < 0)
        return fail("bridge '%s': %s", bridge, strerror(errno));
    return strncmp(r.ifr_name, bridge, IFNAMSIZ) ? fail("bridge '%s' is called '%.15s'", bridge, r.ifr_name) : 0;
}

/* A bridge takes the lowest address of its members unless it was given one: FEh in front keeps ours out of that. The MTU is the
 * bridge's, which would sink to that of the smallest member. */
static int dress(int s, const char *tap, const char *bridge)
{
    struct ifreq r;
    int mtu;

    set_name(&r, bridge);
    if (ioctl(s, SIOCGIFMTU, &r) < 0)
        return fail("bridge '%s': %s", bridge, strerror(errno));
    mtu = r.ifr_mtu;
    set_name(&r, tap);
    r.ifr_mtu = mtu;
    if (ioctl(s, SIOCSIFMTU, &r) < 0)
        return fail("interface '%s': MTU %d: %s", tap, mtu, strerror(errno));
    set_name(&r, tap);
    if (ioctl(s, SIOCGIFHWADDR, &r) < 0)
        return fail("interface '%s': address: %s", tap, strerror(errno));
    r.ifr_hwaddr.sa_data[0] = (char)0xfe;
    if (ioctl(s, SIOCSIFHWADDR, &r) < 0)
        return fail("interface '%s': address: %s", tap, strerror(errno));
    return 0;
}

static int join(int s, const char *tap, const char *bridge)
{
    struct ifreq r;
    int index;

    set_name(&r, tap);
    if (ioctl(s, SIOCGIFINDEX, &r) < 0)
        return fail("interface '%s': %s", tap, strerror(errno));
    index = r.ifr_ifindex;
    set_name(&r, bridge);
    r.ifr_ifindex = index;
    if (ioctl(s, SIOCBRADDIF, &r) < 0)
        return fail("bridge '%s': %s", bridge, errno == EOPNOTSUPP ? "that interface is no bridge" : strerror(errno));
    set_name(&r, tap);
    if (ioctl(s, SIOCGIFFLAGS, &r) < 0)
        return fail("interface '%s': %s", tap, strerror(errno));
    r.ifr_flags |= IFF_UP;
    return ioctl(s, SIOCSIFFLAGS, &r) < 0 ? fail("interface '%s': %s", tap, strerror(errno)) : 0;
}

static int send_fd(int sock, int fd)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {"\0", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : fail("the answer on descriptor %d: %s", sock, strerror(errno));
}

int main(int argc, char **argv)
{
    struct args a = {.fd = -1};
    int rc = parse(&a, argc, argv), family = 0, tun, s;
    socklen_t len = sizeof(family);
    char tap[IFNAMSIZ];

    if (rc >= 0)
        return rc;
    /* Before privileges go: the device may be root's alone. */
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun < 0)
        rc = fail("/dev/net/tun: %s", strerror(errno));
    if (keep_net_admin() || rc > 0)
        return 1;
    if (getsockopt(a.fd, SOL_SOCKET, SO_DOMAIN, &family, &len) || family != AF_UNIX)
        return fail("descriptor %d is no unix socket", a.fd);
    if (check_rules(a.bridge))
        return 1;
    s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return fail("socket: %s", strerror(errno));
    /* Whatever goes wrong from here on: the interface goes with the process. */
    return check_name(s, a.bridge) || make_tap(tun, a.vnet_hdr, tap) || dress(s, tap, a.bridge) || join(s, tap, a.bridge) ||
           keep_nothing() || send_fd(a.fd, tun);
}
