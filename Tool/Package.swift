// swift-tools-version: 6.2.3
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

/// Whether these are the project's own runs: see the library's manifest.
let isDevelopment = Context.environment["TORSION_DEVELOPMENT"] != nil

let language: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
let settings = (isDevelopment ? [.treatAllWarnings(as: .error)] : []) + language

// A package of its own, since it depends on another one: what links the library fetches nothing.
let package = Package(
    name: "torsion-tool",
    products: [.executable(name: "torsion", targets: ["TorsionTool"])],
    dependencies: [
        // In our own runs the library's manifest turns them on by itself.
        .package(
            name: "torsion", path: "..",
            traits: isDevelopment ? [.defaults] : ["IOUring", "TLS", "Zlib"]),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    ],
    targets: [
        .executableTarget(
            name: "TorsionTool",
            dependencies: [
                .product(name: "Torsion", package: "torsion"),
                .product(name: "TorsionCore", package: "torsion"),
                .product(name: "TorsionDNS", package: "torsion"),
                .product(name: "TorsionHTTP", package: "torsion"),
                .product(name: "TorsionProcesses", package: "torsion"),
                .product(name: "TorsionTLS", package: "torsion"),
                .product(name: "TorsionURing", package: "torsion"),
                .product(name: "TorsionWebSocket", package: "torsion"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        // Its folder TestPrograms is a link to that of the library's tests, which is no product.
        .testTarget(
            name: "ToolTests",
            dependencies: [
                "TorsionTool",
                .product(name: "TorsionCore", package: "torsion"),
                .product(name: "TorsionTLS", package: "torsion"),
                .product(name: "TorsionURing", package: "torsion"),
                .product(name: "TorsionUV", package: "torsion"),
            ],
            swiftSettings: settings),
    ]
)
