/* Names under a shared folder, as descriptors.
 *
 * A node is a name in a folder: its parent and an O_PATH descriptor of what was found there. Every look-up is one component,
 * opened with O_NOFOLLOW below the parent's descriptor; "..", "/" and links are never left to the host's path walk, so no name,
 * link or rename can lead out of the folder (and no openat2 is needed: this holds on every kernel). There is one node for a
 * (parent, name); what the guest renames takes its node along.
 *
 * Descriptors are few, names may be many: those of nodes that nobody uses at the moment are closed again, least recently used
 * first, and opened anew by name when they are wanted; a node that finds something else there is stale.
 *
 * Any thread; calls may block on the host's file system. Lock order: nothing is called with the tree's lock held. */
#ifndef VIV_SHARE_TREE_H
#define VIV_SHARE_TREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define VIV_SHARE_NAME_MAX 255

struct viv_share_tree;
struct viv_share_node;

/* `max_fds`: descriptors that nodes may hold, at least 16. `max_nodes`: a node keeps those above it, so that a client with one file far
 * down has as many as it made folders: over that there is nothing new (-ENFILE). */
int viv_share_tree_new(const char *path, unsigned max_fds, unsigned max_nodes, struct viv_share_tree **out, struct viv_err *err);
void viv_share_tree_free(struct viv_share_tree *t); /* NULL allowed; every node was given back */
struct viv_share_node *viv_share_root(struct viv_share_tree *t); /* a reference */

struct viv_share_node *viv_share_ref(struct viv_share_tree *t, struct viv_share_node *n);
void viv_share_unref(struct viv_share_tree *t, struct viv_share_node *n); /* NULL allowed */

/* An O_PATH descriptor, good until viv_share_done; or -errno: -ESTALE when something else has the name now. */
int viv_share_use(struct viv_share_tree *t, struct viv_share_node *n);
void viv_share_done(struct viv_share_tree *t, struct viv_share_node *n);

/* The entry `name` (one component, neither "." nor "..") of a folder. */
int viv_share_child(struct viv_share_tree *t, struct viv_share_node *dir, const char *name, struct viv_share_node **out);
/* The same for an entry just made, of which `fd` (taken over, also on failure) is a descriptor. */
int viv_share_adopt(struct viv_share_tree *t, struct viv_share_node *dir, const char *name, int fd, struct viv_share_node **out);
/* The folder it is in, and its name there (NULL: not wanted). The root's is the root, with "". A reference. */
struct viv_share_node *viv_share_parent(struct viv_share_tree *t, struct viv_share_node *n, char name[VIV_SHARE_NAME_MAX + 1]);
/* Does the name still stand for it, as far as we know? */
bool viv_share_listed(struct viv_share_tree *t, const struct viv_share_node *n);
bool viv_share_is_root(const struct viv_share_tree *t, const struct viv_share_node *n);
/* Which device it lies on and its inode, as found first. */
void viv_share_identity(const struct viv_share_node *n, dev_t *dev, ino_t *ino);

/* After the host's rename and unlink have succeeded. */
void viv_share_moved(struct viv_share_tree *t, struct viv_share_node *from, const char *name, struct viv_share_node *to,
                     const char *new_name);
void viv_share_removed(struct viv_share_tree *t, struct viv_share_node *dir, const char *name);

/* Opens what an O_PATH descriptor stands for; only for regular files and folders. Or -errno. */
int viv_share_reopen(const struct viv_share_tree *t, int fd, int flags);
/* The way there for calls that take a path only: "/proc/self/fd/N". */
struct viv_share_path {
    char text[32];
};
struct viv_share_path viv_share_path(int fd);
/* Closes the descriptors of nodes that nobody uses: after EMFILE. */
void viv_share_shrink(struct viv_share_tree *t);

#endif
