/*
 * links.h: the kernels of the ops in links.def once more, from the same sources, for a thread that
 * works alone.  Included once by each links_<name>.c after it has defined FNN_ISA_NAME.
 */
#define FNN_ALONE
#pragma GCC diagnostic ignored "-Wunused-function"     /* headers hold kernels that are no links */
#include "fnn.h"
#include "parallel.h"
#include "vec.h"
#include "vmath.h"
#include "sums.h"

#include "op_pointwise.h"
#include "op_activation.h"

#define FNN_CAT_(a, b) a##b
#define FNN_CAT(a, b) FNN_CAT_(a, b)

const fnn_links FNN_CAT(fnn_links_, FNN_ISA_NAME) = {
    {
#define LINK(name, ...) [FNN_OP_##name] = name##_fwd,
#define LINK_NOGRAD LINK
#include "links.def"
#undef LINK
#undef LINK_NOGRAD
    },
    {
#define LINK(name, ...) [FNN_OP_##name] = name##_bwd,
#define LINK_NOGRAD(name, ...)
#include "links.def"
#undef LINK
#undef LINK_NOGRAD
    },
};
