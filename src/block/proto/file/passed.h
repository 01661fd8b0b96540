/* Files that were passed as descriptors (/dev/fdset/N). Nodes of one set have one open file, and its locks are no bar between them: this
 * list is. Any thread. */
#ifndef VIV_BLOCK_PROTO_FILE_PASSED_H
#define VIV_BLOCK_PROTO_FILE_PASSED_H

#include "base/err.h"

#include <stdbool.h>

struct viv_file_passed;

/* `rules`: locks are asked for. *out is NULL when `path` is another kind of name. -EAGAIN: a node is there that writes, or does not let
 * others write. */
int viv_file_passed_new(int fd, const char *path, bool writes, bool shares_writes, bool rules, struct viv_file_passed **out,
                        struct viv_err *err);
/* For another right. On failure it is as it was. */
int viv_file_passed_change(struct viv_file_passed *p, const char *path, bool writes, bool shares_writes, struct viv_err *err);
/* NULL allowed. True: no other node has the file, and its locks are to be taken away, for the descriptor passed keeps it open. */
bool viv_file_passed_free(struct viv_file_passed *p);

#endif
