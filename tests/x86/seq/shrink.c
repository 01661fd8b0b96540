/* Leaves out runs and instructions as long as a difference stays. */
#include "seq.h"

static bool differs(struct seq *q, const struct plan *p)
{
    place_seq(q);
    run_clean();
    return run_seq(q, p, NULL) == DIFFERENT;
}

static void fewer_runs(struct seq *q, struct plan *p)
{
    for (unsigned n = 0; n < p->runs && p->runs > 1;) {
        struct plan less = *p;

        memmove(&less.scene[n], &less.scene[n + 1], (p->runs - n - 1) * sizeof(less.scene[0]));
        less.runs--;
        if (less.scene[0].warm || less.scene[0].keep_code || less.scene[0].keep_memory)
            less.scene[0].warm = less.scene[0].keep_code = less.scene[0].keep_memory = false;
        if (differs(q, &less))
            *p = less;
        else
            n++;
    }
}

/* Starts and outside changes name items by number: they move with them. */
static void without(const struct seq *q, const struct plan *p, unsigned n, struct seq *less, struct plan *plan)
{
    *less = *q;
    *plan = *p;
    memmove(&less->item[n], &less->item[n + 1], (q->items - n - 1) * sizeof(less->item[0]));
    less->items--;
    place_seq(less);
    for (unsigned k = 0; k < p->runs; k++) {
        struct scene *s = &plan->scene[k];
        uint64_t base = s->start & ~(uint64_t)(CODE_BYTES - 1);

        for (unsigned i = 0; i < q->items; i++) {
            if ((s->start & (CODE_BYTES - 1)) == q->at[i]) {
                unsigned to = i > n ? i - 1 : i;

                s->start = base + less->at[to < less->items ? to : less->items - 1];
                break;
            }
        }
        if (s->dma_item > (int)n)
            s->dma_item--;
    }
}

static bool pass(struct seq *q, struct plan *p)
{
    static struct seq less;
    struct plan plan;
    bool better = false;

    for (unsigned n = q->items; n-- > 0 && q->items > 1;) {
        without(q, p, n, &less, &plan);
        if (differs(&less, &plan)) {
            *q = less;
            *p = plan;
            better = true;
        }
    }
    return better;
}

void shrink(struct seq *q, struct plan *p)
{
    fewer_runs(q, p);
    for (unsigned n = 0; n < 4 && pass(q, p); n++)
        fewer_runs(q, p);
    place_seq(q);
}
