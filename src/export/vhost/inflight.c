#include "export/vhost/inflight.h"

#include "base/checked.h"
#include "export/vhost/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* struct DescStateSplit and QueueRegionSplit of the specification; host byte order. */
struct state {
    uint8_t inflight, padding[5];
    uint16_t next;
    uint64_t counter;
};

struct viv_vhost_log {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct state desc[];
};

enum { VERSION = 1, ALIGN = 64 };

static size_t log_bytes(unsigned num)
{
    return (sizeof(struct viv_vhost_log) + num * sizeof(struct state) + ALIGN - 1) / ALIGN * ALIGN;
}

int viv_vhost_inflight_new(unsigned queues, unsigned num, int *fd, uint64_t *bytes, struct viv_err *err)
{
    int ret;

    *bytes = (uint64_t)queues * log_bytes(num);
    *fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return viv_fail_os(err, errno, "no memory for requests under way");
    if (ftruncate(*fd, (off_t)*bytes) < 0 || fcntl(*fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        ret = viv_fail_os(err, errno, "no memory for requests under way");
        close(*fd);
        *fd = -1;
        return ret;
    }
    return 0;
}

void viv_vhost_inflight_clear(struct viv_vhost_inflight *x)
{
    if (x->map) {
        viv_guard_remove(x->map);
        munmap(x->map, x->map_len);
    }
    *x = (struct viv_vhost_inflight){0};
}

int viv_vhost_inflight_set(struct viv_vhost_inflight *x, int fd, uint64_t bytes, uint64_t offset, unsigned queues, unsigned num,
                           struct viv_err *err)
{
    uint64_t end, need = (uint64_t)queues * log_bytes(num);
    struct stat st;
    void *map;

    viv_vhost_inflight_clear(x);
    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "vhost-user: the file of requests under way");
    if (offset % ALIGN || !viv_add_u64(offset, need, &end) || bytes < need || end > (uint64_t)st.st_size || end > SIZE_MAX / 2)
        return viv_fail(err, EINVAL, "vhost-user: an area of %llu bytes for requests under way; %llu are needed", (unsigned long long)bytes,
                        (unsigned long long)need);
    map = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return viv_fail_os(err, errno, "vhost-user: the area of requests under way cannot be mapped");
    if (!viv_guard_add(map, end)) {
        munmap(map, end);
        return viv_fail(err, ENOSPC, "vhost-user: there are too many memory regions already");
    }
    *x = (struct viv_vhost_inflight){.map = map, .map_len = end, .offset = offset, .queues = queues, .num = num};
    return 0;
}

struct viv_vhost_log *viv_vhost_inflight_log(const struct viv_vhost_inflight *x, unsigned queue, unsigned num)
{
    if (!x->map || queue >= x->queues || num > x->num)
        return NULL;
    return (struct viv_vhost_log *)(x->map + x->offset + queue * log_bytes(x->num));
}

/* --- one queue --- */

struct again {
    uint64_t counter;
    uint16_t head;
};

static int by_counter(const void *a, const void *b)
{
    const struct again *x = a, *y = b;

    return x->counter < y->counter ? -1 : x->counter > y->counter;
}

/* The last batch (of one) was given back, and its mark may still be there. */
static void settle_last(struct viv_vhost_log *l, unsigned num, uint16_t used)
{
    uint16_t head = __atomic_load_n(&l->last_batch_head, __ATOMIC_RELAXED); /* once: it is checked */

    if (l->used_idx != used && head < num)
        l->desc[head].inflight = 0;
    l->used_idx = used;
}

void viv_vhost_log_forget(struct viv_vhost_log *l, unsigned num)
{
    memset(l->desc, 0, num * sizeof(l->desc[0]));
}

static void begin_log(struct viv_vhost_log *l, unsigned num, uint16_t used)
{
    viv_vhost_log_forget(l, num);
    l->features = 0;
    l->last_batch_head = 0;
    l->used_idx = used;
    l->desc_num = (uint16_t)num;
    l->version = VERSION;
}

int viv_vhost_log_resume(struct viv_vhost_log *l, unsigned num, uint16_t used, uint16_t open, uint16_t *heads, uint64_t *counter)
{
    g_autofree struct again *found = g_new(struct again, num);
    unsigned count = 0;

    *counter = 0;
    if (l->version != VERSION || l->desc_num != num) { /* nobody has used it yet */
        begin_log(l, num, used);
        return -ENOENT;
    }
    settle_last(l, num, used);
    for (unsigned i = 0; i < num; i++)
        if (l->desc[i].inflight == 1)
            found[count++] = (struct again){l->desc[i].counter, (uint16_t)i};
    if (count > open) { /* what it names was never asked for, and would be read from descriptors of something else */
        begin_log(l, num, used);
        return -ENOENT;
    }
    qsort(found, count, sizeof(*found), by_counter);
    for (unsigned i = 0; i < count; i++) {
        heads[i] = found[i].head;
        *counter = found[i].counter + 1;
    }
    return (int)count;
}

/* Whoever is killed leaves his stores in the order of the program: it is for the compiler to keep that. */
void viv_vhost_log_take(struct viv_vhost_log *l, uint16_t head, uint64_t counter)
{
    l->desc[head].counter = counter;
    __atomic_store_n(&l->desc[head].inflight, 1, __ATOMIC_RELEASE);
}

void viv_vhost_log_ending(struct viv_vhost_log *l, uint16_t head)
{
    l->desc[head].next = l->last_batch_head;
    __atomic_store_n(&l->last_batch_head, head, __ATOMIC_RELEASE);
}

void viv_vhost_log_ended(struct viv_vhost_log *l, uint16_t head, uint16_t used)
{
    __atomic_store_n(&l->desc[head].inflight, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&l->used_idx, used, __ATOMIC_RELEASE);
}
