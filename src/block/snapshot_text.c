/* Snapshots and sizes as people read them: one shape for viv-img and the monitor. */
#include "block/image.h"

#include <glib.h>
#include <inttypes.h>
#include <time.h>

void viv_size_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = bytes;
    unsigned u = 0;

    while (v >= 999.5 && u + 1 < G_N_ELEMENTS(units)) {
        v /= 1024;
        u++;
    }
    g_snprintf(out, size, "%.3g %s", v, units[u]);
}

char *viv_snapshot_line(const struct viv_snapshot *s, const char *id)
{
    char size[32], date[32] = "", icount[32] = "";
    time_t when = s->date_sec;
    uint64_t ms = s->vm_clock_nsec / 1000000;
    g_autofree char *clock = g_strdup_printf("%02" PRIu64 ":%02u:%02u.%03u", ms / 3600000, (unsigned)(ms / 60000 % 60),
                                             (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000));
    struct tm tm;

    viv_size_text(s->vm_state_size, size, sizeof(size));
    if (localtime_r(&when, &tm))
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    if (s->icount != UINT64_MAX)
        g_snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
    return g_strdup_printf("%-9s %-16s %8s%20s%13s%11s\n", id, s->name, size, date, clock, icount);
}

char *viv_snapshot_heading(void)
{
    return g_strdup_printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
}
