/* op_reduce.h */
#ifndef FNN_OP_REDUCE_H
#define FNN_OP_REDUCE_H

#endif
