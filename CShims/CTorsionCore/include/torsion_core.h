/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_CORE_H
#define TORSION_CORE_H

#include <stddef.h>
#include <stdint.h>

/* A number that names the calling thread while it lives, never 0. Callable from any thread.
 *
 * The thread pointer, by an instruction that a compiler may not remember: glibc declares
 * pthread_self() const, so that optimised async code keeps its value across a suspension, and a
 * check made with it lies. */
#if defined(__linux__) && defined(__x86_64__)
static inline uintptr_t torsion_thread_id(void) {
    uintptr_t result;
    __asm__ volatile("movq %%fs:0, %0" : "=r"(result));
    return result;
}
#elif defined(__linux__) && defined(__aarch64__)
static inline uintptr_t torsion_thread_id(void) {
    uintptr_t result;
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(result));
    return result;
}
#else
#define TORSION_THREAD_ID_IS_A_FUNCTION 1
uintptr_t torsion_thread_id(void);
#endif

/* Gives free memory of the allocator back to the kernel: malloc_trim(3) of glibc. It keeps what was
 * freed below something that is still used, after a burst nearly all of it. Takes about a
 * millisecond for each hundred megabytes; does nothing with other allocators. */
void torsion_release_free_memory(void);

/* Writes on standard error without waiting, at most PIPE_BUF (4096) bytes: write(2). The flags of the
 * open file stay as they are, since other processes share it. Only a regular file may block, by its
 * disk. Returns 0 if it would have had to wait, else 1, also if there is nobody to write to. With 0
 * nothing was written, or, as a stream socket does it, a part: then the next text begins on a line of its
 * own. Callable from any thread. */
int torsion_write_standard_error(const void *_Nullable bytes, size_t count);

/* Writes all of it on standard error, and waits for room if it must: write(2). Behind a text that was
 * written in part, on a line of its own. For the end of a program; a reactor's thread must not wait. */
void torsion_write_all_to_standard_error(const void *_Nullable bytes, size_t count);

/* Writes the name and the number of this process, as in "chat[4711]", without a 0 behind it: at most
 * `size` bytes, as many as it returns. Asks each time, since a fork changes the number. Callable from
 * any thread. */
size_t torsion_process_name(char *_Nonnull buffer, size_t size);

#endif
