// swift-tools-version: 6.2.3
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

// A package of its own: the harness starts programs and depends on none, and this one needs the
// library.
let package = Package(
    name: "torsion-parts",
    dependencies: [.package(name: "torsion", path: "../..")],
    targets: [
        .executableTarget(
            name: "torsion-parts",
            dependencies: [.product(name: "Torsion", package: "torsion")],
            swiftSettings: [
                .swiftLanguageMode(.v6),
                .treatAllWarnings(as: .error),
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
            ])
    ]
)
