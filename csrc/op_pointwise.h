/* op_pointwise.h */
#ifndef FNN_OP_POINTWISE_H
#define FNN_OP_POINTWISE_H

#endif
