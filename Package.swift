// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

/// What every target is compiled with.
///
/// `Lifetimes` lets `Bytes.span` return a borrowed `RawSpan`.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

/// Portable targets mark each unsafe expression as well.
///
/// TorsionCore does not: there the mark would
/// stand at every use of an `@exclusivity(unchecked)` property, and drown those of pointers.
let portable = settings + [.strictMemorySafety()]

/// The short programs of Sources/Examples, each a target and run by Tests/ExampleTests.
let exampleNames = [
    "AnyBackend", "Chat", "ChatAsync", "ChatCallbacks", "ChatDeferreds", "Echo", "FourThreads",
    "FromThreads", "GracefulEnd", "HTTPRequest", "Proxy", "RetryingClient", "Ticker", "UDPPing",
]

func example(_ name: String) -> Target {
    .executableTarget(
        name: name, dependencies: ["Torsion"], path: "Sources/Examples/\(name)",
        swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: settings)
}

let package = Package(
    name: "torsion",
    products: [
        .library(name: "Torsion", targets: ["Torsion"]),
        .library(name: "TorsionCore", targets: ["TorsionCore"]),
        .library(name: "TorsionProtocols", targets: ["TorsionProtocols"]),
        .library(name: "TorsionSockets", targets: ["TorsionSockets"]),
        .library(name: "TorsionUV", targets: ["TorsionUV"]),
        .library(name: "TorsionEpoll", targets: ["TorsionEpoll"]),
        .library(name: "TorsionURing", targets: ["TorsionURing"]),
        .library(name: "TorsionServices", targets: ["TorsionServices"]),
        .library(name: "TorsionTesting", targets: ["TorsionTesting"]),
        .executable(name: "torsion", targets: ["TorsionTool"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
    ],
    targets: [
        // C
        .systemLibrary(
            name: "CUV", path: "CShims/CUV", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .target(name: "CTorsionUV", dependencies: ["CUV"], path: "CShims/CTorsionUV"),
        .target(name: "CTorsionSockets", path: "CShims/CTorsionSockets"),
        .systemLibrary(
            name: "CURing", path: "CShims/CURing", pkgConfig: "liburing",
            providers: [.apt(["liburing-dev"])]),
        .target(name: "CTorsionURing", dependencies: ["CURing"], path: "CShims/CTorsionURing"),
        .target(name: "CTorsionCore", path: "CShims/CTorsionCore"),

        // The engine, in import order
        .target(name: "TorsionCore", dependencies: ["CTorsionCore"], swiftSettings: settings),
        .target(name: "TorsionProtocols", dependencies: ["TorsionCore"], swiftSettings: portable),
        .target(
            name: "TorsionSockets", dependencies: ["TorsionCore", "CTorsionSockets"],
            swiftSettings: settings),
        .target(
            name: "TorsionUV", dependencies: ["TorsionCore", "TorsionSockets", "CTorsionUV"],
            swiftSettings: settings),
        .target(
            name: "TorsionEpoll",
            dependencies: ["TorsionCore", "TorsionSockets", "CTorsionSockets"],
            swiftSettings: settings),
        .target(
            name: "TorsionURing",
            dependencies: ["TorsionCore", "TorsionSockets", "CTorsionSockets", "CTorsionURing"],
            swiftSettings: settings),
        .target(
            name: "TorsionServices", dependencies: ["TorsionCore", "CTorsionUV"],
            swiftSettings: settings),
        .target(
            name: "TorsionTesting", dependencies: ["TorsionCore", "CTorsionCore"],
            swiftSettings: portable),
        .target(
            name: "Torsion",
            dependencies: [
                "TorsionCore", "TorsionProtocols", "TorsionServices", "TorsionUV", "TorsionEpoll",
            ],
            swiftSettings: settings),

        // Programs
        .executableTarget(
            name: "TorsionTool",
            dependencies: [
                "Torsion", "TorsionURing",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),

        // Whole programs under many seeds
        .target(
            name: "Scenarios", dependencies: ["TorsionCore", "TorsionProtocols", "TorsionTesting"],
            path: "Tests/Scenarios", swiftSettings: settings),
        .executableTarget(
            name: "RandomUsers", dependencies: ["Scenarios", "Torsion", "TorsionURing"],
            path: "Tests/RandomUsers", swiftSettings: settings),
        .executableTarget(
            name: "Simulate", dependencies: ["Scenarios", "TorsionTesting"],
            path: "Tests/Simulate", swiftSettings: settings),

        // Tests
        .target(name: "TestPrograms", path: "Tests/TestPrograms", swiftSettings: settings),
        tests("Snippets", ["Torsion", "TorsionCore", "TorsionSockets", "TorsionTesting"]),
        tests("CompileTests", ["TestPrograms", "Torsion"]),
        tests(
            "ExampleTests",
            ["TestPrograms", "Torsion", "TorsionTesting"]
                + exampleNames.map { .byName(name: $0) }),
        tests("HouseTests", []),
        tests("ConformanceTests", ["Torsion", "TorsionTesting", "TorsionURing", "TorsionUV"]),
        .target(name: "CCallFaults", path: "Tests/CCallFaults"),
        tests(
            "ToolTests",
            ["TestPrograms", "TorsionCore", "TorsionTool", "TorsionURing", "TorsionUV"]),
        tests(
            "SimulationTests",
            ["Torsion", "TorsionTesting", "TorsionURing", "Scenarios", "Simulate"]),
        tests(
            "ReactorTests",
            [
                "TestPrograms", "Torsion", "TorsionTesting", "TorsionURing", "TorsionUV",
                "CCallFaults",
            ]),
        tests(
            "TorsionProtocolsTests",
            ["Torsion", "TorsionProtocols", "TorsionTesting", "TorsionURing"]),
        tests("TorsionTestingTests", ["Torsion", "TorsionTesting"]),
        tests("TorsionCoreTests", ["TorsionCore", "TorsionTesting"]),
        tests(
            "TorsionURingTests",
            ["TorsionCore", "TorsionTesting", "TorsionURing", "CTorsionURing"]),
        tests("TorsionUVTests", ["TorsionCore", "TorsionSockets", "TorsionUV"]),
        tests(
            "TorsionServicesTests",
            ["TorsionCore", "TorsionEpoll", "TorsionServices", "TorsionURing", "TorsionUV"]),
    ] + exampleNames.map(example)
)
