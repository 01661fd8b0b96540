/* The commands about networks. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "net/announce.h"
#include "net/net.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* ---- forwards ---- */

static const struct viv_opt_def hostfwd_args[] = {
    {.name = "netdev", .type = VIV_OPT_STR, .required = true},
    {.name = "rule", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

static struct viv_netdev *first_user(void)
{
    struct viv_netdev *n = viv_netdev_next(NULL);

    while (n && strcmp(viv_netdev_type(n), "user"))
        n = viv_netdev_next(n);
    return n;
}

/* "hostfwd_add RULE" means the first back end that forwards, "hostfwd_add ID RULE" names one. */
static int hostfwd(struct viv_opts *o, int (*fn)(struct viv_netdev *, const char *, struct viv_err *),
                   struct viv_err *err)
{
    const char *rule = viv_opts_str(o, "rule"), *id = viv_opts_str(o, "netdev");
    struct viv_netdev *n = rule ? viv_netdev_find(id) : first_user();

    if (!n && !rule)
        return viv_fail(err, ENOENT, "there is no user-mode network (-netdev user) whose ports could be forwarded");
    if (!n)
        return viv_fail(err, ENOENT, "there is no netdev '%.60s'", id);
    return fn(n, rule ? rule : id, err);
}

COMMAND(hostfwd_add)
{
    return hostfwd(o, viv_netdev_hostfwd_add, err);
}

COMMAND(hostfwd_remove)
{
    return hostfwd(o, viv_netdev_hostfwd_remove, err);
}

/* ---- back ends that come and go ---- */

/* QMP's lists of strings are lists of objects with one member: "hostfwd": [{"str": "tcp::2222-:22"}]. */
static int add(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    struct viv_raw_opts *plain = viv_raw_new(viv_raw_what(raw));
    int rc;

    for (size_t i = 0; i < viv_raw_count(raw); i++) {
        g_autofree char *short_key = NULL;
        const char *key, *value;

        viv_raw_at(raw, i, &key, &value);
        if (g_str_has_suffix(key, ".str"))
            short_key = g_strndup(key, strlen(key) - 4);
        viv_raw_set(plain, short_key ? short_key : key, value);
    }
    rc = viv_netdev_new(plain, NULL, err);
    viv_raw_free(plain);
    return rc;
}

static const struct viv_opt_def add_args[] = {
    {.name = "netdev", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(add_text)
{
    struct viv_raw_opts *raw;
    int rc;

    if (viv_mon_choices("netdev_add", "type", viv_opts_str(o, "netdev"), viv_netdev_help, result))
        return 0;
    rc = viv_raw_parse("netdev_add", "type", viv_opts_str(o, "netdev"), &raw, err);
    if (rc < 0)
        return rc;
    rc = viv_netdev_new(raw, NULL, err);
    viv_raw_free(raw);
    return rc;
}

static const struct viv_opt_def del_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(del)
{
    struct viv_netdev *n = viv_netdev_find(viv_opts_str(o, "id"));

    if (!n) {
        viv_mon_error_class("DeviceNotFound");
        return viv_fail(err, ENOENT, "Device '%s' not found", viv_opts_str(o, "id"));
    }
    viv_netdev_free(n);
    return 0;
}

/* ---- the cable ---- */

static const struct viv_opt_def link_args[] = {
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    {.name = "up", .type = VIV_OPT_BOOL, .required = true},
    VIV_OPT_END,
};

COMMAND(set_link)
{
    int rc = viv_netdev_set_link(viv_opts_str(o, "name"), viv_opts_bool(o, "up"), err);

    if (rc == -ENOENT)
        viv_mon_error_class("DeviceNotFound");
    return rc;
}

/* ---- info ---- */

static void put_back_end(GString *s, struct viv_netdev *n)
{
    g_autofree char *what = viv_netdev_describe(n);

    g_string_append_printf(s, "%s: index=0,type=%s%s%s%s\n", viv_netdev_id(n), viv_netdev_type(n), what ? "," : "",
                           what ? what : "", viv_netdev_link_up(n) ? "" : " (link down)");
}

COMMAND(info_network)
{
    GString *s = g_string_new(NULL);

    for (struct viv_nic *n = viv_nic_next(NULL); n; n = viv_nic_next(n)) {
        struct viv_netdev *peer = viv_nic_backend(n);
        struct viv_nic_info nic;

        viv_nic_info(n, &nic);
        g_string_append_printf(s, "%s: index=0,type=nic,model=%s,macaddr=%02x:%02x:%02x:%02x:%02x:%02x\n", viv_nic_name(n), nic.model,
                               nic.mac[0], nic.mac[1], nic.mac[2], nic.mac[3], nic.mac[4], nic.mac[5]);
        if (peer) {
            g_string_append(s, " \\ ");
            put_back_end(s, peer);
        }
    }
    for (struct viv_netdev *n = viv_netdev_next(NULL); n; n = viv_netdev_next(n)) {
        if (!viv_netdev_attached(n))
            put_back_end(s, n);
    }
    *result = viv_mon_text(s->str);
    g_string_free(s, TRUE);
    return 0;
}

COMMAND(info_usernet)
{
    GString *s = g_string_new(NULL);

    for (struct viv_netdev *n = viv_netdev_next(NULL); n; n = viv_netdev_next(n)) {
        g_autofree char *text = viv_netdev_info(n);

        if (text)
            g_string_append_printf(s, "%s:\n%s", viv_netdev_id(n), text);
    }
    *result = viv_mon_text(s->str);
    g_string_free(s, TRUE);
    return 0;
}

/* ---- what cards let through ---- */

static json_t *mac_text(const uint8_t *m)
{
    return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static json_t *mac_table(const uint8_t (*macs)[6], unsigned count)
{
    json_t *a = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(a, mac_text(macs[i]));
    return a;
}

static json_t *filter_json(const char *name, const uint8_t mac[6], const struct viv_nic_filter *f)
{
    static const char *const rx[] = {"none", "normal", "all"};
    json_t *vlans = json_array();

    for (int i = 4095; i >= 0; i--) {
        if (f->vlan == VIV_NIC_ALL || f->vlans[i / 32] >> (i % 32) & 1)
            json_array_append_new(vlans, json_integer(i));
    }
    return json_pack("{s:s, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o}", "name", name, "promiscuous",
                     f->promiscuous, "multicast", rx[f->multicast], "unicast", rx[f->unicast], "vlan", rx[f->vlan], "broadcast-allowed",
                     f->broadcast, "multicast-overflow", f->multicast_overflow, "unicast-overflow", f->unicast_overflow, "main-mac",
                     mac_text(mac), "vlan-table", vlans, "unicast-table", mac_table(f->macs, f->unicasts), "multicast-table",
                     mac_table(f->macs + f->unicasts, f->multicasts));
}

static const struct viv_opt_def filter_args[] = {
    {.name = "name", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

COMMAND(query_rx_filter)
{
    const char *name = viv_opts_str(o, "name");
    bool found = false;
    json_t *list = json_array();

    for (struct viv_nic *n = viv_nic_next(NULL); n; n = viv_nic_next(n)) {
        struct viv_nic_filter f;
        struct viv_nic_info nic;

        viv_nic_info(n, &nic);
        if (name && strcmp(viv_nic_name(n), name))
            continue;
        found = true;
        if (viv_nic_filter(n, &f)) {
            json_array_append_new(list, filter_json(viv_nic_name(n), nic.mac, &f));
        } else if (name) {
            json_decref(list);
            return viv_fail(err, ENOTSUP, "net client(%s) doesn't support rx-filter querying", name);
        }
    }
    if (name && !found) {
        json_decref(list);
        return viv_fail(err, ENOENT, "invalid net client name: %.60s", name);
    }
    *result = list;
    return 0;
}

/* ---- announcements ---- */

#define MS_MOST INT32_MAX /* 24 days */

static const struct viv_opt_def announce_args[] = {
    {.name = "initial", .type = VIV_OPT_INT, .required = true, .min = 0, .max = MS_MOST, .help = "ms from the first frame to the second"},
    {.name = "max", .type = VIV_OPT_INT, .required = true, .min = 0, .max = MS_MOST, .help = "ms between two frames at most"},
    {.name = "rounds", .type = VIV_OPT_INT, .required = true, .min = 0, .max = INT32_MAX, .help = "frames; 0 ends one of the same id"},
    {.name = "step", .type = VIV_OPT_INT, .required = true, .min = 0, .max = MS_MOST, .help = "ms more each time"},
    {.name = "interfaces", .type = VIV_OPT_LIST, .help = "ids of network cards; none: all"},
    {.name = "id", .type = VIV_OPT_STR, .help = "another one of this id ends"},
    VIV_OPT_END,
};
static const struct viv_opt_def hmp_announce_args[] = {
    {.name = "interfaces", .type = VIV_OPT_STR, .help = "ids of network cards, with commas"},
    {.name = "id", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

COMMAND(announce_self)
{
    const struct viv_announce_params p = {.initial_ms = viv_opts_int(o, "initial"), .max_ms = viv_opts_int(o, "max"),
                                          .step_ms = viv_opts_int(o, "step"), .rounds = viv_opts_int(o, "rounds")};
    size_t n = viv_opts_list_len(o, "interfaces");
    g_autofree const char **nics = g_new0(const char *, n + 1);

    for (size_t i = 0; i < n; i++)
        nics[i] = viv_opts_list_item(o, "interfaces", i);
    return viv_announce(&p, nics, n, viv_opts_str(o, "id"), err);
}

COMMAND(hmp_announce_self)
{
    const char *words = viv_opts_str(o, "interfaces");
    g_auto(GStrv) nics = g_strsplit(words ? words : "", ",", -1);

    return viv_announce(&viv_announce_defaults, (const char *const *)nics, g_strv_length(nics), viv_opts_str(o, "id"), err);
}

const struct viv_mon_cmd viv_mon_network[] = {
    {"hostfwd_add", NULL, "[netdev:netdev] rule", hostfwd_args,
     "redirect a host port to the guest: [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport", hostfwd_add},
    {"hostfwd_remove", NULL, "[netdev:netdev] rule", hostfwd_args, "remove a redirection: [tcp|udp]:[hostaddr]:hostport", hostfwd_remove},
    {.qmp = "netdev_add", .help = "add a network back end", .raw = add, .takes = "Netdev"},
    {"netdev_add", NULL, "netdev", add_args, "add a network back end: type,id=id[,prop=value]...", add_text},
    {"netdev_del", "netdev_del", "id:netdev", del_args, "remove a network back end; a card that has it loses its cable", del},
    {"set_link", "set_link", "name:link up:switch", link_args, "plug (on) or pull (off) a network card's cable", set_link},
    {NULL, "query-rx-filter", NULL, filter_args, "what network cards let through to their drivers", query_rx_filter, .returns = "[RxFilterInfo]"},
    {NULL, "announce-self", NULL, announce_args, "have network cards tell switches where they are", announce_self},
    {"announce_self", NULL, "[interfaces [id]]", hmp_announce_args, "have network cards tell switches where they are", hmp_announce_self},
    {"info network", NULL, NULL, NULL, "show network cards and back ends", info_network},
    {"info usernet", NULL, NULL, NULL, "show user network connections", info_usernet},
    {NULL},
};
