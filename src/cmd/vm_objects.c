/* -object: things that devices and disks name by id: random number sources, secrets. */
#include "cmd/vm_args.h"

#include "block/throttle.h"
#include "crypto/authz.h"
#include "crypto/secret.h"
#include "crypto/tlscreds.h"
#include "host/iothread.h"
#include "host/random.h"
#include "mem/backend.h"
#include "net/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct viv_opt_def builtin_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for rng= of a virtio-rng"},
    VIV_OPT_END,
};

static const struct viv_opt_def random_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for rng= of a virtio-rng"},
    {.name = "filename", .type = VIV_OPT_STR, .def = "/dev/urandom", .help = "character device or FIFO to read"},
    VIV_OPT_END,
};

static int add_builtin(struct viv_opts *o, struct viv_err *err)
{
    return viv_random_add(viv_opts_str(o, "id"), NULL, err);
}

static int add_random(struct viv_opts *o, struct viv_err *err)
{
    return viv_random_add(viv_opts_str(o, "id"), viv_opts_str(o, "filename"), err);
}

#define POLLS "the thread sleeps until it is rung; leave it out"
#define POOL  "a disk has as many threads as it has requests for; leave it out"

static const struct viv_opt_def iothread_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for iothread= of virtio-blk and virtio-scsi"},
    {.name = "poll-max-ns", .type = VIV_OPT_REFUSED, .help = POLLS},
    {.name = "poll-grow", .type = VIV_OPT_REFUSED, .help = POLLS},
    {.name = "poll-shrink", .type = VIV_OPT_REFUSED, .help = POLLS},
    {.name = "aio-max-batch", .type = VIV_OPT_REFUSED, .help = POOL},
    {.name = "thread-pool-min", .type = VIV_OPT_REFUSED, .help = POOL},
    {.name = "thread-pool-max", .type = VIV_OPT_REFUSED, .help = POOL},
    VIV_OPT_END,
};

static int add_iothread(struct viv_opts *o, struct viv_err *err)
{
    return viv_iothread_add(viv_opts_str(o, "id"), err);
}

static const struct kind {
    const char *type, *desc;
    const struct viv_opt_def *opts;
    int (*add)(struct viv_opts *o, struct viv_err *err);
    enum vm_object_phase phase;
    int (*del)(const char *id, struct viv_err *err); /* NULL: stays until the machine ends */
} kinds[] = {
    {"authz-list-file", "who may come by TLS: rules in a file, for tls-authz=", viv_authz_list_file_opts, viv_authz_list_file_add, VM_OBJECTS_DISKS, viv_authz_del},
    {"authz-simple", "who may come by TLS: one name, for tls-authz=", viv_authz_simple_opts, viv_authz_simple_add, VM_OBJECTS_DISKS, viv_authz_del},
    {"rng-builtin", "random numbers from the host kernel", builtin_opts, add_builtin, VM_OBJECTS_DEVICES},
    {"filter-dump", "a pcap file of what passes a network back end", viv_dump_opts, viv_dump_add, VM_OBJECTS_NETWORK, viv_dump_del},
    {"iothread", "a thread that serves the queues of disks, for iothread= of virtio-blk and virtio-scsi", iothread_opts, add_iothread, VM_OBJECTS_DEVICES,
     viv_iothread_del},
    {"memory-backend-file", "memory in a file, for -machine memory-backend=", viv_mem_file_opts, viv_mem_file_add, VM_OBJECTS_MEMORY},
    {"memory-backend-memfd", "memory behind a descriptor, huge pages", viv_mem_memfd_opts, viv_mem_memfd_add, VM_OBJECTS_MEMORY},
    {"memory-backend-ram", "anonymous memory", viv_mem_ram_opts, viv_mem_ram_add, VM_OBJECTS_MEMORY},
    {"rng-random", "random numbers from a device of the host", random_opts, add_random, VM_OBJECTS_DEVICES},
    {"secret", "a password or a key, for key-secret= of encrypted images", viv_secret_opts, viv_secret_add, VM_OBJECTS_DISKS, viv_secret_del},
    {"throttle-group", "limits that disks share, for throttle-group= of driver=throttle", viv_throttle_group_opts, viv_throttle_group_add, VM_OBJECTS_DISKS,
     viv_throttle_group_del},
    {"tls-creds-anon", "TLS that hides what is said but not from whom: for tls-creds= of -vnc", viv_tls_anon_opts, viv_tls_anon_add, VM_OBJECTS_DISKS, viv_tls_creds_del},
    {"tls-creds-psk", "TLS with keys that both sides know, for tls-creds= of nbd", viv_tls_psk_opts, viv_tls_psk_add, VM_OBJECTS_DISKS, viv_tls_creds_del},
    {"tls-creds-x509", "TLS with certificates, for tls-creds= of nbd and -vnc", viv_tls_x509_opts, viv_tls_x509_add, VM_OBJECTS_DISKS, viv_tls_creds_del},
};

static int no_such_kind(const char *type, struct viv_err *err)
{
    const char *names[G_N_ELEMENTS(kinds) + 1] = {NULL};
    const char *near;

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        names[i] = kinds[i].type;
    near = viv_nearest(type, names);
    return viv_fail(err, EINVAL, "-object %.60s: there is no such object yet%s%s%s; there are authz-list-file, authz-simple, filter-dump, iothread, memory-backend-file, -memfd and -ram, rng-random, rng-builtin, secret, "
                    "throttle-group, tls-creds-anon, -psk and -x509", type,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int find_kind(const char *type, const struct kind **out, struct viv_err *err)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        if (!g_strcmp0(kinds[k].type, type)) {
            *out = &kinds[k];
            return 0;
        }
    }
    return type ? no_such_kind(type, err) : viv_fail(err, EINVAL, "-object: no type named; '-object help' lists them");
}

/* Of the type taken out of `r`. */
static int add_kind(const struct kind *kind, struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("%s %s", viv_raw_what(r), kind->type);
    struct viv_opts *o;
    int rc = viv_opts_from_raw(what, kind->opts, r, &o, err);

    if (rc < 0)
        return rc;
    rc = kind->add(o, err);
    if (rc < 0)
        viv_err_prefix(err, "%s", what);
    viv_opts_free(o);
    return rc;
}

static int one_object(const char *text, enum vm_object_phase phase, struct viv_err *err)
{
    const struct kind *kind = NULL;
    g_autofree char *type = NULL;
    struct viv_raw_opts *r;
    int rc = viv_raw_parse("-object", "qom-type", text, &r, err);

    if (rc < 0)
        return rc;
    type = viv_raw_take(r, "qom-type");
    rc = find_kind(type, &kind, err);
    if (!rc && kind->phase == phase)
        rc = add_kind(kind, r, err);
    viv_raw_free(r);
    return rc;
}

int vm_object_add(struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(r, "qom-type");
    const struct kind *kind;
    int rc = find_kind(type, &kind, err);

    if (!rc && kind->phase == VM_OBJECTS_MEMORY)
        rc = viv_fail(err, ENOTSUP, "object-add %s: memory does not come or go while the machine runs; -object on the command line makes it", type);
    return rc < 0 ? rc : add_kind(kind, r, err);
}

/* Ids are told apart by what each kind says of them: the first that knows it deletes it, or says who uses it. */
int vm_object_del(const char *id, struct viv_err *err)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        struct viv_err why = VIV_ERR_INIT;
        int rc = kinds[k].del ? kinds[k].del(id, &why) : -ENOENT;

        if (rc != -ENOENT && rc < 0)
            *err = why;
        if (rc != -ENOENT)
            return rc;
        viv_err_clear(&why);
    }
    if (viv_random_find(id))
        return viv_fail(err, EBUSY, "object '%.60s' is a source of random numbers, which stays until the machine ends", id);
    return viv_fail(err, ENOENT, "object '%.60s' not found", id);
}

const struct viv_opt_def *vm_object_opts(unsigned i, const char **name)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        if (kinds[k].phase == VM_OBJECTS_MEMORY || i-- > 0)
            continue;
        *name = kinds[k].type;
        return kinds[k].opts;
    }
    return NULL;
}

int vm_make_objects(struct vm_args *a, enum vm_object_phase phase, struct viv_err *err)
{
    int rc = 0;

    for (guint i = 0; a->objects && i < a->objects->len && !rc; i++)
        rc = one_object(g_array_index(a->objects, struct vm_item, i).text, phase, err);
    return rc;
}

bool vm_object_help(const char *type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (type && !strcmp(kinds[i].type, type)) {
            viv_opts_print_help(type, kinds[i].opts, stdout);
            return true;
        }
    }
    if (type)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        printf("%-20s %s\n", kinds[i].type, kinds[i].desc);
    return true;
}
