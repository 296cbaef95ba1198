// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Streams over descriptors that are open already: pipes and files.
extension ConformanceSuite {
    static let descriptors = [
        overPipes, brokenPipe, halfClosedPipe, regularFile, flagsRestored, badDescriptor,
    ]

    static let overPipes = Check(
        "a stream over two pipes carries bytes both ways, and ends", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let request = PipeEnds.make(), answer = PipeEnds.make()
        let server = Echoing()
        let stream = try world.reactor.backend.open(input: request.output, output: answer.input)
        world.reactor.adopt(stream, server)
        PipeEnds.write(Array("hello".utf8), to: request.input)
        try world.run { server.byteCount == 5 && server.transport.pendingByteCount == 0 }
        try expectEqual(PipeEnds.read(from: answer.output), Array("hello".utf8))
        PipeEnds.close(request.input)
        try world.run { server.loss != nil }
        try expectEqual(server.loss, .closedByPeer)
        try expectEqual(PipeEnds.read(from: answer.output), [])
        PipeEnds.close(answer.output)
        try world.finish()
    }

    // FAULTS: EPIPE / SIGPIPE
    static let brokenPipe = Check(
        "writing to a pipe that nobody reads ends the stream, not the process",
        needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let request = PipeEnds.make(), answer = PipeEnds.make()
        PipeEnds.close(answer.output)
        let recorder = Recorder()
        let stream = try world.reactor.backend.open(input: request.output, output: answer.input)
        world.reactor.adopt(stream, recorder)
        recorder.transport?.write("anybody?")
        try world.run { recorder.loss != nil }
        guard case .failed(let error) = recorder.loss else {
            throw CheckFailure(description: "\(recorder.events)")
        }
        try expectEqual(error.code, .brokenPipe)
        PipeEnds.close(request.input)
        try world.finish()
    }

    // Case W2
    static let halfClosedPipe = Check(
        "closing does not wait for the end of a pipe, also when writing has ended before",
        needsDescriptors: true
    ) { backend in
        for endsWritingFirst in [true, false] {
            let world = try World(backend)
            let request = PipeEnds.make(), answer = PipeEnds.make()
            let recorder = HalfRecorder()
            let stream = try world.reactor.backend.open(
                input: request.output, output: answer.input)
            world.reactor.adopt(stream, recorder)
            if endsWritingFirst {
                recorder.transport.loseWriteConnection()
                try world.run { recorder.events.last == .writeLost }
            }
            recorder.transport.loseConnection()
            try world.run(limit: .seconds(2)) { recorder.loss != nil }
            try expectEqual(recorder.loss, .closedLocally)
            PipeEnds.close(answer.output)
            PipeEnds.close(request.input)
            try world.finish()
        }
    }

    static let regularFile = Check(
        "a regular file, which cannot be waited for, is read to its end", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let bytes = [UInt8].pattern(count: 200_000)
        let answer = PipeEnds.make()
        let recorder = Recorder()
        recorder.recordsData = false
        let stream = try world.reactor.backend.open(
            input: PipeEnds.makeFile(bytes), output: answer.input)
        world.reactor.adopt(stream, recorder)
        try world.run { recorder.loss != nil }
        let hash = StreamHash(bytes)
        try expectEqual(recorder.byteCount, bytes.count)
        try expectEqual(recorder.hash, hash)
        PipeEnds.close(answer.output)
        try world.finish()
    }

    static let flagsRestored = Check(
        "a descriptor gets back the flags that it came with", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let request = PipeEnds.make(), answer = PipeEnds.make()
        // Others share the open file, as a shell does a terminal.
        let shared = PipeEnds.duplicate(answer.input)
        let recorder = Recorder()
        let stream = try world.reactor.backend.open(input: request.output, output: answer.input)
        world.reactor.adopt(stream, recorder)
        recorder.transport?.abortConnection()
        try world.run { recorder.loss != nil }
        try expect(PipeEnds.isBlocking(shared))
        for end in [shared, answer.output, request.input] { PipeEnds.close(end) }
        try world.finish()
    }

    static let badDescriptor = Check("a descriptor that is not open is an error") { backend in
        let world = try World(backend)
        var caught: IOError?
        do throws(IOError) {
            _ = try world.reactor.backend.open(input: -1, output: -1)
        } catch { caught = error }
        try expectEqual(caught?.code, .badDescriptor)
        try expectEqual(caught?.operation, .open)
        try world.finish()
    }
}
