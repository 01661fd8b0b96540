/* Inside machine/: saved state written and read in order, with a running check sum: a file, or the place for VM state in an image. */
#ifndef VIV_MACHINE_VM_STREAM_H
#define VIV_MACHINE_VM_STREAM_H

#include "base/err.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_vm_stream;

/* Opens `path` for writing or reading. What is written gets that name when it is closed whole (in place of a file that was there) where
 * the folder takes a new file; a pipe, a device, a descriptor's name, a file behind a link is written in place. */
int viv_vm_stream_open(const char *path, bool write, struct viv_vm_stream **out,
                       struct viv_err *err);
/* The same with a descriptor, from where it stands on; it is the stream's, also on failure. `name` for errors. */
int viv_vm_stream_open_fd(int fd_take, const char *name, bool write, struct viv_vm_stream **out, struct viv_err *err);
/* In the image (image.h: viv_node_state_write), from its start on. Writing: `size` is not looked at; reading: so much was written.
 * `name` for errors. The node is borrowed, and nobody else's while the stream is open. */
struct viv_node;
void viv_vm_stream_open_node(struct viv_node *n, const char *name, bool write, uint64_t size, struct viv_vm_stream **out);
/* Reading `size` bytes through `read`: 0, or it says why not. */
typedef int (*viv_vm_stream_read_fn)(void *opaque, uint64_t pos, void *buf, size_t len, struct viv_err *err);
void viv_vm_stream_open_reader(viv_vm_stream_read_fn read, void *opaque, const char *name, uint64_t size, struct viv_vm_stream **out);
/* Bytes put so far. */
uint64_t viv_vm_stream_size(const struct viv_vm_stream *s);
/* Of those, what has left for the file. Any thread. */
uint64_t viv_vm_stream_sent(const struct viv_vm_stream *s);
/* What is written from now on fails, also where a reader is waited for. Any thread. */
void viv_vm_stream_cancel(struct viv_vm_stream *s);
/* Errors stick: the first is returned by viv_vm_stream_error and close. */
void viv_vm_stream_put(struct viv_vm_stream *s, const void *data, size_t len);
void viv_vm_stream_put_u64(struct viv_vm_stream *s, uint64_t v);
/* -EINVAL where the file ends early. */
int viv_vm_stream_get(struct viv_vm_stream *s, void *data, size_t len, struct viv_err *err);
int viv_vm_stream_get_u64(struct viv_vm_stream *s, uint64_t *v, struct viv_err *err);
/* Passes over bytes: they count in the check sum. */
int viv_vm_stream_skip(struct viv_vm_stream *s, uint64_t len, struct viv_err *err);
/* Writes the check sum of all before it, or reads and compares it. */
void viv_vm_stream_put_sum(struct viv_vm_stream *s);
int viv_vm_stream_check_sum(struct viv_vm_stream *s, struct viv_err *err);
/* After writing: flushes to the disk. Frees s in any case; the first error is returned. */
int viv_vm_stream_close(struct viv_vm_stream *s, struct viv_err *err);
/* close in two steps, for who still cancels while the first one is under way. */
int viv_vm_stream_finish(struct viv_vm_stream *s, struct viv_err *err);
void viv_vm_stream_free(struct viv_vm_stream *s);
/* Instead of close, after writing: it is not whole, and a file that was to be replaced stays. */
void viv_vm_stream_drop(struct viv_vm_stream *s);

/* vm_save.c: the whole machine; it stands still. What it is loaded into has been reset. */
int viv_vm_quiesce(struct viv_err *err); /* waits until no device is at work, and flushes disks */
int viv_vm_put_machine(struct viv_vm_stream *s, struct viv_err *err); /* errors of writing are the stream's own */
/* The same in two steps: what there is to write, taken from a machine that stands; and writing it, on any thread, while the machine goes
 * on standing. */
enum { VIV_VM_NS, VIV_VM_TSC, VIV_VM_HZ, VIV_VM_BASE_TSC, VIV_VM_BASE_NS, VIV_VM_CLOCKS };
struct viv_vm_picture {
    char *description;
    uint64_t clocks[VIV_VM_CLOCKS];
    unsigned wishes;
    GArray *blocks;      /* struct viv_ram, whose names are the picture's */
    uint64_t ram;        /* bytes of these */
    _Atomic uint64_t ram_done;
    uint8_t *devices;
    size_t devices_len;
};
int viv_vm_picture_take(struct viv_vm_picture *p, struct viv_err *err);
void viv_vm_picture_put(struct viv_vm_stream *s, struct viv_vm_picture *p);
void viv_vm_picture_fini(struct viv_vm_picture *p);
/* Refused, it leaves all but RAM as it was. */
int viv_vm_get_machine(struct viv_vm_stream *s, struct viv_err *err);
/* 0: it is whole, by its check sum, and of a machine like this one: board, CPUs, memory, devices. Changes nothing. */
int viv_vm_check_machine(struct viv_vm_stream *s, struct viv_err *err);

/* vm_save_ram.c */
void viv_vm_list_ram(struct viv_vm_picture *p);
void viv_vm_save_ram(struct viv_vm_stream *s, struct viv_vm_picture *p);
/* Each block that is here must be there, and no other; check: pages are passed over. */
int viv_vm_load_ram(struct viv_vm_stream *s, bool check, struct viv_err *err);
/* Copies of the blocks that no reset fills again, ROM and flash: some MiB. */
GArray *viv_vm_keep_roms(void);
void viv_vm_put_roms_back(GArray *kept);
void viv_vm_drop_roms(GArray *kept);

#endif
