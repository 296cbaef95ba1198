// swift-tools-version: 6.2.3
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

/// Whether these are the project's own runs: the Makefile sets the variable.
///
/// Then warnings are errors, and every trait is on. A newer compiler's warning must not break the
/// program of someone who depends on Torsion by path. Flags of the command line would be no
/// substitute: `-warnings-as-errors` holds for the packages that the command depends on, too, and
/// SwiftPM hands several traits to the compiler in an order that differs from run to run, so that
/// every build would compile everything anew.
let isDevelopment = Context.environment["TORSION_DEVELOPMENT"] != nil

/// Parts of the library that need what not every machine has, off unless a program asks for them:
/// `.package(…, traits: ["IOUring"])`.
///
/// To add one:
///
/// 1. Add it here and to the list in Tool/Package.swift, and its Debian package to
///    scripts/install-dependencies.
/// 2. Declare the system library as a target, and depend on it only by `.byName(name: "COpenSSL",
///    condition: with("TLS"))`: without the trait, SwiftPM then asks for no header. A product of
///    another package takes the same condition.
/// 3. Give the target of its shim `cSettings: [define("TLS")]`, and put its C files between `#ifdef
///    TORSION_TLS` and `#endif`.
/// 4. Put Swift files that need it between `#if TLS` and `#endif`: SwiftPM defines the name of each
///    trait that is on for every target of this package. Its entry points get unavailable twins
///    behind `#else` that name the trait, as in `BackendChoice+URing.swift`.
///
/// `make plain` builds and tests without any.
let traits = [
    "IOUring": "The io_uring backend, product TorsionURing. Needs liburing-dev.",
    "TLS": "TLS over OpenSSL 3, product TorsionTLS. Needs libssl-dev.",
    "Zlib": "Compression in TorsionHTTP's client and TorsionWebSocket. Needs zlib1g-dev.",
]

/// Adapters to other packages, each a product and a trait that fetches what it needs.
///
/// They are off in our own runs too, which would have to fetch it: Tests/Adapters turns them on. The
/// dependencies of a target that wants one name it by `.when(traits:)`, or everybody would fetch it.
let adapters = [
    "Log": "The product TorsionLog, for swift-log.",
    "Metrics": "The product TorsionMetrics, for swift-metrics.",
    "Lifecycle": "The product TorsionLifecycle, for swift-service-lifecycle.",
    "HTTPTypes": "The product TorsionHTTPTypes, for swift-http-types.",
]

/// A product of another package that only an adapter needs.
func adapting(_ product: String, _ package: String, _ trait: String) -> Target.Dependency {
    .product(name: product, package: package, condition: .when(traits: [trait]))
}

/// The condition of a dependency that only this trait needs.
func with(_ trait: String) -> TargetDependencyCondition? {
    isDevelopment ? nil : .when(traits: [trait])
}

/// Defines `TORSION_` and the trait's name in capitals for C.
func define(_ trait: String) -> CSetting {
    .define("TORSION_" + trait.uppercased(), isDevelopment ? nil : .when(traits: [trait]))
}

/// `Lifetimes` lets `Bytes.span` return a borrowed `RawSpan`.
let language: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

/// What every target is compiled with.
let settings =
    isDevelopment
    ? [.treatAllWarnings(as: .error)] + language + traits.keys.sorted().map { .define($0) }
    : language

/// Portable targets mark each unsafe expression as well.
///
/// TorsionCore does not: there the mark would
/// stand at every use of an `@exclusivity(unchecked)` property, and drown those of pointers.
let portable = settings + [.strictMemorySafety()]

/// The short programs of Sources/Examples, each a target and run by Tests/ExampleTests.
let exampleNames = [
    "AnyBackend", "Chat", "ChatAsync", "ChatCallbacks", "ChatDeferreds", "ClusterChat", "Echo",
    "FourThreads", "FromThreads", "GracefulEnd", "HTTPFetch", "HTTPFiles", "HTTPHello",
    "HTTPRequest", "HTTPReverseProxy", "HTTPRouter", "HTTPUpload", "MiniRedis", "Proxy",
    "RetryingClient", "SecureChat", "Supervisor", "Ticker", "UDPPing", "WebSocketChat",
]

/// The programs of the book, one a chapter, each run by Tests/BookTests.
///
/// The first four make the kernel's calls themselves.
let bookNames = [
    "BookAwait", "BookBlocking", "BookDeferred", "BookInterfaces", "BookManyCores", "BookMessages",
    "BookPoll", "BookProduction", "BookProtocol", "BookReactor", "BookSlowReader", "BookTorsion",
]

func chapter(_ name: String) -> Target {
    let isPlain = ["BookBlocking", "BookPoll", "BookProtocol", "BookReactor"].contains(name)
    return .executableTarget(
        name: name, dependencies: [isPlain ? "BookSockets" : "Torsion"],
        path: "Sources/Book/\(name)", swiftSettings: settings)
}

func example(_ name: String) -> Target {
    .executableTarget(
        name: name,
        dependencies: ["Torsion"] + (name.hasPrefix("Secure") ? ["TorsionTLS"] : [])
            + (name.hasPrefix("HTTP") || name == "ClusterChat" ? ["TorsionHTTP"] : [])
            + (name.hasPrefix("WebSocket") ? ["TorsionHTTP", "TorsionWebSocket"] : [])
            + (name == "Supervisor" ? ["TorsionProcesses"] : []),
        path: "Sources/Examples/\(name)",
        swiftSettings: settings)
}

/// A program that tests start.
func testProgram(_ name: String, _ dependencies: [Target.Dependency] = ["Torsion"]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Tests/Programs/\(name)",
        swiftSettings: settings)
}

/// A target of tests, which run on more threads than there are cores.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies + ["CTestThreads"], path: "Tests/\(name)",
        swiftSettings: settings)
}

// The command `torsion` is a package of its own, in Tool/, since it depends on another one: what
// depends on this package fetches nothing else.
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
        .library(name: "TorsionTLS", targets: ["TorsionTLS"]),
        .library(name: "TorsionHTTP", targets: ["TorsionHTTP"]),
        .library(name: "TorsionHTTPTypes", targets: ["TorsionHTTPTypes"]),
        .library(name: "TorsionWebSocket", targets: ["TorsionWebSocket"]),
        .library(name: "TorsionDNS", targets: ["TorsionDNS"]),
        .library(name: "TorsionProcesses", targets: ["TorsionProcesses"]),
        .library(name: "TorsionServices", targets: ["TorsionServices"]),
        .library(name: "TorsionOperations", targets: ["TorsionOperations"]),
        .library(name: "TorsionFoundation", targets: ["TorsionFoundation"]),
        .library(name: "TorsionLog", targets: ["TorsionLog"]),
        .library(name: "TorsionMetrics", targets: ["TorsionMetrics"]),
        .library(name: "TorsionLifecycle", targets: ["TorsionLifecycle"]),
        .library(name: "TorsionTesting", targets: ["TorsionTesting"]),
    ],
    traits: Set(
        traits.merging(adapters) { one, _ in one }.map {
            .trait(name: $0.key, description: $0.value)
        }),
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.3.0"),
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
        .target(
            name: "CTorsionURing",
            dependencies: [.byName(name: "CURing", condition: with("IOUring"))],
            path: "CShims/CTorsionURing", cSettings: [define("IOUring")]),
        .systemLibrary(
            name: "COpenSSL", path: "CShims/COpenSSL", pkgConfig: "openssl",
            providers: [.apt(["libssl-dev"])]),
        .target(
            name: "CTorsionTLS",
            dependencies: [.byName(name: "COpenSSL", condition: with("TLS"))],
            path: "CShims/CTorsionTLS", cSettings: [define("TLS")]),
        .systemLibrary(
            name: "CZlib", path: "CShims/CZlib", pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CTorsionZlib",
            dependencies: [.byName(name: "CZlib", condition: with("Zlib"))],
            path: "CShims/CTorsionZlib", cSettings: [define("Zlib")]),
        .target(name: "CTorsionCore", path: "CShims/CTorsionCore"),
        .target(name: "CTorsionProcesses", path: "CShims/CTorsionProcesses"),

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
            name: "TorsionTLS", dependencies: ["TorsionCore", "CTorsionTLS"],
            swiftSettings: settings),
        .target(
            name: "TorsionHTTP", dependencies: ["TorsionCore", "CTorsionZlib"],
            swiftSettings: settings),
        .target(
            name: "TorsionWebSocket", dependencies: ["TorsionCore", "TorsionHTTP"],
            swiftSettings: settings),
        .target(name: "TorsionDNS", dependencies: ["TorsionCore"], swiftSettings: portable),
        .target(
            name: "TorsionProcesses",
            dependencies: ["TorsionCore", "TorsionSockets", "CTorsionProcesses"],
            swiftSettings: settings),
        .target(
            name: "TorsionServices", dependencies: ["TorsionCore", "CTorsionUV"],
            swiftSettings: settings),
        .target(
            name: "TorsionOperations",
            dependencies: [
                "TorsionCore", "TorsionProtocols", "TorsionServices", "TorsionSockets",
                "CTorsionSockets",
            ],
            swiftSettings: settings),
        .target(
            name: "TorsionFoundation", dependencies: ["TorsionCore"], swiftSettings: settings),
        .target(
            name: "TorsionTesting", dependencies: ["TorsionCore", "CTorsionCore"],
            swiftSettings: portable),
        .target(
            name: "Torsion",
            dependencies: [
                "TorsionCore", "TorsionProtocols", "TorsionDNS", "TorsionServices",
                "TorsionOperations", "TorsionUV", "TorsionEpoll",
            ],
            swiftSettings: settings),

        // Adapters
        .target(
            name: "TorsionLog",
            dependencies: ["TorsionCore", adapting("Logging", "swift-log", "Log")],
            swiftSettings: settings),
        .target(
            name: "TorsionMetrics",
            dependencies: ["TorsionCore", adapting("CoreMetrics", "swift-metrics", "Metrics")],
            swiftSettings: settings),
        .target(
            name: "TorsionLifecycle",
            dependencies: [
                "Torsion", "TorsionCore", "TorsionServices",
                adapting("ServiceLifecycle", "swift-service-lifecycle", "Lifecycle"),
            ],
            swiftSettings: settings),
        .target(
            name: "TorsionHTTPTypes",
            dependencies: [
                "TorsionCore", "TorsionHTTP",
                adapting("HTTPTypes", "swift-http-types", "HTTPTypes"),
            ],
            swiftSettings: settings),

        // Whole programs under many seeds
        .target(
            name: "Scenarios",
            dependencies: [
                "TestedBackends", "Torsion", "TorsionCore", "TorsionDNS", "TorsionHTTP",
                "TorsionProtocols", "TorsionTesting", "TorsionTLS", "TorsionWebSocket",
            ],
            path: "Tests/Scenarios", swiftSettings: settings),
        .executableTarget(
            name: "RandomUsers", dependencies: ["Scenarios", "TestedBackends", "Torsion"],
            path: "Tests/RandomUsers", swiftSettings: settings),
        .executableTarget(
            name: "Simulate", dependencies: ["Scenarios", "TorsionTesting"],
            path: "Tests/Simulate", swiftSettings: settings),

        // Tests
        .target(name: "CTestThreads", path: "Tests/CTestThreads"),
        .target(name: "TestPrograms", path: "Tests/TestPrograms", swiftSettings: settings),
        .target(
            name: "TestedBackends",
            dependencies: ["Torsion", "TorsionCore", "TorsionTLS", "TorsionURing"],
            path: "Tests/TestedBackends", swiftSettings: settings),
        testProgram("Broker"),
        testProgram("Relay"),
        testProgram("Watch"),
        testProgram("TopLevel"),
        testProgram("AtMain"),
        testProgram("RawTerminal", ["Torsion", "TorsionProcesses"]),
        tests(
            "Snippets",
            [
                "TestPrograms", "Torsion", "TorsionCore", "TorsionDNS", "TorsionHTTP",
                "TorsionProcesses",
                "TorsionSockets", "TorsionTLS", "TorsionTesting", "TorsionWebSocket",
            ]),
        tests("CompileTests", ["TestPrograms", "Torsion"]),
        tests(
            "ExampleTests",
            [
                "AtMain", "Broker", "Relay", "TestPrograms", "TopLevel", "Torsion",
                "TorsionTesting", "TorsionWebSocket", "Watch",
            ]
                + exampleNames.map { .byName(name: $0) }),
        tests("SupervisorTests", ["Supervisor", "Torsion", "TorsionProcesses", "TorsionTesting"]),
        .target(
            name: "BookSockets", path: "Sources/Book/BookSockets", swiftSettings: settings),
        tests("BookTests", ["TestPrograms"] + bookNames.map { .byName(name: $0) }),
        tests("HouseTests", []),
        tests(
            "ConformanceTests",
            ["TestPrograms", "TestedBackends", "Torsion", "TorsionTesting", "TorsionUV"]),
        .target(name: "CCallFaults", path: "Tests/CCallFaults"),
        tests(
            "SimulationTests",
            [
                "Scenarios", "Simulate", "TestPrograms", "TestedBackends", "Torsion",
                "TorsionTesting",
            ]),
        tests(
            "ReactorTests",
            [
                "TestPrograms", "TestedBackends", "Torsion", "TorsionCore", "TorsionTesting",
                "TorsionUV", "CCallFaults",
            ]),
        .target(name: "CAllocations", path: "Tests/CAllocations"),
        tests(
            "TorsionProtocolsTests",
            ["CAllocations", "TestedBackends", "Torsion", "TorsionProtocols", "TorsionTesting"]),
        .target(
            name: "CTestCertificates",
            dependencies: [.byName(name: "COpenSSL", condition: with("TLS"))],
            path: "Tests/CTestCertificates", cSettings: [define("TLS")]),
        tests(
            "TorsionTLSTests",
            [
                "CTestCertificates", "TestPrograms", "TestedBackends", "Torsion", "TorsionTLS",
                "TorsionTesting",
            ]),
        tests(
            "TorsionHTTPTests",
            [
                "TestPrograms", "TestedBackends", "Torsion", "TorsionCore", "TorsionHTTP",
                "TorsionTLS", "TorsionTesting",
            ]),
        tests(
            "TorsionWebSocketTests",
            [
                "CTorsionZlib", "TestPrograms", "TestedBackends", "Torsion", "TorsionCore",
                "TorsionHTTP",
                "TorsionTLS", "TorsionTesting", "TorsionWebSocket",
            ]),
        tests(
            "TorsionDNSTests",
            ["TestPrograms", "TestedBackends", "Torsion", "TorsionDNS", "TorsionTesting"]),
        tests("ProgramTests", ["TestPrograms", "Torsion", "TorsionTesting"]),
        tests(
            "TorsionFoundationTests",
            ["Torsion", "TorsionFoundation", "TorsionTesting"]),
        tests(
            "TorsionProcessesTests",
            [
                "CCallFaults", "RawTerminal", "TestPrograms", "TestedBackends", "Torsion",
                "TorsionProcesses", "TorsionTesting",
            ]),
        tests("TorsionTestingTests", ["Torsion", "TorsionCore", "TorsionTesting"]),
        tests("TorsionCoreTests", ["TorsionCore", "TorsionTesting"]),
        tests(
            "TorsionURingTests",
            ["CTorsionURing", "TestPrograms", "TorsionCore", "TorsionTesting", "TorsionURing"]),
        tests("TorsionUVTests", ["TorsionCore", "TorsionSockets", "TorsionUV"]),
        tests(
            "TorsionServicesTests",
            [
                "TestPrograms", "TestedBackends", "Torsion", "TorsionCore", "TorsionServices",
                "TorsionTesting",
            ]),
        tests(
            "TorsionOperationsTests",
            [
                "TestPrograms", "TestedBackends", "Torsion", "TorsionCore", "TorsionHTTP",
                "TorsionOperations", "TorsionTesting",
            ]),
    ] + exampleNames.map(example) + bookNames.map(chapter)
)

/// `TORSION_TESTS="TorsionCoreTests Snippets" swift build --build-tests` leaves out the other tests,
/// and the examples and the book unless theirs are named, so that a change of one part is tried in a fraction of the
/// time.
if let wanted = Context.environment["TORSION_TESTS"]?.split(separator: " ").map(String.init) {
    package.targets.removeAll { target in
        let name =
            exampleNames.contains(target.name) && !wanted.contains(target.name + "Tests")
            ? "ExampleTests" : bookNames.contains(target.name) ? "BookTests" : target.name
        return (target.type == .test || name != target.name) && !wanted.contains(name)
    }
}
