#include "mem/holes.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

void viv_ram_next_data(const struct viv_ram *ram, uint64_t at, uint64_t *from, uint64_t *end)
{
    int fd = ram->fd >= 0 ? ram->fd : ram->below;
    off_t data = fd < 0 ? (off_t)at : lseek(fd, (off_t)at, SEEK_DATA), hole;

    *from = at;
    *end = ram->size;
    if (fd < 0)
        return;
    if (data < 0 && errno == ENXIO)
        *from = ram->size;
    if (data < (off_t)at) /* none, or what is no regular file has no idea of it */
        return;
    *from = MIN(viv_align_down((uint64_t)data, VIV_PAGE_SIZE), ram->size);
    hole = lseek(fd, data, SEEK_HOLE);
    if (hole > data)
        *end = MIN(viv_align_down((uint64_t)hole + VIV_PAGE_SIZE - 1, VIV_PAGE_SIZE), ram->size);
}
