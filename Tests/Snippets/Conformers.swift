// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionHTTP
import TorsionProcesses
@_spi(Backend) import TorsionSockets
import TorsionTesting
import TorsionWebSocket

// The smallest that conforms to each public protocol, for the page *Interfaces*.

// snippet: StreamProtocol
final class Discard: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

// snippet: HalfCloseableProtocol
final class Summer: HalfCloseableProtocol {
    private var sum = 0
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        sum += bytes.byteCount
    }
    func readConnectionLost(from transport: any StreamTransport) {
        transport.write("\(sum) bytes\r\n")
        transport.loseConnection()
    }
    func writeConnectionLost(from transport: any StreamTransport) {}
}
// snippet end

// snippet: StreamProtocolFactory
final class LoopbackOnly: StreamProtocolFactory {
    func makeProtocol(for peer: SocketAddress) -> (any StreamProtocol)? {
        peer.isLocal ? Discard() : nil
    }
}
// snippet end

// snippet: LineProtocol
final class LineCounter: LineProtocol {
    let lines = LineDecoder()
    private var count = 0
    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) { count += 1 }
}
// snippet end

// snippet: FrameProtocol
final class Reverser: FrameProtocol {
    let frames = FrameDecoder(.lengthPrefix(.uint16))
    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
        try transport.write(frame: [UInt8](frame).reversed(), as: frames.format)
    }
}
// snippet end

// snippet: MessageProtocol
/// Adds the two numbers of each message.
final class PairSum: MessageProtocol {
    let messages = MessageBuffer(limitBytes: 8)
    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        let left = try reader.readInteger(UInt32.self), right = try reader.readInteger(UInt32.self)
        transport.write { $0.writeInteger(left &+ right) }
    }
}
// snippet end

// snippet: MessageDecoder
/// A name and its value, each behind its length.
struct PairDecoder: MessageDecoder {
    func decode(_ reader: inout ByteReader) throws -> (name: Bytes, value: Bytes) {
        let name = try reader.readBytes(try reader.readByte())
        return (name, try reader.readBytes(try reader.readInteger(UInt16.self)))
    }
}
// snippet end

// snippet: PhasedProtocol
/// Has to be told a word before the handshake's time is up: `endpoint.timeouts(…)`.
final class Doorkeeper: PhasedProtocol {
    private(set) var phase = ConnectionPhase.handshaking
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        if bytes == "open sesame" { phase = .open }
    }
}
// snippet end

// snippet: StreamServerEndpoint
/// Listens at the second place where the first is taken.
struct EitherPlace: StreamServerEndpoint {
    let first: ServerEndpoint, second: ServerEndpoint
    func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        do throws(IOError) {
            return try first.listen(on: reactor, factory: factory, layers: layers)
        } catch {
            return try second.listen(on: reactor, factory: factory, layers: layers)
        }
    }
}
// snippet end

// snippet: StreamClientEndpoint
/// A place whose connections are given up when nothing passes for a minute.
struct ImpatientPlace: StreamClientEndpoint {
    let place: ClientEndpoint
    func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        place.timeouts(Timeouts(idle: .seconds(60))).openStream(on: reactor)
    }
}
// snippet end

// snippet: StreamTransport
/// Counts what a protocol writes, and passes every call on.
///
/// To watch each connection of an endpoint, write a `ConnectionObserver` instead; to change its bytes,
/// a `StreamFilter`.
class CountingTransport: StreamTransport {
    let inner: any StreamTransport
    private(set) var writtenByteCount = 0
    init(_ inner: any StreamTransport) { self.inner = inner }

    func write(_ bytes: RawSpan) {
        writtenByteCount += bytes.byteCount
        inner.write(bytes)
    }
    func write(_ bytes: Bytes) { write(bytes.span) }

    var reactor: Reactor { inner.reactor }
    var id: ConnectionID { inner.id }
    var peerAddress: SocketAddress { inner.peerAddress }
    var localAddress: SocketAddress { inner.localAddress }
    var details: ConnectionDetails { inner.details }
    var pendingByteCount: Int { inner.pendingByteCount }
    var watermarks: Watermarks {
        get { inner.watermarks }
        set { inner.watermarks = newValue }
    }
    var isDelivering: Bool { inner.isDelivering }
    func registerProducer(_ producer: any PushProducer) { inner.registerProducer(producer) }
    func registerProducer(_ producer: any PullProducer) { inner.registerProducer(producer) }
    func unregisterProducer() { inner.unregisterProducer() }
    func pauseProducing() { inner.pauseProducing() }
    func resumeProducing() { inner.resumeProducing() }
    func stopProducing() { inner.stopProducing() }
    func loseConnection() { inner.loseConnection() }
    func loseConnection(because reason: any Error) { inner.loseConnection(because: reason) }
    func abortConnection() { inner.abortConnection() }
    func abortConnection(because error: any Error) { inner.abortConnection(because: error) }
    func loseWriteConnection() { inner.loseWriteConnection() }
    func unread(_ bytes: RawSpan) { inner.unread(bytes) }
    func switchProtocol(to newProtocol: any StreamProtocol, remaining: RawSpan) {
        inner.switchProtocol(to: newProtocol, remaining: remaining)
    }
    func startFilter(_ filter: StreamFilter, remaining: RawSpan) -> Deferred<Void> {
        inner.startFilter(filter, remaining: remaining)
    }
}
// snippet end

// snippet: DescriptorTransport
/// The same where descriptors can be passed.
final class CountingDescriptorTransport: CountingTransport, DescriptorTransport {
    private var passing: (any DescriptorTransport)? { inner as? any DescriptorTransport }
    var passesDescriptors: Bool { passing?.passesDescriptors ?? false }
    func write(_ bytes: RawSpan, passing descriptors: [Int32]) throws(IOError) {
        try passing?.write(bytes, passing: descriptors)
    }
}
// snippet end

// snippet: ConnectionObserver
/// Counts what a protocol is given.
final class Meter: ConnectionObserver {
    private(set) var receivedByteCount = 0
    func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
        receivedByteCount += bytes.byteCount
    }
}
// snippet end

// snippet: PeerRefusal
/// A client is refused on purpose: no line in the log.
struct Banned: PeerRefusal { let address: SocketAddress }
// snippet end

// snippet: ProcessProtocol
/// Prints what a child writes, and how it ends.
final class Job: ProcessProtocol {
    func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
        print("\(descriptor): \(String(decoding: bytes))")
    }
    func processEnded(_ status: ProcessStatus, _ child: ChildProcess) { print(status) }
}
// snippet end

// snippet: ReactorCompanion
/// Buffers that the connections of one reactor share.
final class SpareBuffers: ReactorCompanion {
    var buffers: [[UInt8]] = []
    init(on reactor: Reactor) {}
}
// snippet end

// snippet: ReactorService
/// A service that needs no time to start or stop.
final class Prompt: ReactorService {
    let reactor: Reactor
    init(on reactor: Reactor) { self.reactor = reactor }
    func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        .succeeded((), on: reactor)
    }
    func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        .succeeded((), on: reactor)
    }
}
// snippet end

// snippet: PortObserver
/// Refuses clients of other machines, and has an observer made for each of this one.
final class LocalClients: PortObserver {
    struct Stranger: Error {}
    private let watch: () -> any ConnectionObserver
    init(_ watch: @escaping () -> any ConnectionObserver) { self.watch = watch }
    func clientArrived(from peer: SocketAddress) throws -> (any ConnectionObserver)? {
        guard peer.isLocal else { throw Stranger() }
        return watch()
    }
}
// snippet end

// snippet: DescriptorReceiver
/// Makes a connection of each socket that arrives.
final class Switchboard: DescriptorReceiver {
    func descriptorsReceived(
        _ descriptors: PassedDescriptors, from transport: any DescriptorTransport
    ) throws {
        for number in descriptors.numbers {
            ClientEndpoint.adopted(descriptor: number).connect(on: transport.reactor) { Discard() }
                .whenFailed { error in print("\(error)") }
        }
    }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

// snippet: EndOfEventFlushing
final class LastWord: EndOfEventFlushing {
    private let transport: any StreamTransport
    private var text = ""
    init(_ transport: any StreamTransport) { self.transport = transport }
    func say(_ text: String) {
        if self.text.isEmpty { transport.reactor.flushAtEndOfEvent(self) }
        self.text = text
    }
    func flush() {
        transport.write(text)
        text = ""
    }
}
// snippet end

// snippet: PushProducer
final class Tap: PushProducer {
    private(set) var isOpen = true
    func pauseProducing() { isOpen = false }
    func resumeProducing() { isOpen = true }
    func stopProducing() { isOpen = false }
}
// snippet end

// snippet: PullProducer
final class Once: PullProducer {
    private let consumer: any Consumer
    init(_ consumer: any Consumer) { self.consumer = consumer }
    func produceMore() {
        consumer.write("once")
        consumer.unregisterProducer()
    }
    func stopProducing() {}
}
// snippet end

// snippet: Consumer
final class Collector: Consumer {
    private(set) var bytes: [UInt8] = []
    func write(_ bytes: RawSpan) { self.bytes += bytes }
    func write(_ bytes: Bytes) { self.bytes += bytes.span }
    func registerProducer(_ producer: any PushProducer) {}
    func registerProducer(_ producer: any PullProducer) { producer.produceMore() }
    func unregisterProducer() {}
}
// snippet end

// snippet: ByteSource
/// The same text for each consumer.
final class Motto: ByteSource {
    private let reactor: Reactor
    init(on reactor: Reactor) { self.reactor = reactor }
    func pipe(to consumer: any Consumer) -> Deferred<Int> {
        consumer.write("share nothing\n")
        consumer.finishConsuming()
        return .succeeded(14, on: reactor)
    }
}
// snippet end

// snippet: NameResolver
final class Hosts: NameResolver {
    private let reactor: Reactor
    init(on reactor: Reactor) { self.reactor = reactor }
    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        .succeeded([.ipv4(.loopback, port: port)], on: reactor)
    }
}
// snippet end

// snippet: SignalSource
final class NoSignals: SignalSource {
    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration {
        throw IOError(.signal, function: "", code: .notSupported, subject: "\(signal)")
    }
    func die(by signal: Signal) -> Never { fatalError("\(signal)") }
}
// snippet end

// snippet: WorkerThreads
final class NoThreads: WorkerThreads {
    var limit = 0
    func run(_ work: @escaping @Sendable () -> Void) throws(IOError) {
        throw IOError(.start, function: "", code: .notSupported, subject: "a thread")
    }
}
// snippet end

// snippet: FileSystem
final class EmptyDisk: FileSystem {
    func open(_ path: String, for access: FileAccess) throws(IOError) -> any OpenFile {
        guard access == .reading else {
            throw IOError(.open, function: "", code: .readOnlyFileSystem, subject: path)
        }
        return EmptyFile()
    }
}
// snippet end

// snippet: OpenFile
final class EmptyFile: OpenFile {
    let descriptor: Int32 = -1
    func byteCount() -> Int64 { 0 }
    func read(at offset: Int64, limit: Int) -> Bytes { Bytes() }
    func write(_ bytes: RawSpan, at offset: Int64) throws(IOError) {
        throw IOError(.write, function: "", code: .readOnlyFileSystem)
    }
    func isCached(_ range: Range<Int64>) -> Bool { true }
    func fetch(_ range: Range<Int64>) {}
    func close() {}
}
// snippet end

// snippet: FileNotifier
final class StillFiles: FileNotifier {
    var receiver: ((FileNotice) -> Void)?
    func watch(folder: String, for events: FileEvents) -> Int32 { 1 }
    func unwatch(_ number: Int32) {}
    func entry(at path: String) -> FileEntry { .none }
    func names(in folder: String) -> [String] { [] }
}
// snippet end

// snippet: SignalRegistration
final class NoRegistration: SignalRegistration {
    func cancel() {}
}
// snippet end

// snippet: ReactorServices
final class FewServices: ReactorServices {
    let resolver: any NameResolver
    let signals: any SignalSource = NoSignals()
    let threads: any WorkerThreads = NoThreads()
    init(on reactor: Reactor) { resolver = Hosts(on: reactor) }
    func shutDown() {}
}
// snippet end

// snippet: LoopGuest
final class IdleGuest: LoopGuest {
    func prepareToWait() -> MonotonicInstant? { nil }
}
// snippet end

// snippet: DeferredResult
/// A Deferred with a name, which a callback may return to be waited for.
struct Download: DeferredResult {
    let url: String
    let deferred: Deferred<Bytes>
}
// snippet end

// snippet: ReactorBackend
/// Has no sockets, and time that stands still between turns.
final class TimersOnly: ReactorBackend {
    private(set) var now = MonotonicInstant(nanoseconds: 1)
    let waker: any BackendWaker = NoWaker()
    let openHandleCount = 0

    func start() throws(IOError) {}
    func turn(until deadline: MonotonicInstant?) { now = max(now, deadline ?? now) }
    func shutDown() {}

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener { throw none(.listen) }
    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream { throw none(.connect) }
    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        throw none(.open)
    }
    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch { throw none(.watch) }

    private func none(_ operation: IOError.Operation) -> IOError {
        IOError(operation, function: "", code: .notSupported)
    }
}
// snippet end

// snippet: BackendWaker
struct NoWaker: BackendWaker {
    func wake() {}
}
// snippet end

// snippet: BackendListener
final class SilentListener: BackendListener {
    let localAddress: SocketAddress
    init(at address: SocketAddress) { localAddress = address }
    func startAccepting() {}
    func stopAccepting() {}
    func shed(limit: Int) -> Int { 0 }
    func close() {}
}
// snippet end

// snippet: ListenerReceiver
final class Refuser: ListenerReceiver {
    func listenerDidAccept(_ stream: any BackendStream) { stream.close() }
    func listenerDidFail(_ code: ErrorCode) {}
}
// snippet end

// snippet: BackendStream
/// Takes everything that is written and never brings anything.
final class NullStream: BackendStream {
    let peerAddress = SocketAddress.unix(.unnamed), localAddress = SocketAddress.unix(.unnamed)
    let needsDraining = false
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
// snippet end

// snippet: StreamReceiver
final class Tally: StreamReceiver {
    private(set) var byteCount = 0
    func streamDidConnect() {}
    func streamDidRead(_ bytes: RawSpan) { byteCount += bytes.byteCount }
    func streamDidReadEnd() {}
    func streamDidWrite(byteCount: Int) {}
    func streamDidFail(_ error: any Error) {}
}
// snippet end

// snippet: BackendWatch
final class NoWatch: BackendWatch {
    func update(_ interest: Readiness) {}
    func close() {}
}
// snippet end

// snippet: WatchReceiver
final class ReadinessLog: WatchReceiver {
    private(set) var seen: [Readiness] = []
    func watchDidBecomeReady(_ readiness: Readiness) { seen.append(readiness) }
    func watchDidFail(_ code: ErrorCode) {}
}
// snippet end

// snippet: Poller
/// Finds nothing ready, ever.
final class IdlePoller: Poller {
    private(set) var now = MonotonicInstant(nanoseconds: 1)
    let waker: any BackendWaker = NoWaker()
    func start() throws(IOError) {}
    func shutDown() {}
    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? { nil }
    func update(_ target: PollTarget, for events: PollEvents) {}
    func remove(_ target: PollTarget) {}
    func wait(until deadline: MonotonicInstant?) { now = max(now, deadline ?? now) }
}
// snippet end

@Test func `the smallest conformers do what they are for`() throws {
    let half = MemoryTransport(Summer())
    half.receive("12345")
    half.peerCloses()
    #expect(half.takeText() == "5 bytes\r\n" && half.hasEnded)

    let reverser = MemoryTransport(Reverser())
    reverser.receive("\0\u{3}abc")
    #expect(reverser.takeText() == "\0\u{3}cba")

    let timed = StreamLayers().observed(byPort: {
        LocalClients { TimeoutObserver(Timeouts(handshake: .seconds(10))) }
    })
    let handle = MemoryTransport(Doorkeeper(), layers: timed)
    handle.receive("open barley")
    handle.clock.advance(by: .seconds(10))
    #expect(handle.wasReset)

    let stranger = SocketAddress.ipv4(IPv4Address("192.0.2.1")!, port: 1)
    let away = MemoryTransport(Doorkeeper(), layers: timed, peerAddress: stranger)
    #expect(!away.isOpen && away.transport == nil)

    nonisolated(unsafe) let meter = Meter()
    let metered = StreamLayers().observed(byPort: { LocalClients { meter } })
    let near = MemoryTransport(Discard(), layers: metered)
    near.receive("hello")
    #expect(meter.receivedByteCount == 5)
    let counting = CountingTransport(near.transport)
    counting.write("hello")
    counting.write(Bytes(" world"))
    #expect(counting.writtenByteCount == 11 && near.takeText() == "hello world")

    try checkProducer(pull: { consumer, _ in Once(consumer) })
    let collector = Collector()
    collector.registerProducer(Once(collector))
    #expect(collector.bytes == Array("once".utf8))

    let reactor = Reactor(backend: BackendChoice(name: "timers") { TimersOnly() }) { reactor in
        FewServices(on: reactor)
    }
    var fired = false
    var addresses: [SocketAddress] = []
    reactor.callLater(.seconds(60)) { fired = true }
    // The first waits until the call is due, the second makes it.
    reactor.turn()
    reactor.turn()
    #expect(fired)
    try reactor.resolver.resolve("example.org", port: 80).addCallback { addresses = $0 }
    #expect(addresses == [.ipv4(.loopback, port: 80)])
    reactor.shutDown()

    let null = MemoryTransport(Discard()).transport.reactor.adopt(NullStream(), Discard())
    LastWord(null).say("nobody reads it")
    #expect(null.pendingByteCount == 0)
    null.reactor.shutDown()
}

// snippet: DatagramProtocol
/// Sends every datagram back.
final class DatagramEcho: DatagramProtocol {
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws { try transport.write(bytes, to: address) }
}
// snippet end

// snippet: DatagramTransport
/// Loses all that is written.
final class Nowhere: DatagramTransport {
    let reactor: Reactor
    let localAddress = SocketAddress.ipv4(.loopback, port: 0)
    let peerAddress: SocketAddress? = nil
    let statistics = DatagramStatistics()
    init(on reactor: Reactor) { self.reactor = reactor }
    func write(_ bytes: RawSpan, to address: SocketAddress) throws(IOError) {}
    func connect(to peer: SocketAddress) throws(IOError) {}
    func join(_ group: MulticastGroup) throws(IOError) {}
    func leave(_ group: MulticastGroup) throws(IOError) {}
    func pauseProducing() {}
    func resumeProducing() {}
    func stopListening() -> Deferred<Void> { .succeeded((), on: reactor) }
}
// snippet end

// snippet: BackendDatagramPort
final class NullDatagramPort: BackendDatagramPort {
    let localAddress = SocketAddress.ipv4(.loopback, port: 0)
    let peerAddress: SocketAddress? = nil
    func deliver(to receiver: any DatagramReceiver) {}
    func connect(to peer: SocketAddress) throws(IOError) {}
    func startReceiving() {}
    func stopReceiving() {}
    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
        .sent(datagrams.count)
    }
    func awaitRoom() {}
    func join(_ group: MulticastGroup) throws(IOError) {}
    func leave(_ group: MulticastGroup) throws(IOError) {}
    func close() {}
}
// snippet end

// snippet: DatagramReceiver
final class DatagramTally: DatagramReceiver {
    private(set) var count = 0
    func portDidReceive(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> Int {
        count += datagrams.count
        return datagrams.count
    }
    func portCanSend() {}
    func portDidFail(_ error: IOError) {}
}
// snippet end

// snippet: HTTPResponder
/// Answers every request with the same text.
final class Hello: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        exchange.respond(.ok, [.contentType: "text/plain"], body: "Hello, World!")
    }
}
// snippet end

// snippet: HTTPServerObserver
/// Counts requests.
final class RequestTally: HTTPServerObserver {
    private(set) var count = 0
    func requestDidEnd(_ record: HTTPRequestRecord) { count += 1 }
}
// snippet end

// snippet: WebSocketProtocol
/// Sends each message back.
final class WebSocketEcho: WebSocketProtocol {
    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        socket.send(message, kind)
    }
}
// snippet end
