/* viv-nbd -L: what a server exports, in qemu-nbd's words. */
#include "cmd/nbd.h"

#include "base/units.h"
#include "block/proto/nbd/handshake.h"
#include "block/proto/nbd/wire.h"
#include "host/clock.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_SECONDS 30

static void print_flags(uint16_t flags)
{
    static const char *const names[16] = {NULL,     "readonly", "flush",  "fua",   "rotational", "trim",     "zeroes", "df",
                                          "multi", "resize",   "cache", "fast-zero"};

    printf("  flags: 0x%x (", flags);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        if (names[i] && (flags >> i & 1))
            printf(" %s", names[i]);
    printf(" )\n");
}

static int print_contexts(struct viv_nbd_chan *c, const char *name, struct viv_err *err)
{
    char **contexts = NULL;
    int ret = viv_nbd_list_contexts(c, name, &contexts, err);

    if (ret)
        return ret;
    if (*contexts)
        printf("  available meta contexts: %u\n", g_strv_length(contexts));
    for (char **k = contexts; *k; k++)
        printf("   %s\n", *k);
    g_strfreev(contexts);
    return 0;
}

static int print_export(struct viv_nbd_chan *c, const char *name, bool structured, struct viv_err *err)
{
    g_autofree char *shown = viv_nbd_clean_text(name, strlen(name));
    struct viv_nbd_info i;
    int ret = viv_nbd_ask(c, name, &i, err);

    if (ret)
        return ret;
    printf(" export: '%s'\n", shown);
    if (i.description && *i.description)
        printf("  description: %s\n", i.description);
    printf("  size:  %llu\n", (unsigned long long)i.size);
    print_flags(i.flags);
    if (i.has_blocks)
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", i.min_block, i.pref_block, i.max_payload);
    viv_nbd_info_fini(&i);
    return structured ? print_contexts(c, name, err) : 0;
}

static int ask_all(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_err *err)
{
    bool structured = false;
    char **names = NULL;
    int ret = viv_nbd_greet(c, t, &structured, err);

    if (!ret)
        ret = viv_nbd_list(c, &names, err);
    if (ret)
        return ret;
    printf("exports available: %u\n", g_strv_length(names));
    for (char **n = names; *n && !ret; n++)
        ret = print_export(c, *n, structured, err);
    g_strfreev(names);
    viv_nbd_abort(c);
    return ret;
}

int nbd_list(const struct nbd_args *a, struct viv_err *err)
{
    int64_t deadline = viv_clock_ns(VIV_CLOCK_HOST) + ANSWER_SECONDS * (int64_t)VIV_NS_PER_SEC;
    struct viv_nbd_target t = {.host = g_strdup(a->bind ? a->bind : "localhost"),
                               .port = g_strdup(a->port ? a->port : VIV_NBD_PORT),
                               .path = g_strdup(a->path),
                               .export_name = g_strdup(""),
                               .tls_hostname = g_strdup(a->tls_hostname)};
    int ret = a->tls_creds ? viv_tls_creds_get(a->tls_creds, false, &t.creds, err) : 0, fd;

    if (a->path)
        g_clear_pointer(&t.host, g_free);
    if (!ret && (fd = viv_nbd_target_connect(&t, deadline, NULL, err)) < 0)
        ret = fd;
    if (!ret) {
        struct viv_nbd_chan *c = viv_nbd_chan_new(fd);

        viv_nbd_chan_set_deadline(c, deadline);
        ret = ask_all(c, &t, err);
        viv_nbd_chan_free(c);
    }
    viv_nbd_target_fini(&t);
    return ret;
}
