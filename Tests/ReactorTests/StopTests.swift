// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

/// What a program begins while its reactor stops: it ends, soon, and without a word.
@Suite struct StopTests {
    private final class Quiet: StreamProtocol, DatagramProtocol {
        var whenLost: (any StreamTransport) -> Void = { _ in }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            whenLost(transport)
        }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }

    /// Runs a program that begins something again as soon as it fails, from before the stop on.
    ///
    /// - Returns: How often it began.
    private func run(
        on name: String, _ begin: @escaping (Reactor, _ failed: @escaping () -> Void) throws -> Void
    ) throws -> Int {
        let reactor = Reactor(backend: try namedBackend(name))
        var count = 0
        var reports: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { reports.append("\($0.error)") }
            func again() {
                count += 1
                guard count < 10_000 else { return }
                do { try begin(reactor, again) } catch { reports.append("thrown: \(error)") }
            }
            again()
            reactor.stop(within: .zero)
        }
        #expect(reactor.statistics.openHandles == 0)
        #expect(reports.allSatisfy { $0.contains("ECANCELED") }, "\(reports)")
        return count
    }

    // Case W4
    @Test(arguments: backendNames)
    func `an errback that connects again at once does not hold up the end`(name: String) throws {
        let host = try FullHost()
        let count = try run(on: name) { reactor, failed in
            ClientEndpoint.address(host.address).connect(on: reactor) { Quiet() }
                .whenFailed { _ in failed() }
        }
        #expect(2...100 ~= count)
    }

    // Case W4
    @Test(arguments: backendNames)
    func `an errback that looks a name up again at once does not hold up the end`(
        name: String
    ) throws {
        var resolver: (any NameResolver)?
        let count = try run(on: name) { reactor, failed in
            // Kept, as a program may keep it.
            if resolver == nil { resolver = try reactor.resolver }
            resolver?.resolve("slow.example", port: 80).whenFailed { _ in failed() }
        }
        #expect(2...100 ~= count)
    }

    // Case W4
    @Test(arguments: backendNames)
    func `a failed look-up is followed by a connect, and both end`(name: String) throws {
        let host = try FullHost()
        let count = try run(on: name) { reactor, failed in
            ClientEndpoint.address(host.address).connect(on: reactor) { Quiet() }
                .whenFailed { _ in
                    do {
                        try reactor.resolver.resolve("slow.example", port: 80)
                            .whenFailed { _ in failed() }
                    } catch {
                        failed()
                    }
                }
        }
        #expect(count <= 10_000)
    }

    @Test(arguments: backendNames)
    func `work for threads and tasks that are begun again at once do not hold up the end`(
        name: String
    ) throws {
        let threads = try run(on: name) { reactor, failed in
            reactor.deferToThread { 1 }.whenFailed { _ in failed() }
        }
        #expect(threads <= 100)
        let tasks = try run(on: name) { reactor, failed in
            reactor.spawn { try await reactor.sleep(for: .seconds(3_600)) }
                .whenFailed { _ in failed() }
        }
        #expect(2...100 ~= tasks)
    }

    // Case W5
    @Test(arguments: backendNames)
    func `tasks that connect again for ever end without a word`(name: String) throws {
        let host = try FullHost()
        let reactor = Reactor(backend: try namedBackend(name))
        var reports: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { reports.append("\($0.error)") }
            for _ in 0..<2 {
                reactor.spawn {
                    for _ in 0..<3_000 {
                        let connect = ClientEndpoint.address(host.address).connect(on: reactor)
                        do { for try await _ in try await connect.value.inbound {} } catch {}
                    }
                }
            }
            reactor.callLater(.milliseconds(5)) { reactor.stop(within: .milliseconds(5)) }
        }
        #expect(reports == [])
        #expect(reactor.statistics.openHandles == 0)
    }

    @Test(arguments: backendNames)
    func `what a lost connection opens at the end is refused with an error`(name: String) throws {
        let pipe = try NativePipe()
        let reactor = Reactor(backend: try namedBackend(name))
        var errors: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            func tryToOpen(_ open: () throws -> Void) {
                do {
                    try open()
                    errors.append("opened")
                } catch {
                    errors.append((error as? IOError)?.code.name ?? "\(error)")
                }
            }
            let client = Quiet()
            client.whenLost = { transport in
                let reactor = transport.reactor
                tryToOpen { try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Quiet() } }
                tryToOpen {
                    try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), Quiet())
                }
                tryToOpen {
                    _ = try reactor.watch(descriptor: pipe.output, for: .readable) { _ in }
                }
                tryToOpen { _ = try reactor.signals.catchSignal(.hangUp) { _ in } }
            }
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Quiet() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { _ in _ = reactor.stop(within: .zero) }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        // What can still be opened in the turns of the stop is closed at its end.
        #expect(errors.count == 4, "\(errors)")
        #expect(reactor.statistics.openHandles == 0)
    }

    @Test(arguments: backendNames)
    func `connections that follow each other for ever are dropped at the end`(name: String) throws {
        let reactor = Reactor(backend: try namedBackend(name))
        var count = 0
        func adopt() -> Quiet {
            let quiet = Quiet()
            quiet.whenLost = { transport in
                count += 1
                guard count < 10_000 else { return }
                transport.reactor.adopt(DeafStream(), adopt())
            }
            return quiet
        }
        try reactor.run(signals: .ignore) { reactor in
            reactor.adopt(DeafStream(), adopt())
            reactor.stop(within: .zero)
        }
        #expect(2...100 ~= count)
        #expect(reactor.statistics.openConnections == 0)
        #expect(reactor.statistics.liveTransports == 0)
    }

    // MARK: Triggers

    // Case W6
    @Test(arguments: backendNames)
    func `a trigger that another one removes inside its phase does not run`(name: String) throws {
        let reactor = Reactor(backend: try namedBackend(name))
        var order: [String] = []
        for event in [ReactorEvent.startup, .shutdown] {
            var second: Trigger?
            reactor.addTrigger(.before, event) {
                order.append("first")
                if let second { #expect(reactor.removeTrigger(second)) }
            }
            second = reactor.addTrigger(.before, event) { order.append("second") }
        }
        try reactor.run(signals: .ignore) { $0.stop() }
        #expect(order == ["first", "first"])
    }

    // Case W6
    @Test(arguments: backendNames)
    func `a trigger that is added when its phase has begun runs, before the next phase`(
        name: String
    ) throws {
        let reactor = Reactor(backend: try namedBackend(name))
        var order: [String] = []
        for event in [ReactorEvent.startup, .shutdown] {
            reactor.addTrigger(.before, event) {
                order.append("before \(event)")
                reactor.addTrigger(.before, event) { order.append("added") }
            }
            reactor.addTrigger(.during, event) {
                order.append("during")
                reactor.addTrigger(.before, event) {
                    order.append("late")
                    return reactor.deferLater(.milliseconds(1)) { order.append("waited") }
                }
            }
            reactor.addTrigger(.after, event) { order.append("after") }
        }
        reactor.addTrigger(.after, .startup) { reactor.callLater(.zero) { reactor.stop() } }
        try reactor.run()
        #expect(
            order == [
                "before startup", "added", "during", "late", "waited", "after",
                "before shutdown", "added", "during", "late", "waited", "after",
            ])
    }

    @Test(arguments: backendNames)
    func `triggers that add another each time end with the stop's gracePeriod`(name: String) throws
    {
        let reactor = Reactor(backend: try namedBackend(name))
        var count = 0
        var reports: [any Error] = []
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { reports.append($0.error) }
            func add() {
                count += 1
                reactor.addTrigger(.before, .shutdown) { add() }
            }
            add()
            reactor.stop(within: .milliseconds(2))
        }
        #expect(count > 1)
        // The last one was added when nothing runs any more, and is not dropped without a word.
        #expect(reports.count == 1 && reports.first is ReactorStopped)
    }
}

/// A listening socket whose backlog is full: a connect to it waits.
private final class FullHost {
    let address: SocketAddress
    private var descriptors: [Int32] = []

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        descriptors.append(listener)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &name) {
            try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try #require(bind(listener, $0, size) == 0 && listen(listener, 0) == 0)
                try #require(getsockname(listener, $0, &size) == 0)
            }
        }
        address = .ipv4(.loopback, port: UInt16(bigEndian: name.sin_port))
        for _ in 0..<8 {
            let client = socket(
                AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            descriptors.append(client)
            _ = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, size) }
            }
        }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }
}

/// A pipe of the system.
private final class NativePipe {
    let output: Int32
    private let input: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        (output, input) = (ends[0], ends[1])
    }

    deinit {
        close(output)
        close(input)
    }
}

/// A stream on which nothing happens.
private final class DeafStream: BackendStream {
    var peerAddress: SocketAddress { .unix(.unnamed) }
    var localAddress: SocketAddress { .unix(.unnamed) }
    var needsDraining: Bool { false }

    func deliver(to receiver: any StreamReceiver) {}
    func startReading() {}
    func stopReading() {}
    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult { .wrote(first.count + second.count) }
    func startWriting(from queue: WriteQueue) {}
    func shutdownWriting() -> ErrorCode? { nil }
    func close() {}
    func reset() {}
}
