// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
public import TorsionCore
internal import TorsionServices
@_spi(Backend) internal import TorsionSockets

/// A thread that looks at a reactor from outside, and reports an event that has not ended in time.
///
/// A report of `Reactor.slowEventLimit` comes when the event is over. One that hangs for good, in a
/// lock or a system call, needs an observer on another thread.
public final class SlowEventWatch: Sendable {
    private let wakeDescriptor: Int32
    private let thread = Lock<NativeThread?>(nil)

    /// - Parameters:
    ///   - record: What the reactor does.
    ///   - number: The reactor's.
    ///   - limit: How long an event may take.
    ///   - tell: Called on the thread.
    /// - Throws: `IOError` of operation `start`.
    fileprivate init(
        _ record: EventRecord, of number: UInt32, _ limit: Duration,
        _ tell: @escaping @Sendable (SlowEvent) -> Void
    ) throws(IOError) {
        let descriptor = torsion_eventfd_create()
        guard descriptor >= 0 else {
            throw IOError(.start, function: "eventfd", code: ErrorCode(errno: errno))
        }
        wakeDescriptor = descriptor
        let pause = Int32(clamping: max(1, Int(limit.inSeconds * 250)))
        do throws(IOError) {
            let started = try NativeThread.start {
                var told: UInt64 = 0
                var asked = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                while poll(&asked, 1, pause) <= 0 {
                    guard let event = record.event, event.number != told else { continue }
                    let now = MonotonicInstant(nanoseconds: torsion_monotonic_nanoseconds())
                    let duration = event.start.duration(to: now)
                    guard duration >= limit else { continue }
                    told = event.number
                    tell(
                        SlowEvent(
                            reactorNumber: number, source: event.source, duration: duration,
                            isOver: false))
                }
            }
            thread.withLock { $0 = started }
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { cancel() }

    /// Ends the thread, and waits until it has.
    ///
    /// Harmless when repeated. The end of the reactor's run does it.
    public func cancel() {
        guard let thread = thread.withLock({ $0.take() }) else { return }
        var one: UInt64 = 1
        _ = torsion_write(wakeDescriptor, &one, MemoryLayout.size(ofValue: one))
        thread.join()
        close(wakeDescriptor)
    }
}

extension Reactor {
    /// Starts a thread that reports an event which takes longer than this, while it still goes on.
    ///
    ///     try reactor.watchSlowEvents(longerThan: .milliseconds(300))
    ///
    /// Called on the reactor. It sets `Reactor.isMeasuring`, with its price; the thread looks four
    /// times in the time that is allowed. Each event is reported once.
    ///
    /// - Parameters:
    ///   - limit: How long an event may take; more than zero.
    ///   - tell: Called on that thread, which is not the reactor's. By default writes one line on
    ///     standard error, or drops it if that would have to wait.
    /// - Returns: The watch, which ends with the reactor's run or when it is cancelled.
    /// - Throws: `IOError` if a thread or a descriptor cannot be had.
    @discardableResult
    public func watchSlowEvents(
        longerThan limit: Duration,
        tell: @escaping @Sendable (SlowEvent) -> Void = { writeLine($0.description) }
    ) throws(IOError) -> SlowEventWatch {
        require(limit > .zero, "Reactor: watchSlowEvents needs more than no time, got \(limit)")
        isMeasuring = true
        guard let record = recordEvents() else { mistake("Reactor: it does not measure") }
        let watch = try SlowEventWatch(record, of: number, limit, tell)
        addTrigger(.after, .shutdown) { watch.cancel() }
        return watch
    }
}

/// For the default above, which is public.
@usableFromInline
func writeLine(_ text: String) { writeLineToStandardError(text) }
