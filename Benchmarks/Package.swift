// swift-tools-version: 6.2.3
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

// The harness only starts programs, Torsion's command among them: it depends on no package, so that
// measuring needs nothing but the toolchain. The C programs beside it are built by `bench.mk`, the
// SwiftNIO peer is a package of its own.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "torsion-bench",
    targets: [
        .executableTarget(
            name: "torsion-bench", path: "Sources/TorsionBench", swiftSettings: settings),
        .testTarget(
            name: "TorsionBenchTests", dependencies: ["torsion-bench"], swiftSettings: settings),
    ]
)
