// swift-tools-version: 6.2.3
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

// The adapters with what they adapt to: a package of its own, so that nothing of it is fetched for the
// library's other tests. `make adapters` runs it.
let package = Package(
    name: "torsion-adapters",
    dependencies: [
        .package(
            name: "torsion", path: "../..", traits: ["HTTPTypes", "Lifecycle", "Log", "Metrics"]),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.3.0"),
    ],
    targets: [
        .testTarget(
            name: "AdapterTests",
            dependencies: [
                .product(name: "Torsion", package: "torsion"),
                .product(name: "TorsionLog", package: "torsion"),
                .product(name: "TorsionMetrics", package: "torsion"),
                .product(name: "TorsionLifecycle", package: "torsion"),
                .product(name: "TorsionHTTP", package: "torsion"),
                .product(name: "TorsionHTTPTypes", package: "torsion"),
                .product(name: "TorsionTesting", package: "torsion"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: [
                .swiftLanguageMode(.v6),
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("MemberImportVisibility"),
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
            ])
    ]
)
