/* The cards that there are, with a back end or without, for what is told of them and for what names them. */
#include "net/net.h"

#include <glib.h>
#include <string.h>

struct viv_nic {
    const struct viv_nic_ops *ops;
    void *nic;
    char *name;
    struct viv_nic *next;
};

static struct viv_nic *nics; /* in creation order */

void viv_nic_add(const struct viv_nic_ops *ops, void *nic)
{
    struct viv_nic **end = &nics, *n = g_new0(struct viv_nic, 1);

    struct viv_nic_info info, other;
    unsigned same = 0;

    n->ops = ops;
    n->nic = nic;
    viv_nic_info(n, &info);
    for (; *end; end = &(*end)->next) {
        viv_nic_info(*end, &other);
        same += !strcmp(other.model, info.model);
    }
    n->name = info.id ? g_strdup(info.id) : g_strdup_printf("%s.%u", info.model, same);
    *end = n;
}

void viv_nic_remove(void *nic)
{
    for (struct viv_nic **at = &nics; *at; at = &(*at)->next) {
        struct viv_nic *n = *at;

        if (n->nic != nic)
            continue;
        *at = n->next;
        g_free(n->name);
        g_free(n);
        return;
    }
}

struct viv_nic *viv_nic_next(struct viv_nic *n)
{
    return n ? n->next : nics;
}

struct viv_nic *viv_nic_find(const char *name)
{
    struct viv_nic *n = nics;

    while (n && strcmp(n->name, name))
        n = n->next;
    return n;
}

void viv_nic_info(struct viv_nic *n, struct viv_nic_info *out)
{
    n->ops->info(n->nic, out);
}

const char *viv_nic_name(const struct viv_nic *n)
{
    return n->name;
}

bool viv_nic_filter(struct viv_nic *n, struct viv_nic_filter *out)
{
    if (!n->ops->filter)
        return false;
    n->ops->filter(n->nic, out);
    return true;
}

void *viv_nic_self(const struct viv_nic *n)
{
    return n->nic;
}
