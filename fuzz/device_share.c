/* A shared folder, and requests to it that are served when the input says so: stands in for the threads of virtio_9p_pool.c. */
#include "fuzz/device_rig.h"

#include "dev/virtio/virtio_9p.h"
#include "host/lock.h"
#include "share/fsdev.h"

#include <ftw.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct virtio_9p_pool {
    void (*serve)(void *opaque, struct virtio_9p_job *job);
    void *opaque;
    struct virtio_9p_job *first;
};

static struct virtio_9p_pool pool; /* there is one device */
static char *folder;

struct virtio_9p_pool *virtio_9p_pool_new(void (*serve)(void *opaque, struct virtio_9p_job *job), void *opaque, struct viv_err *err)
{
    pool = (struct virtio_9p_pool){serve, opaque, NULL};
    return &pool;
}

void virtio_9p_pool_add(struct virtio_9p_pool *p, struct virtio_9p_job *job)
{
    struct virtio_9p_job **last = &p->first;

    while (*last)
        last = &(*last)->next;
    job->next = NULL;
    *last = job; /* a flush waits for those before it */
}

void virtio_9p_pool_free(struct virtio_9p_pool *p)
{
    g_assert(!p->first);
}

bool fuzz_share_serve(void)
{
    struct virtio_9p_job *job = pool.first;

    if (!job)
        return false;
    pool.first = job->next;
    viv_dev_unlock();
    pool.serve(pool.opaque, job);
    viv_dev_lock();
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return ftw->level ? remove(path) : 0;
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    rmdir(folder);
}

void fuzz_share_add(const char *id)
{
    g_autofree char *text = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;

    if (folder) /* for the life of the process, as -fsdev is */
        return;
    folder = g_strdup(access("/dev/shm", W_OK) ? "/tmp/viv-device-fuzz-XXXXXX" : "/dev/shm/viv-device-fuzz-XXXXXX");
    g_assert(g_mkdtemp(folder));
    atexit(remove_folder);
    text = g_strdup_printf("local,id=%s,path=%s,security_model=mapped-file", id, folder);
    if (viv_raw_parse("-fsdev", "fsdriver", text, &r, &err) < 0 || viv_fsdev_add(r, &err) < 0)
        fuzz_fail("%s", err.text);
    viv_raw_free(r);
}

void fuzz_share_empty(void)
{
    if (folder)
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
