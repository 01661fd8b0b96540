/* Memory back ends: where a guest's RAM lies, when somebody says (-object memory-backend-*, -mem-path). Device lock held, or before
 * threads. */
#ifndef VIV_MEM_BACKEND_H
#define VIV_MEM_BACKEND_H

#include "mem/ram.h"
#include "opt/opt.h"

extern const struct viv_opt_def viv_mem_ram_opts[], viv_mem_file_opts[], viv_mem_memfd_opts[];
int viv_mem_ram_add(struct viv_opts *o, struct viv_err *err);
int viv_mem_file_add(struct viv_opts *o, struct viv_err *err);
int viv_mem_memfd_add(struct viv_opts *o, struct viv_err *err);
/* What -mem-path and -mem-prealloc mean: a file, or one that is made in a folder; NULL: anonymous memory. */
struct viv_mem_backend *viv_mem_backend_simple(const char *path, bool prealloc, uint64_t size);

struct viv_mem_backend *viv_mem_backend_find(const char *id); /* NULL: there is none */
uint64_t viv_mem_backend_size(const struct viv_mem_backend *b);
bool viv_mem_backend_dump(const struct viv_mem_backend *b, bool unsaid); /* dump=, or what holds without it */

struct viv_mem_facts {
    const char *id; /* the back end's */
    uint64_t size;
    bool share, prealloc, merge, reserve;
};
/* In the order they were made; NULL: the first of them, no more. */
struct viv_mem_backend *viv_mem_backend_next(struct viv_mem_backend *b);
void viv_mem_backend_facts(const struct viv_mem_backend *b, struct viv_mem_facts *out);

/* Its memory as a block of RAM, once. The error names the back end and what would help. */
int viv_mem_backend_map(struct viv_mem_backend *b, const char *name, struct viv_ram **out, struct viv_err *err);

/* The machine does not start: removes the files that were made for it. */
void viv_mem_backends_abandon(void);
/* Says which of them are mapped by nobody. */
void viv_mem_backends_warn(void);

#endif
