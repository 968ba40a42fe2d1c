/*
 * kernels.h: every kernel of one ISA and the table that lists them.  Included once by each
 * isa_<name>.c after it has defined FNN_ISA_NAME.
 */
#include "fnn.h"
#include "parallel.h"
#include "vec.h"
#include "vmath.h"
#include "sums.h"
#include "gemm.h"
#include "roof.h"

#include "op_pointwise.h"
#include "op_activation.h"
#include "op_cast.h"
#include "op_reduce.h"
#include "op_movement.h"
#include "op_indexing.h"
#include "op_image.h"
#include "op_linear.h"
#include "op_layout.h"
#include "op_conv.h"
#include "op_conv_transpose.h"
#include "op_norm.h"
#include "op_batch_norm.h"
#include "op_pool.h"
#include "op_random.h"
#include "op_loss.h"
#include "op_cross_entropy.h"
#include "op_optim.h"

#define FNN_CAT_(a, b) a##b
#define FNN_CAT(a, b) FNN_CAT_(a, b)
#define FNN_STR_(a) #a
#define FNN_STR(a) FNN_STR_(a)

extern const fnn_links FNN_CAT(fnn_links_, FNN_ISA_NAME);

const fnn_isa FNN_CAT(fnn_isa_, FNN_ISA_NAME) = {
    FNN_STR(FNN_ISA_NAME),
    {
#define OP(name, diff, needs, writes, flops, bytes) name##_fwd,
#define OP_NOGRAD(name, writes, flops, bytes) name##_fwd,
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    },
    {
#define OP(name, diff, needs, writes, flops, bytes) name##_bwd,
#define OP_NOGRAD(name, writes, flops, bytes) NULL,
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    },
    &FNN_CAT(fnn_links_, FNN_ISA_NAME),
    roof,
    ROOF_FLOPS,
};
