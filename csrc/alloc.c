/*
 * alloc.c: 64-byte-aligned memory with a cache of freed blocks.
 *
 * Every block carries a 64-byte header.  Sizes are rounded up to classes four to the octave, so a
 * freed block serves any later request of its class; in steady state a training loop asks the
 * system for nothing.  Invariants: live + cached = bytes taken from the system; cached <= CACHE_CAP.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "fnn.h"
#include "lock.h"

#define HEADER 64                        /* keeps the payload on a cache line                */
#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4 << 10)
#define CACHE_CAP ((int64_t)2 << 30)     /* freed bytes kept at most                         */
#define ASK_SYSTEM ((size_t)256 << 20)   /* from here on, first ask how much memory is free  */
#define N_CLASSES 256

typedef struct block {
    struct block *next;                  /* while cached: the next free block of the class   */
    size_t bytes;                        /* size of the class, header included               */
    int cls;
} block;

static fnn_lock lock = FNN_LOCK_INIT;
static block *cache[N_CLASSES];
static int64_t live, peak, cached, count, max_bytes, fail_in;

/* The class of a size: 4 per power of two, the first at 128 bytes. */
static int size_class(size_t bytes, size_t *rounded)
{
    if (bytes <= 128) {
        *rounded = 128;
        return 0;
    }
    int log2 = 63 - __builtin_clzll((unsigned long long)(bytes - 1));   /* 2^log2 < bytes <= 2^(log2+1) */
    size_t step = (size_t)1 << (log2 - 2);
    size_t quarters = (bytes - 1 - ((size_t)1 << log2)) / step;         /* 0..3 */
    *rounded = ((size_t)1 << log2) + (quarters + 1) * step;
    return 1 + (log2 - 7) * 4 + (int)quarters;
}

/* Bytes the machine can give without swapping or killing; 0 = unknown. */
static size_t available_bytes(void)
{
    size_t kib = 0;
#if defined(__linux__)
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1) break;
    if (f) fclose(f);
#endif
    return kib * 1024;
}

/* Blocks of pages begin on one, so that all operands of an op have the same place in their page.  A
 * load that follows a store 64 to 256 bytes behind it modulo 4 KB waits for it (relu: up to 30%). */
static void *system_alloc(size_t bytes)
{
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : bytes >= 4 * PAGE ? PAGE : 64;
    size_t size = (bytes + align - 1) & ~(align - 1);
#ifdef _WIN32
    return _aligned_malloc(size, align);
#else
    void *p = aligned_alloc(align, size);
#if defined(__linux__)
    if (p && align == HUGE_PAGE) madvise(p, size, MADV_HUGEPAGE);
#endif
    return p;
#endif
}

static void system_free(block *b)
{
#ifdef _WIN32
    _aligned_free(b);
#else
    free(b);
#endif
}

/* Give cached blocks back until at most `keep` bytes are cached.  Lock held. */
static void trim(int64_t keep)
{
    for (int i = N_CLASSES - 1; i >= 0 && cached > keep; i--)
        while (cache[i] && cached > keep) {
            block *b = cache[i];
            cache[i] = b->next;
            cached -= (int64_t)b->bytes;
            system_free(b);
        }
}

/* A block from the system, or NULL where it would not fit.  Lock held. */
static block *fresh(size_t bytes)
{
    if (max_bytes && live + cached + (int64_t)bytes > max_bytes) trim(0);
    if (bytes >= ASK_SYSTEM) {
        size_t room = available_bytes();
        if (room && bytes > room) trim(0);
        if (room && bytes > (room = available_bytes())) return NULL;
    }
    block *b = system_alloc(bytes);
    if (!b) {
        trim(0);
        b = system_alloc(bytes);
    }
    return b;
}

void *fnn_malloc(size_t bytes)
{
    if (bytes > (size_t)1 << 46) return NULL;
    size_t rounded;
    int cls = size_class(bytes + HEADER, &rounded);
    fnn_acquire(&lock);
    block *b = NULL;
    count++;
    const int refused = (fail_in && --fail_in == 0)
                        || (max_bytes && live + (int64_t)rounded > max_bytes);
    if (!refused) {
        b = cache[cls];
        if (b) {
            cache[cls] = b->next;
            cached -= (int64_t)rounded;
        } else {
            b = fresh(rounded);
        }
    }
    if (b) {
        b->bytes = rounded;
        b->cls = cls;
        live += (int64_t)rounded;
        if (live > peak) peak = live;
    }
    fnn_release(&lock);
    return b ? (char *)b + HEADER : NULL;
}

void fnn_free(void *p)
{
    if (!p) return;
    block *b = (block *)((char *)p - HEADER);
    fnn_acquire(&lock);
    live -= (int64_t)b->bytes;
    cached += (int64_t)b->bytes;
    b->next = cache[b->cls];
    cache[b->cls] = b;
    if (cached > CACHE_CAP) trim(CACHE_CAP / 2);
    fnn_release(&lock);
}

void fnn_trim(void)
{
    fnn_acquire(&lock);
    trim(0);
    fnn_release(&lock);
}

int64_t fnn_live_bytes(void) { return live; }
int64_t fnn_cached_bytes(void) { return cached; }

int64_t fnn_peak_bytes(int restart)
{
    fnn_acquire(&lock);
    const int64_t most = peak;
    if (restart) peak = live;
    fnn_release(&lock);
    return most;
}

int64_t fnn_alloc_count(void) { return count; }
void fnn_set_max_bytes(int64_t bytes) { max_bytes = bytes; }
void fnn_fail_alloc_after(int64_t n) { fail_in = n; }

void fnn_alloc_fork(int before)
{
    if (before) fnn_acquire(&lock);
    else fnn_release(&lock);
}
