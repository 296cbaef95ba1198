// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

// One node of a chat on many machines: Redis has what they share, HAProxy stands before them.
//
//     ClusterChat NAME CHAT HEALTH REDIS HANDOVER
//     ClusterChat a tcp:8001 tcp:9001 tcp:127.0.0.1:6379 /run/chat/a.handover
//
// Started once more with the same words it takes the ports of the node that runs, which then ends.

struct Usage: Error, CustomStringConvertible {
    let description = "usage: ClusterChat NAME CHAT HEALTH REDIS HANDOVER"
}

Reactor.main(signals: .stop(lameDuck: .seconds(1), within: .seconds(10))) { reactor in
    let words = CommandLine.arguments.dropFirst()
    guard words.count == 5 else { throw Usage() }
    let (name, handOver) = (words[1], words[5])
    let room = Room(name)

    let retry = RetryPolicy(firstDelay: .milliseconds(20), longestDelay: .milliseconds(100))
    let place = try ClientEndpoint(parsing: words[4])
    let redis = ClientService(to: place, on: reactor, policy: retry) {
        RedisLink(room)
    } prepare: { link in
        link.join()
    }
    redis.start()
    // A node without the log is not ready: until then it takes no other one's place.
    reactor.addTrigger(.before, .startup) { redis.whenConnected() }

    // HAProxy says of each connection whose it is. From anybody else it would not be believed.
    let port = try ServerEndpoint(parsing: words[2]).handedOver(by: handOver, name: "chat")
        .filtered { ProxyHeaderReader(trusting: AddressBlock.local) }
        .listen(on: reactor) { Member(room) }
    let health = try HealthEndpoint(
        ServerEndpoint(parsing: words[3]).handedOver(by: handOver, name: "health")
    ).listen(on: reactor)
    print("listening on \(port.localAddress), health on \(health.localAddress)")
}
