/* Host files and block devices. */
#ifndef VIV_BLOCK_PROTO_FILE_FILE_H
#define VIV_BLOCK_PROTO_FILE_FILE_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_file, viv_blk_host_device, viv_blk_host_cdrom;
extern const struct viv_opt_def viv_file_opts[];
int viv_file_open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);

/* Opens an existing file and takes its locks. */
int viv_file_open(const char *path, const struct viv_node_opts *o, struct viv_node **out,
                  struct viv_err *err);

/* A new file that has no name yet: it gets `path` only when viv_file_publish() says that it is whole; put
 * without that, or killed, nothing of it remains (or, where the file system has no O_TMPFILE, a
 * ".name.XXXXXX.part" is removed at put). -EEXIST when path exists; a link
 * that points nowhere is followed. */
struct viv_file_new;
int viv_file_new(const char *path, const struct viv_node_opts *o, struct viv_file_new **out,
                 struct viv_node **node, struct viv_err *err);
int viv_file_publish(struct viv_file_new *f, struct viv_err *err);
void viv_file_unpublish(struct viv_file_new *f); /* takes the name away again: another file of the same image failed */
void viv_file_new_free(struct viv_file_new *f); /* NULL allowed */

/* For who moves bytes himself (ring.c): the descriptor, when the file takes memory and offset as they are (O_DIRECT), else -1. */
int viv_file_fd_for(const struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt);
/* All of it moved without waiting for a disk: 0; else -EAGAIN, with perhaps some of it moved. */
int viv_file_try(struct viv_node *n, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t len);
/* Below `n` lies a file that is opened without O_DIRECT. */
bool viv_file_is_buffered(const struct viv_node *n);
/* And it is a regular one: the kernel does the writes to it one at a time. */
bool viv_file_has_one_writer(const struct viv_node *n);
/* It was written up to `end`: its size, if that is more. */
void viv_file_grew(struct viv_node *n, uint64_t end);
/* From one file to another inside the kernel. `share`: both share the file system's blocks (a reflink), or nothing is done; offsets
 * and length then have to be aligned to those. *done may be less than len. -ENOTSUP: not between these files, or not this piece. */
int viv_file_copy_range(struct viv_node *from, uint64_t src, struct viv_node *to, uint64_t dst, uint64_t len, bool share,
                        uint64_t *done);

/* For other rights, or another way through the page cache, than it was opened with. No request may be under way. */
int viv_file_reopen(struct viv_node *n, bool read_only, bool direct, struct viv_err *err);

/* Bytes that the file takes on its host; 0 when unknown. */
uint64_t viv_file_allocated(const struct viv_node *n);
int viv_file_fd(const struct viv_node *n); /* borrowed; for tests and tools */

#endif
