/* lock.h: one mutex type for POSIX and Windows. */
#ifndef FNN_LOCK_H
#define FNN_LOCK_H

#ifdef _WIN32
#include <windows.h>
typedef SRWLOCK fnn_lock;
#define FNN_LOCK_INIT SRWLOCK_INIT
static inline void fnn_acquire(fnn_lock *l) { AcquireSRWLockExclusive(l); }
static inline void fnn_release(fnn_lock *l) { ReleaseSRWLockExclusive(l); }
#else
#include <pthread.h>
typedef pthread_mutex_t fnn_lock;
#define FNN_LOCK_INIT PTHREAD_MUTEX_INITIALIZER
static inline void fnn_acquire(fnn_lock *l) { pthread_mutex_lock(l); }
static inline void fnn_release(fnn_lock *l) { pthread_mutex_unlock(l); }
#endif

/* Fork safety: the forking thread holds every lock across fork(), so the child finds them free. */
void fnn_alloc_fork(int before);
void fnn_run_fork(int before);

#endif
