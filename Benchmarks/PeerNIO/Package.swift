// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import PackageDescription

// A package of its own, so that neither the library nor the harness ever resolves swift-nio: its
// build takes minutes, and only the benchmarks that have SwiftNIO beside Torsion need it.
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let http: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let settings: [SwiftSetting] = [.swiftLanguageMode(.v6)]

let package = Package(
    name: "peer-nio",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
    ],
    targets: [
        .executableTarget(name: "nio-parts", dependencies: nio, swiftSettings: settings),
        .executableTarget(name: "nio-redis", dependencies: nio, swiftSettings: settings),
        .executableTarget(name: "nio-echo", dependencies: nio, swiftSettings: settings),
        .target(name: "PeerServer", dependencies: nio, swiftSettings: settings),
        .executableTarget(
            name: "nio-http", dependencies: nio + [http, "PeerServer"], swiftSettings: settings),
        .executableTarget(
            name: "nio-websocket",
            dependencies: nio + [
                http, "PeerServer", .product(name: "NIOWebSocket", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "nio-tls",
            dependencies: nio + [
                "PeerServer", .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings),
    ]
)
