/*
 * A C program with no operating system under it: a scheduler's heart, in small.
 *
 * Some tasks with a name, a priority and an amount of work lie in a binary heap. The scheduler takes out the most
 * urgent one, lets it do a unit of work, makes it less urgent, and puts it back, until nothing is left to do.
 *
 * Set a breakpoint in `schedule` and step: by line over calls, into them, and out. `tasks`, `heap` and `heap_size` can
 * be read in the Memory view or by an expression such as `heap_size`.
 */

#include "console.h"

#define MAX_TASKS 8

struct task {
    const char *name;
    unsigned priority; /* the lower the more urgent */
    unsigned work;     /* units still to do */
};

static struct task tasks[] = {
    {"disk", 2, 3},
    {"network", 1, 2},
    {"idle", 9, 1},
    {"console", 4, 2},
};

#define TASK_COUNT (sizeof tasks / sizeof tasks[0])

/* heap[0] is the most urgent task; the children of heap[i] are heap[2i + 1] and heap[2i + 2], none more urgent. */
static struct task *heap[MAX_TASKS];
static unsigned heap_size;

static int more_urgent(const struct task *a, const struct task *b)
{
    return a->priority < b->priority;
}

static void swap(struct task **a, struct task **b)
{
    struct task *t = *a;
    *a = *b;
    *b = t;
}

/* Adds a task at the end and lets it rise to its place. */
__attribute__((noinline)) static void heap_insert(struct task *task)
{
    unsigned i = heap_size++;

    heap[i] = task;
    while (i > 0 && more_urgent(heap[i], heap[(i - 1) / 2])) {
        swap(&heap[i], &heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

/* Takes out the most urgent task; the last one takes its place and sinks. */
__attribute__((noinline)) static struct task *heap_remove(void)
{
    struct task *first = heap[0];
    unsigned i = 0;

    heap[0] = heap[--heap_size];
    for (;;) {
        unsigned child = 2 * i + 1;

        if (child + 1 < heap_size && more_urgent(heap[child + 1], heap[child]))
            child++;
        if (child >= heap_size || !more_urgent(heap[child], heap[i]))
            return first;
        swap(&heap[i], &heap[child]);
        i = child;
    }
}

/* Runs the most urgent task for one unit. Returns whether there was one. */
__attribute__((noinline)) static int schedule(void)
{
    struct task *task;

    if (heap_size == 0)
        return 0;
    task = heap_remove();
    print("  ");
    print_padded(task->name, 8); /* BREAKPOINT: once for every unit of work */
    print(" priority ");
    print_unsigned(task->priority);
    task->work--;
    if (task->work == 0) {
        print(", done\n");
        return 1;
    }
    print("\n");
    task->priority += 2;
    heap_insert(task);
    return 1;
}

int main(void)
{
    unsigned units = 0;

    print("tasks: ");
    print_unsigned(TASK_COUNT);
    print("\n");
    for (unsigned i = 0; i < TASK_COUNT; i++)
        heap_insert(&tasks[i]);
    while (schedule())
        units++;
    print("units of work: ");
    print_unsigned(units);
    print("\n");
    return 0;
}
