/* Two threads on two CPUs: a sum in parts, locked counters, and a queue between them. */
#include "work.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 2, N = 1 << 18 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t total, *data;
static atomic_ulong shared;

struct part {
    unsigned long count;
    unsigned id;
};

/* Mostly work of its own, now and then the lock. */
static void *sum_part(void *arg)
{
    struct part *p = arg;

    for (unsigned long n = 0; n < p->count; n++) {
        for (unsigned from = p->id * 4096; from < N; from += THREADS * 4096) {
            uint64_t sum = 0;

            for (unsigned i = from; i < from + 4096; i++)
                sum += (data[i] ^ n) * (i | 1);
            pthread_mutex_lock(&lock);
            total += sum;
            pthread_mutex_unlock(&lock);
        }
    }
    return NULL;
}

/* Nothing but locked operations on one line. */
static void *atomic_part(void *arg)
{
    struct part *p = arg;

    for (unsigned long n = 0; n < p->count * 1000; n++)
        atomic_fetch_add(&shared, p->id + n);
    return NULL;
}

static void both(void *(*fn)(void *), unsigned long count)
{
    pthread_t t[THREADS];
    struct part p[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        p[i] = (struct part){count, i};
        if (pthread_create(&t[i], NULL, fn, &p[i]))
            work_die("pthread_create");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

static uint64_t parallel(unsigned long count)
{
    uint64_t s = 5;

    data = work_alloc(N * sizeof(*data));
    for (unsigned i = 0; i < N; i++)
        data[i] = work_random(&s);
    both(sum_part, count);
    return total;
}

static uint64_t atomics(unsigned long count)
{
    both(atomic_part, count);
    return shared;
}

static const struct work table[] = {{"threads", parallel}, {"atomics", atomics}, {NULL, NULL}};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
