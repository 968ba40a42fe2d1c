/* The kernels of chains compiled for base; the flags are in setup.py. */
#define FNN_ISA_NAME base
#include "links.h"
