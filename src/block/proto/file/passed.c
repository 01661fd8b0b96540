#include "block/proto/file/passed.h"

#include "host/fdset.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sys/stat.h>

struct viv_file_passed {
    dev_t dev;
    ino_t ino;
    bool writes, shares_writes, rules;
    struct viv_file_passed *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct viv_file_passed *all;

static bool same_file(const struct viv_file_passed *a, const struct viv_file_passed *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

/* `lock` is held. */
static int check(const struct viv_file_passed *p, const char *path, struct viv_err *err)
{
    for (const struct viv_file_passed *o = all; o; o = o->next) {
        if (o == p || !same_file(o, p) || !o->rules || !p->rules)
            continue;
        if ((p->writes && !o->shares_writes) || (o->writes && !p->shares_writes))
            return viv_fail(err, EAGAIN, "Failed to get \"write\" lock: this process itself has the file of '%s' open (is the image given twice?)",
                            path);
    }
    return 0;
}

int viv_file_passed_new(int fd, const char *path, bool writes, bool shares_writes, bool rules, struct viv_file_passed **out,
                        struct viv_err *err)
{
    struct viv_file_passed p = {.writes = writes, .shares_writes = shares_writes, .rules = rules};
    struct stat st;
    int ret;

    *out = NULL;
    if (!viv_fdset_is_name(path))
        return 0;
    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "'%s'", path);
    p.dev = st.st_dev;
    p.ino = st.st_ino;
    pthread_mutex_lock(&lock);
    ret = check(&p, path, err);
    if (!ret) {
        *out = g_memdup2(&p, sizeof(p));
        (*out)->next = all;
        all = *out;
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

int viv_file_passed_change(struct viv_file_passed *p, const char *path, bool writes, bool shares_writes, struct viv_err *err)
{
    bool was = p->writes, shared = p->shares_writes;
    int ret;

    pthread_mutex_lock(&lock);
    p->writes = writes;
    p->shares_writes = shares_writes;
    ret = check(p, path, err);
    if (ret) {
        p->writes = was;
        p->shares_writes = shared;
    }
    pthread_mutex_unlock(&lock);
    return ret;
}

bool viv_file_passed_free(struct viv_file_passed *p)
{
    struct viv_file_passed **at = &all;
    bool last = p;

    if (!p)
        return false;
    pthread_mutex_lock(&lock);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    for (const struct viv_file_passed *o = all; o; o = o->next)
        last &= !same_file(o, p);
    pthread_mutex_unlock(&lock);
    g_free(p);
    return last;
}
