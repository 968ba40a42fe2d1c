/* The kernels of chains compiled for avx2; the flags are in setup.py. */
#define FNN_ISA_NAME avx2
#include "links.h"
