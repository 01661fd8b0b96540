/* Another backing file's name in the header.
 *
 * The new name is written beside the old one, then a barrier, then the header's fields, which lie in one sector: a cut leaves
 * one name or the other. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Places for the name in the header's first cluster (4 KiB at least). */
#define PLACE_A QED_H_LENGTH
#define PLACE_B 2048u

static uint32_t free_place(const uint8_t *head, bool used)
{
    uint32_t at = viv_ld_le32(head + QED_H_BACKING_OFFSET), len = viv_ld_le32(head + QED_H_BACKING_SIZE);

    return used && at < PLACE_A + QED_BACKING_NAME_MAX && at + len > PLACE_A ? PLACE_B : PLACE_A;
}

static int change(struct qed *q, const char *name, bool raw)
{
    uint64_t features = q->features & ~(QED_F_BACKING | QED_F_RAW);
    size_t len = name ? strlen(name) : 0;
    uint8_t head[QED_H_LENGTH];
    uint32_t place;
    int ret = viv_node_pread(q->file, 0, head, sizeof(head));

    if (ret)
        return ret;
    place = name ? free_place(head, q->features & QED_F_BACKING) : 0;
    if (name)
        features |= QED_F_BACKING | (raw ? QED_F_RAW : 0);
    if (name && (ret = viv_node_pwrite(q->file, place, name, len)) == 0)
        ret = viv_node_flush(q->file);
    if (ret)
        return ret;
    viv_st_le64(head + QED_H_FEATURES, features);
    viv_st_le32(head + QED_H_BACKING_OFFSET, place);
    viv_st_le32(head + QED_H_BACKING_SIZE, len);
    ret = viv_node_pwrite(q->file, 0, head, sizeof(head));
    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        q->features = features;
    return ret;
}

int qed_change_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err)
{
    struct qed *q = n->state;
    int ret;

    if (name && !*name)
        name = NULL;
    if (name && strlen(name) > QED_BACKING_NAME_MAX)
        return viv_fail(err, EINVAL, "The backing file's name has %zu bytes; at most %u fit", strlen(name),
                        QED_BACKING_NAME_MAX);
    ret = viv_node_flush(n); /* what this layer leaves to the backing file must be complete first */
    pthread_mutex_lock(&q->lock);
    if (!ret)
        ret = change(q, name, format && strcmp(format, "raw") == 0);
    if (!ret) {
        g_free(q->backing_file);
        q->backing_file = g_strdup(name);
    }
    pthread_mutex_unlock(&q->lock);
    return ret ? viv_fail_os(err, -ret, "Could not change the backing file of '%s'", n->filename) : 0;
}
