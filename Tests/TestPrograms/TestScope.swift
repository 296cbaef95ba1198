// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// How much the tests do.
///
/// `make test` is for every change, and short: each behaviour is tested, on each backend where it
/// is a backend's. `make test-all`, which CI runs, sets `TEST_ALL`: it repeats the contract over
/// backends that are cut and late, over rings of older kernels and the plain way of libuv, does at
/// length on each what is done at length on one, and searches longer.
public enum TestScope {
    /// Whether everything is asked for.
    public static let isWhole = getenv("TEST_ALL") != nil

    /// How many seeds to search: the first for everything, the second otherwise, or what the
    /// variable says.
    public static func seeds(
        all: UInt64, few: UInt64, variable: String
    ) -> ClosedRange<UInt64> {
        let asked = getenv(variable).flatMap { UInt64(String(cString: $0)) }
        return 1...max(1, asked ?? (isWhole ? all : few))
    }
}

/// Whether the tests were built with the address sanitizer, which has a handler of SIGSEGV and, at the end of
/// a process, looks for leaks by calls that a test's filter may refuse.
public let isAddressSanitized = dlsym(nil, "__asan_init") != nil

/// The same of any sanitizer; the thread sanitizer has a handler of SIGSEGV too.
public let isSanitized = isAddressSanitized || dlsym(nil, "__tsan_init") != nil
