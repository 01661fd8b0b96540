#include "cmd/img_progress.h"

#include <glib.h>
#include <stdio.h>

static void show(struct img_progress *p, int hundredths)
{
    if (!p->on || hundredths + 1 == p->shown)
        return;
    p->shown = hundredths + 1;
    printf("    (%3.2f/100%%)\r", hundredths / 100.0);
    fflush(stdout);
}

void img_progress_start(struct img_progress *p, bool on, uint64_t total)
{
    *p = (struct img_progress){.on = on, .total = total};
    show(p, 0);
}

void img_progress_advance(struct img_progress *p, uint64_t bytes)
{
    p->done += bytes;
    show(p, p->total ? (int)(MIN(1.0, (double)p->done / p->total) * 10000) : 10000);
}

void img_progress_end(struct img_progress *p, bool whole)
{
    if (whole)
        show(p, 10000);
    if (p->on)
        printf("\n");
    p->on = false;
}

uint64_t img_rate_delay(struct img_rate *r, uint64_t bytes)
{
    uint64_t now = g_get_monotonic_time(), due;

    if (!r->limit)
        return 0;
    if (!r->start_us)
        r->start_us = now;
    r->done += bytes;
    due = r->start_us + (uint64_t)((double)r->done / r->limit * 1e6);
    return due > now ? due - now : 0;
}
