// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: a server with a protocol and a store above the engine: SET and GET of 32 bytes under 10,000
// keys, over 64 connections, one command at a time and sixteen in a packet. The example MiniRedis, with
// its limits and time-outs, beside redis-server and the same commands over SwiftNIO.
//
// Does not measure: persistence, expiry or many cores, of which redis-server has the first two.
//
// Expected: one command at a time is the kernel's work, so all are close. With sixteen in a packet what is
// counted is reading commands, hashing keys and writing answers.
extension Scenario {
    private static func redis(
        _ name: String, _ summary: String, _ load: Load, depth: Int, bound: Double
    ) -> Scenario {
        Scenario(
            name: name, summary: summary, unit: "command", load: load, connections: 64,
            isSlow: true, servers: ["mini-redis", "redis", "nio-redis"], size: 32, depth: depth,
            countedLengths: (16_000, 48_000),
            bounds: [
                Bound(server: "mini-redis", factor: bound, reference: .server("redis")),
                Bound(server: "mini-redis", factor: 0.5, reference: .server("nio-redis")),
            ])
    }

    static let redisSet = redis(
        "redis.set", "SET, one in flight on 64 connections", .redisSet, depth: 1, bound: 1.1)
    static let redisGet = redis(
        "redis.get", "GET, one in flight on 64 connections", .redisGet, depth: 1, bound: 1.1)
    static let redisSetPipelined = redis(
        "redis.set.pipelined", "SET, sixteen in a packet", .redisSet, depth: 16, bound: 1)
    static let redisGetPipelined = redis(
        "redis.get.pipelined", "GET, sixteen in a packet", .redisGet, depth: 16, bound: 1)
}
