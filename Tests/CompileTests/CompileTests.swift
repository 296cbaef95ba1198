// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// What a program that links Torsion may write, must not write, and writes at its own risk.
@Suite struct CompileTests {
    @Test(arguments: Sample.all(in: "accepts"))
    func `what is right compiles`(sample: Sample) throws {
        let outcome = try Compiler.compile(sample)
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome.output)")
    }

    @Test(arguments: Sample.all(in: "refuses"))
    func `what cannot be right is refused where it stands, with these words`(
        sample: Sample
    ) throws {
        let expected = sample.expectations
        try #require(!expected.isEmpty, "\(sample) expects nothing")
        let outcome = try Compiler.compile(sample)
        #expect(outcome.status != 0)
        for (line, text) in expected {
            let found = outcome.errors.contains {
                $0.line == line + 1 && $0.description.contains(text)
            }
            #expect(found, "no error says '\(text)' right below line \(line): \(outcome.output)")
        }
        // Whatever else is wrong would hide what this file is about.
        for error in outcome.errors {
            #expect(expected.contains { error.description.contains($0.text) }, "\(error)")
        }
    }

    @Test(arguments: Sample.all(in: "refuses"))
    func `each refusal has its mend`(sample: Sample) {
        let mends = Sample.all(in: "accepts").map(\.name)
        #expect(mends.contains(sample.name))
    }

    @Test(arguments: Sample.all(in: "runs"), ["-Onone", "-O"])
    func `what a program starts with runs, whichever way it is built`(
        sample: Sample, optimisation: String
    ) throws {
        let folder = TemporaryFolder()
        let program = try Compiler.link(sample, optimisation, in: folder)
        let process = try Program(path: program, [])
        let output = process.readOutput().split(separator: "\n").map(String.init)
        #expect(output == sample.expectations.map(\.text))
        #expect(process.readErrors() == "")
        #expect(process.wait() == 0)
    }

    @Test(arguments: Sample.all(in: "traps"))
    func `what compiles and is wrong stops the program with a sentence`(sample: Sample) throws {
        let expected = sample.expectations
        try #require(!expected.isEmpty, "\(sample) expects nothing")
        let folder = TemporaryFolder()
        let program = try Compiler.link(sample, in: folder)
        let process = try Program(path: program, [])
        let errors = process.readErrors()
        let end = process.wait()
        #expect(end != 0, "\(errors)")
        for (_, text) in expected { #expect(errors.contains(text), "\(errors)") }
    }
}
