/*
 * runner.c: runs records from a file, so that kernels can be tested on a CPU that has no Python
 * here, under an emulator.  Reads argv[1], writes every operand after each run to argv[2].
 *
 * File, little-endian: int64 count, then per record int64 op, n_in, n_out, acc, backward, threads,
 * dim[FNN_DIMS]; float f[4]; and per slot twice (operand, gradient) int64 bytes (-1 = NULL) and the data.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fnn.h"

static FILE *in, *out;

static void get(void *p, size_t bytes)
{
    if (bytes && fread(p, 1, bytes, in) != bytes) exit(2);
}

static void *get_block(int64_t *bytes)
{
    get(bytes, 8);
    if (*bytes < 0) return NULL;
    void *p = fnn_malloc((size_t)*bytes);
    if (!p) exit(3);
    get(p, (size_t)*bytes);
    return p;
}

static void put_block(void *p, int64_t bytes)
{
    if (bytes > 0 && fwrite(p, 1, (size_t)bytes, out) != (size_t)bytes) exit(4);
    fnn_free(p);
}

int main(int argc, char **argv)
{
    if (argc != 3 || !(in = fopen(argv[1], "rb")) || !(out = fopen(argv[2], "wb"))) return 1;
    int64_t count, head[6], size[2][FNN_SLOTS];
    get(&count, 8);
    for (int64_t i = 0; i < count; i++) {
        fnn_call c = {0};
        get(head, sizeof head);
        get(c.dim, sizeof c.dim);
        get(c.f, sizeof c.f);
        c.op = (uint16_t)head[0], c.n_in = (uint16_t)head[1], c.n_out = (uint16_t)head[2];
        c.acc = (uint16_t)head[3];
        const int slots = c.n_in + c.n_out;
        for (int j = 0; j < slots; j++) {
            c.buf[j] = get_block(&size[0][j]);
            c.grad[j] = get_block(&size[1][j]);
        }
        if (fnn_run(&c, 1, (int)head[4], (int)head[5])) return 5;
        for (int j = 0; j < slots; j++) {
            put_block(c.buf[j], size[0][j]);
            put_block(c.grad[j], size[1][j]);
        }
    }
    return fclose(out) != 0;
}
