// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
@_spi(Backend) import TorsionCore

// An author of a backend says so where it is imported.
func end(_ stream: any BackendStream) { stream.close() }
