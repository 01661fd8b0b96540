/* -object: what devices name by id, besides what disks do (objects.c). */
#include "cmd/objects.h"
#include "cmd/vm_args.h"

#include "host/iothread.h"
#include "host/random.h"
#include "mem/backend.h"
#include "net/dump.h"

#include <glib.h>

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

#define FIXED_MEMORY "memory does not come or go while the machine runs; -object on the command line makes it"

static const struct viv_object_class rng_builtin = {
    .type = "rng-builtin",
    .desc = "random numbers from the host kernel",
    .parent = "rng-backend",
    .opts = builtin_opts,
    .add = add_builtin,
    .del = viv_random_del,
    .phase = VM_OBJECTS_DEVICES,
}, rng_random = {
    .type = "rng-random",
    .desc = "random numbers from a device of the host",
    .parent = "rng-backend",
    .opts = random_opts,
    .add = add_random,
    .del = viv_random_del,
    .phase = VM_OBJECTS_DEVICES,
}, filter_dump = {
    .type = "filter-dump",
    .desc = "a pcap file of what passes a network back end",
    .parent = "netfilter",
    .opts = viv_dump_opts,
    .add = viv_dump_add,
    .del = viv_dump_del,
    .phase = VM_OBJECTS_NETWORK,
}, iothread = {
    .type = "iothread",
    .desc = "a thread that serves the queues of disks, for iothread= of virtio-blk and virtio-scsi",
    .parent = "event-loop-base",
    .opts = iothread_opts,
    .add = add_iothread,
    .del = viv_iothread_del,
    .phase = VM_OBJECTS_DEVICES,
}, memory_file = {
    .type = "memory-backend-file",
    .desc = "memory in a file, for -machine memory-backend=",
    .parent = "memory-backend",
    .opts = viv_mem_file_opts,
    .add = viv_mem_file_add,
    .phase = VM_OBJECTS_MEMORY,
    .fixed = FIXED_MEMORY,
}, memory_memfd = {
    .type = "memory-backend-memfd",
    .desc = "memory behind a descriptor, huge pages",
    .parent = "memory-backend",
    .opts = viv_mem_memfd_opts,
    .add = viv_mem_memfd_add,
    .phase = VM_OBJECTS_MEMORY,
    .fixed = FIXED_MEMORY,
}, memory_ram = {
    .type = "memory-backend-ram",
    .desc = "anonymous memory",
    .parent = "memory-backend",
    .opts = viv_mem_ram_opts,
    .add = viv_mem_ram_add,
    .phase = VM_OBJECTS_MEMORY,
    .fixed = FIXED_MEMORY,
};

void vm_objects_use(void)
{
    static const struct viv_object_class *const classes[] = {&rng_builtin, &rng_random, &filter_dump, &iothread, &memory_file, &memory_memfd,
                                                             &memory_ram, NULL};

    cmd_objects_use();
    viv_objects_use(classes);
}

static int one_object(const char *text, enum vm_object_phase phase, struct viv_err *err)
{
    const struct viv_object_class *c;
    g_autofree char *type = NULL;
    struct viv_raw_opts *r;
    int rc = viv_raw_parse("-object", "qom-type", text, &r, err);

    if (rc < 0)
        return rc;
    type = viv_raw_take(r, "qom-type");
    rc = viv_object_class_find(type, &c, err);
    if (rc < 0)
        viv_err_prefix(err, "-object");
    if (!rc && c->phase == phase)
        rc = viv_object_make(c, r, err);
    viv_raw_free(r);
    return rc;
}

int vm_make_objects(struct vm_args *a, enum vm_object_phase phase, struct viv_err *err)
{
    int rc = 0;

    for (guint i = 0; a->objects && i < a->objects->len && !rc; i++)
        rc = one_object(g_array_index(a->objects, struct vm_item, i).text, phase, err);
    return rc;
}
