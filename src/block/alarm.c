#include "block/alarm.h"

static void (*listener)(const struct viv_alarm *a);

void viv_alarm_listen(void (*fn)(const struct viv_alarm *a))
{
    listener = fn;
}

static void tell(const struct viv_node *n, struct viv_alarm a)
{
    a.node = n;
    a.node_name = n->name ? n->name : "";
    if (listener)
        listener(&a);
}

void viv_alarm_corrupt(const struct viv_node *n, const char *why, uint64_t offset)
{
    tell(n, (struct viv_alarm){.corrupt = why, .offset = offset, .fatal = !n->read_only});
}

void viv_alarm_set_threshold(struct viv_node *n, uint64_t threshold)
{
    __atomic_store_n(&n->write_threshold, threshold, __ATOMIC_RELAXED);
}

uint64_t viv_alarm_threshold(const struct viv_node *n)
{
    return __atomic_load_n(&n->write_threshold, __ATOMIC_RELAXED);
}

uint64_t viv_alarm_written_end(const struct viv_node *n)
{
    return __atomic_load_n(&n->written_end, __ATOMIC_RELAXED);
}

void viv_alarm_wrote_to(struct viv_node *n, uint64_t end)
{
    uint64_t was = viv_alarm_written_end(n), threshold = viv_alarm_threshold(n);

    while (end > was && !__atomic_compare_exchange_n(&n->written_end, &was, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    /* Of several writers one tells. */
    if (threshold && end > threshold &&
        __atomic_compare_exchange_n(&n->write_threshold, &threshold, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        tell(n, (struct viv_alarm){.threshold = threshold, .exceeded = end - threshold});
}
