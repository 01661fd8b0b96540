#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <glib.h>

#define EMPTY   0ull
#define DELETED UINT64_MAX

static size_t hash(uint64_t key, size_t size)
{
    return (key * 0x9e3779b97f4a7c15ull >> 20) & (size - 1);
}

bool qcow2_set_has(const struct qcow2_set *s, uint64_t key)
{
    if (!s->size)
        return false;
    for (size_t i = hash(key, s->size);; i = (i + 1) & (s->size - 1)) {
        if (s->key[i] == EMPTY)
            return false;
        if (s->key[i] == key + 1)
            return true;
    }
}

static int grow(struct qcow2_set *s)
{
    size_t size = s->size ? s->size * 2 : 64;
    uint64_t *key = g_try_new0(uint64_t, size), *old = s->key;
    size_t old_size = s->size;

    if (!key)
        return -ENOMEM;
    s->key = key;
    s->size = size;
    s->used = 0;
    for (size_t i = 0; i < old_size; i++)
        if (old[i] != EMPTY && old[i] != DELETED)
            qcow2_set_add(s, old[i] - 1);
    g_free(old);
    return 0;
}

int qcow2_set_add(struct qcow2_set *s, uint64_t key)
{
    int ret = 0;

    if (qcow2_set_has(s, key))
        return -EEXIST;
    if (s->used * 2 >= s->size && (ret = grow(s)) != 0)
        return ret;
    for (size_t i = hash(key, s->size);; i = (i + 1) & (s->size - 1)) {
        if (s->key[i] == EMPTY) {
            s->key[i] = key + 1;
            s->used++;
            return 0;
        }
    }
}

void qcow2_set_remove(struct qcow2_set *s, uint64_t key)
{
    if (!qcow2_set_has(s, key))
        return;
    for (size_t i = hash(key, s->size);; i = (i + 1) & (s->size - 1)) {
        if (s->key[i] == key + 1) {
            s->key[i] = DELETED;
            return;
        }
    }
}

void qcow2_set_fini(struct qcow2_set *s)
{
    g_free(s->key);
    *s = (struct qcow2_set){0};
}
