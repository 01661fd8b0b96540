/* `-netdev user`: options, life, saved state. */
#include "net/user.h"

#include "base/log.h"
#include "host/lock.h"
#include "host/broker.h"
#include "host/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STATE_MAX 4096 /* libslirp's: its own has 131 bytes */

static const struct viv_opt_def user_opts[] = {
    {.name = "ipv4", .type = VIV_OPT_BOOL, .def = "on", .help = "IPv4"},
    {.name = "ipv6", .type = VIV_OPT_BOOL, .def = "on", .help = "IPv6"},
    {.name = "net", .type = VIV_OPT_STR, .def = "10.0.2.0/24", .help = "network: address[/bits or /mask]"},
    {.name = "host", .type = VIV_OPT_STR, .help = "the gateway's address (ends in 2.2, as far as the mask leaves room)"},
    {.name = "dhcpstart", .type = VIV_OPT_STR, .help = "first address DHCP gives (ends in 2.15)"},
    {.name = "dns", .type = VIV_OPT_STR, .help = "the name server's address (ends in 2.3); any other is told to the guest as it is"},
    {.name = "ipv6-net", .type = VIV_OPT_STR, .def = "fec0::/64", .help = "IPv6 prefix[/bits]"},
    {.name = "ipv6-prefix", .type = VIV_OPT_STR, .help = "IPv6 prefix (with ipv6-prefixlen)"},
    {.name = "ipv6-prefixlen", .type = VIV_OPT_INT, .min = 1, .max = 126, .help = "its bits"},
    {.name = "ipv6-host", .type = VIV_OPT_STR, .help = "the gateway's IPv6 address (prefix::2)"},
    {.name = "ipv6-dns", .type = VIV_OPT_STR, .help = "the name server's IPv6 address (prefix::3)"},
    {.name = "restrict", .type = VIV_OPT_BOOL, .def = "off",
     .help = "no way out for the guest; forwards still work"},
    {.name = "hostname", .type = VIV_OPT_STR, .help = "client name that DHCP reports"},
    {.name = "domainname", .type = VIV_OPT_STR, .help = "domain that DHCP reports"},
    {.name = "dnssearch", .type = VIV_OPT_LIST, .help = "search domain that DHCP reports"},
    {.name = "hostfwd", .type = VIV_OPT_LIST,
     .help = "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"},
    {.name = "guestfwd", .type = VIV_OPT_LIST, .help = "[tcp]:addr:port-cmd:COMMAND or -unix:PATH"},
    {.name = "tftp", .type = VIV_OPT_STR, .help = "folder to serve by TFTP, read only"},
    {.name = "tftp-server-name", .type = VIV_OPT_STR, .help = "name of the TFTP server for DHCP"},
    {.name = "bootfile", .type = VIV_OPT_STR, .help = "file that DHCP tells to boot"},
    {.name = "smb", .type = VIV_OPT_REFUSED,
     .help = "needs a Samba server per VM; serve the folder over SSH or HTTP on the host, which the guest "
             "reaches as 10.0.2.2"},
    {.name = "smbserver", .type = VIV_OPT_REFUSED, .help = "goes with smb=, which is refused"},
    VIV_OPT_END,
};

/* --- addresses --- */

/* The mask of a network that comes without one: a private network whole (RFC 1918), else by its class (RFC 791, 2.3). */
static uint32_t usual_mask(uint32_t net)
{
    if (net >> 20 == 0xac1) /* 172.16 to 172.31 */
        return 0xfff00000;
    if (net >> 16 == 0xc0a8) /* 192.168 */
        return 0xffff0000;
    return net >> 31 == 0 ? 0xff000000 : net >> 30 == 2 ? 0xffff0000 : 0xffffff00;
}

static int parse_net(struct user_net *u, const char *text, struct viv_err *err)
{
    g_auto(GStrv) part = g_strsplit(text, "/", 2);
    struct in_addr mask;
    uint64_t bits;

    if (inet_pton(AF_INET, part[0], &u->net) != 1)
        return viv_fail(err, EINVAL, "net=%s is no network like 10.0.2.0/24", text);
    mask.s_addr = htonl(usual_mask(ntohl(u->net.s_addr)));
    if (part[1] && inet_pton(AF_INET, part[1], &mask) != 1) {
        if (viv_parse_u64(part[1], &bits, NULL) < 0 || bits < 1 || bits > 30)
            return viv_fail(err, EINVAL, "net=%s: the mask is 1 to 30 bits, or like 255.255.255.0", text);
        mask.s_addr = htonl(UINT32_MAX << (32 - bits));
    }
    if (~ntohl(mask.s_addr) & (~ntohl(mask.s_addr) + 1) || ~ntohl(mask.s_addr) < 3)
        return viv_fail(err, EINVAL, "net=%s: the mask is not a run of 1 to 30 bits", text);
    u->mask = mask;
    u->net.s_addr &= mask.s_addr;
    return 0;
}

/* An address of the guest's network: as given, else number `n` in it. `anywhere`: of another network, too. */
static int pick_addr(struct user_net *u, struct viv_opts *o, const char *key, uint32_t n, bool anywhere,
                     struct in_addr *out, struct viv_err *err)
{
    const char *text = viv_opts_str(o, key);

    if (!text) {
        out->s_addr = u->net.s_addr | (htonl(n) & ~u->mask.s_addr);
        return 0;
    }
    if (inet_pton(AF_INET, text, out) != 1)
        return viv_fail(err, EINVAL, "%s=%s is no address", key, text);
    if (!anywhere && (out->s_addr & u->mask.s_addr) != u->net.s_addr)
        return viv_fail(err, EINVAL, "%s=%s is no address in net=%s", key, text, viv_opts_str(o, "net"));
    return 0;
}

static int take_ipv4(struct user_net *u, struct viv_opts *o, SlirpConfig *c, struct viv_err *err)
{
    int rc = parse_net(u, viv_opts_str(o, "net"), err);

    if (!rc)
        rc = pick_addr(u, o, "host", 0x0202, false, &u->host, err);
    /* A name server elsewhere (dns=9.9.9.9) is one that the guest asks itself, where it may. */
    if (!rc)
        rc = pick_addr(u, o, "dns", 0x0203, !u->restricted, &u->dns, err);
    if (!rc)
        rc = pick_addr(u, o, "dhcpstart", 0x020f, false, &u->dhcp, err);
    if (rc)
        return rc;
    if (u->host.s_addr == u->dns.s_addr || u->host.s_addr == u->dhcp.s_addr ||
        u->dns.s_addr == u->dhcp.s_addr)
        return viv_fail(err, EINVAL, "host, dns and dhcpstart must be three different addresses");
    c->vnetwork = u->net;
    c->vnetmask = u->mask;
    c->vhost = u->host;
    c->vnameserver = u->dns;
    c->vdhcp_start = u->dhcp;
    return 0;
}

static int parse_prefix(struct viv_opts *o, SlirpConfig *c, struct viv_err *err)
{
    const char *text = viv_opts_str(o, viv_opts_given(o, "ipv6-prefix") ? "ipv6-prefix" : "ipv6-net");
    g_auto(GStrv) part = g_strsplit(text, "/", 2);
    uint64_t bits = viv_opts_given(o, "ipv6-prefixlen") ? viv_opts_int(o, "ipv6-prefixlen") : 64;

    if (viv_opts_given(o, "ipv6-prefix") && viv_opts_given(o, "ipv6-net"))
        return viv_fail(err, EINVAL, "ipv6-net and ipv6-prefix say the same thing; give one");
    if (inet_pton(AF_INET6, part[0], &c->vprefix_addr6) != 1 ||
        (part[1] && (viv_parse_u64(part[1], &bits, NULL) < 0 || bits < 1 || bits > 126)))
        return viv_fail(err, EINVAL, "%s is no IPv6 prefix like fec0::/64", text);
    c->vprefix_len = bits;
    return 0;
}

static int pick_addr6(struct viv_opts *o, const char *key, const SlirpConfig *c, uint8_t n,
                      struct in6_addr *out, struct viv_err *err)
{
    const char *text = viv_opts_str(o, key);

    if (!text) {
        *out = c->vprefix_addr6;
        out->s6_addr[15] |= n;
        return 0;
    }
    if (inet_pton(AF_INET6, text, out) != 1)
        return viv_fail(err, EINVAL, "%s=%s is no IPv6 address", key, text);
    return 0;
}

static bool in_prefix(const struct in6_addr *a, const SlirpConfig *c)
{
    for (unsigned i = 0; i < c->vprefix_len; i++) {
        if ((a->s6_addr[i / 8] ^ c->vprefix_addr6.s6_addr[i / 8]) & 0x80 >> i % 8)
            return false;
    }
    return true;
}

static int take_ipv6(struct viv_opts *o, SlirpConfig *c, struct viv_err *err)
{
    int rc = parse_prefix(o, c, err);

    if (!rc)
        rc = pick_addr6(o, "ipv6-host", c, 2, &c->vhost6, err);
    if (!rc && !in_prefix(&c->vhost6, c))
        rc = viv_fail(err, EINVAL, "ipv6-host=%s is no address in %s", viv_opts_str(o, "ipv6-host"),
                      viv_opts_str(o, viv_opts_given(o, "ipv6-prefix") ? "ipv6-prefix" : "ipv6-net"));
    if (!rc)
        rc = pick_addr6(o, "ipv6-dns", c, 3, &c->vnameserver6, err);
    return rc;
}

/* Addresses of a protocol that is off say that it was not meant to be. */
static int check_off(struct viv_opts *o, const char *family, const char *const *keys, struct viv_err *err)
{
    for (; !viv_opts_bool(o, family) && *keys; keys++) {
        if (viv_opts_given(o, *keys))
            return viv_fail(err, EINVAL, "%s= means nothing with %s=off; leave one of them out", *keys, family);
    }
    return 0;
}

static int check_families(struct viv_opts *o, struct viv_err *err)
{
    static const char *const four[] = {"net", "host", "dns", "dhcpstart", NULL};
    static const char *const six[] = {"ipv6-net", "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns", NULL};
    int rc;

    if (!viv_opts_bool(o, "ipv4") && !viv_opts_bool(o, "ipv6"))
        return viv_fail(err, EINVAL, "ipv4=off and ipv6=off leave nothing");
    rc = check_off(o, "ipv4", four, err);
    return rc ? rc : check_off(o, "ipv6", six, err);
}

static int take_names(struct user_net *u, struct viv_opts *o, SlirpConfig *c, struct viv_err *err)
{
    const char *tftp = viv_opts_str(o, "tftp");

    c->vhostname = viv_opts_str(o, "hostname");
    c->vdomainname = viv_opts_str(o, "domainname");
    c->tftp_server_name = viv_opts_str(o, "tftp-server-name");
    c->bootfile = viv_opts_str(o, "bootfile");
    if (tftp && !g_file_test(tftp, G_FILE_TEST_IS_DIR))
        return viv_fail(err, ENOENT, "tftp=%s is no folder", tftp);
    if (tftp) { /* opened when the guest asks, and -daemonize leaves this folder */
        c->tftp_path = u->tftp = g_canonicalize_filename(tftp, NULL);
        viv_broker_note_folder(tftp);
    }
    if (c->vdomainname && strlen(c->vdomainname) > 255)
        return viv_fail(err, EINVAL, "domainname is longer than 255 characters");
    if (c->bootfile && strlen(c->bootfile) > 127) /* the BOOTP field has 128 bytes (RFC 2131) */
        return viv_fail(err, EINVAL, "bootfile is longer than 127 characters");
    return 0;
}

static int make_slirp(struct user_net *u, struct viv_opts *o, struct viv_err *err)
{
    SlirpConfig c = {.version = SLIRP_CONFIG_VERSION_MAX};
    size_t n = viv_opts_list_len(o, "dnssearch");
    g_autofree const char **search = g_new0(const char *, n + 1);
    int rc = check_families(o, err);

    c.in_enabled = viv_opts_bool(o, "ipv4");
    c.in6_enabled = viv_opts_bool(o, "ipv6");
    c.restricted = u->restricted = viv_opts_bool(o, "restrict");
    if (!rc)
        rc = take_ipv4(u, o, &c, err);
    if (!rc)
        rc = take_ipv6(o, &c, err);
    if (!rc)
        rc = take_names(u, o, &c, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        search[i] = viv_opts_list_item(o, "dnssearch", i);
    c.vdnssearch = n ? search : NULL;
    u->slirp = slirp_new(&c, &user_callbacks, u);
    return u->slirp ? 0 : viv_fail(err, EINVAL, "libslirp %s refused these settings", slirp_version_string());
}

static int add_forwards(struct user_net *u, struct viv_opts *o, struct viv_err *err)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < viv_opts_list_len(o, "hostfwd"); i++)
        rc = user_hostfwd_add(u, viv_opts_list_item(o, "hostfwd", i), err);
    for (size_t i = 0; !rc && i < viv_opts_list_len(o, "guestfwd"); i++)
        rc = user_guestfwd_add(u, viv_opts_list_item(o, "guestfwd", i), err);
    return rc;
}

/* --- life --- */

static void release(struct user_net *u)
{
    if (u->slirp)
        slirp_cleanup(u->slirp);
    while (u->timers) {
        struct user_timer *t = u->timers;

        u->timers = t->next;
        g_free(t);
    }
    viv_frameq_fini(&u->to_host);
    viv_frameq_fini(&u->to_guest);
    g_free(u->big.buf);
    g_free(u->tftp);
    close(u->wake_fd);
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->exited_cond);
}

static int user_create(struct viv_netdev *n, struct viv_opts *opts, struct viv_err *err)
{
    struct user_net *u = (struct user_net *)n;
    int rc;

    viv_sandbox_need(VIV_SANDBOX_NETWORK);
    n->rx_trusted = true;
    n->rx_offloads = VIV_NET_CSUM | VIV_NET_TSO4;
    n->tx_offloads = VIV_NET_CSUM | VIV_NET_TSO4 | VIV_NET_TSO6 | VIV_NET_ECN;
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0)
        return viv_fail_os(err, errno, "%s: eventfd", viv_opts_what(opts));
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->exited_cond, NULL);
    viv_frameq_init(&u->to_host, USER_QUEUE_BYTES);
    viv_frameq_init(&u->to_guest, USER_QUEUE_BYTES);
    rc = make_slirp(u, opts, err);
    if (!rc)
        rc = add_forwards(u, opts, err);
    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        release(u);
    }
    return rc;
}

static void user_destroy(struct viv_netdev *n)
{
    struct user_net *u = (struct user_net *)n;

    user_thread_stop(u);
    release(u);
}

static void user_attached(struct viv_netdev *n)
{
    user_thread_start((struct user_net *)n);
}

/* Frames on the way to the NIC that left are lost, as on a pulled cable. (Frames to the host go on.) */
static void user_detached(struct viv_netdev *n)
{
    struct user_net *u = (struct user_net *)n;

    viv_frameq_clear(&u->to_guest);
    u->big.len = 0;
    if (u->throttled)
        user_wake(u);
}

static bool user_send(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    static const struct viv_net_hdr nothing;
    struct user_net *u = (struct user_net *)n;
    size_t len = 0;

    VIV_ASSERT_DEV_LOCKED();
    for (int i = 0; i < iovcnt; i++)
        len += iov[i].iov_len;
    if (len > VIV_NET_MAX_FRAME)
        return true;
    if (!viv_frameq_push_hdr(&u->to_host, hdr ? hdr : &nothing, sizeof(*hdr), iov, iovcnt, len))
        return false;
    user_wake(u);
    return true;
}

static void user_can_receive_changed(struct viv_netdev *n)
{
    user_deliver((struct user_net *)n);
}

/* --- saved state: libslirp's own, with its version; open connections are lost, as they are for QEMU --- */

static ssize_t append(const void *buf, size_t len, void *opaque)
{
    g_byte_array_append(opaque, buf, len);
    return len;
}

/* libslirp's, whose lock is held. It always has the same length: libslirp saves the sockets of forwards that this process answers
 * itself alone, and there are none (user_guestfwd_add). */
static GByteArray *own_state(struct user_net *u)
{
    GByteArray *bytes = g_byte_array_new();

    slirp_state_save(u->slirp, append, bytes);
    return bytes;
}

static void user_save(struct viv_netdev *n, struct viv_state_writer *w)
{
    struct user_net *u = (struct user_net *)n;
    g_autoptr(GByteArray) bytes = NULL;

    pthread_mutex_lock(&u->lock);
    bytes = own_state(u);
    pthread_mutex_unlock(&u->lock);
    viv_state_put_u32(w, slirp_state_version());
    viv_state_put_u32(w, bytes->len);
    viv_state_put(w, bytes->data, bytes->len);
}

struct cursor {
    const uint8_t *at;
    size_t left;
};

static ssize_t take(void *buf, size_t len, void *opaque)
{
    struct cursor *c = opaque;
    size_t n = len < c->left ? len : c->left;

    memset(buf, 0, len);
    memcpy(buf, c->at, n);
    c->at += n;
    c->left -= n;
    return n;
}

/* libslirp makes sockets of what it reads and uses them before it has judged their numbers (it divides by some, too), so nothing is
 * shown to it but what it writes here: no socket, which is a zero ahead of the rest, and nothing after its own. Older versions wrote
 * no more than it does. */
static bool is_plain(struct user_net *u, uint32_t version, const uint8_t *buf, uint32_t len)
{
    g_autoptr(GByteArray) own = own_state(u);
    uint32_t newest = slirp_state_version();

    return len && !buf[0] && (version == newest ? len == own->len : version < newest && len <= own->len);
}

static int load_locked(struct user_net *u, uint32_t version, const uint8_t *buf, uint32_t len)
{
    struct cursor c = {buf, len};

    return is_plain(u, version, buf, len) ? slirp_state_load(u->slirp, (int)version, take, &c) : -EINVAL;
}

static int user_load(struct viv_netdev *n, struct viv_state_reader *r, struct viv_err *err)
{
    struct user_net *u = (struct user_net *)n;
    uint8_t buf[STATE_MAX];
    uint32_t version, len;
    int rc = viv_state_get_u32(r, &version, err);

    if (!rc)
        rc = viv_state_get_u32(r, &len, err);
    if (rc)
        return rc;
    if (len > sizeof(buf))
        return viv_fail(err, EINVAL, "network '%s': %u bytes of state", n->id, len);
    rc = viv_state_get(r, buf, len, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&u->lock);
    rc = load_locked(u, version, buf, len);
    pthread_mutex_unlock(&u->lock);
    return rc < 0 ? viv_fail(err, EINVAL, "network '%s': libslirp %s cannot read the saved state (its version %u)", n->id,
                             slirp_version_string(), version)
                  : 0;
}

static int user_hostfwd(struct viv_netdev *n, const char *rule, bool add, struct viv_err *err)
{
    struct user_net *u = (struct user_net *)n;
    int rc = add ? user_hostfwd_add(u, rule, err) : user_hostfwd_remove(u, rule, err);

    /* The thread may have collected its sockets already and wait for the device lock, which we hold, before it polls:
     * a wake-up alone would come too early. */
    __atomic_store_n(&u->look_again, true, __ATOMIC_SEQ_CST);
    user_wake(u);
    return rc;
}

static char *user_describe(struct viv_netdev *n)
{
    struct user_net *u = (struct user_net *)n;
    char net[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &u->net, net, sizeof(net));
    inet_ntop(AF_INET, &u->mask, mask, sizeof(mask));
    return g_strdup_printf("net=%s,mask=%s,restrict=%s", net, mask, u->restricted ? "on" : "off");
}

static char *user_info(struct viv_netdev *n)
{
    struct user_net *u = (struct user_net *)n;
    char *text, *copy;

    pthread_mutex_lock(&u->lock);
    text = slirp_connection_info(u->slirp);
    pthread_mutex_unlock(&u->lock);
    copy = g_strdup(text);
    free(text);
    return copy;
}

const struct viv_netdev_type viv_netdev_user = {
    .name = "user",
    .desc = "a TCP/IP stack in the process: needs no privileges and no set-up",
    .opts = user_opts,
    .size = sizeof(struct user_net),
    .create = user_create,
    .destroy = user_destroy,
    .attached = user_attached,
    .detached = user_detached,
    .send = user_send,
    .can_receive_changed = user_can_receive_changed,
    .save = user_save,
    .load = user_load,
    .hostfwd = user_hostfwd,
    .info = user_info,
    .describe = user_describe,
};
