/* op_random.h */
#ifndef FNN_OP_RANDOM_H
#define FNN_OP_RANDOM_H

#endif
