# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the Torsion authors
#
# Reads Swift files and prints the imports and words that their target must not contain. The table
# is the architecture: a line is added here only together with ARCHITECTURE.md.

BEGIN {
    # The standard library's own modules: `Synchronization` costs nobody a dependency.
    may["Sources/TorsionCore"] = "CTorsionCore DequeModule HeapModule BasicContainers"
    may["Sources/TorsionProtocols"] = "TorsionCore"
    may["Sources/TorsionSockets"] = "TorsionCore CTorsionSockets Glibc"
    may["Sources/TorsionUV"] = "TorsionCore TorsionSockets CTorsionUV"
    may["Sources/TorsionEpoll"] = "TorsionCore TorsionSockets CTorsionSockets"
    may["Sources/TorsionURing"] = "TorsionCore TorsionSockets CTorsionSockets CTorsionURing"
    may["Sources/TorsionTLS"] = "TorsionCore CTorsionTLS"
    may["Sources/TorsionHTTP"] = "TorsionCore CTorsionZlib"
    may["Sources/TorsionWebSocket"] = "TorsionCore TorsionHTTP"
    may["Sources/TorsionDNS"] = "TorsionCore"
    may["Sources/TorsionFoundation"] = "TorsionCore FoundationEssentials"
    may["Sources/TorsionProcesses"] = "TorsionCore TorsionSockets CTorsionProcesses"
    may["Sources/TorsionServices"] = "TorsionCore CTorsionUV"
    may["Sources/TorsionOperations"] = "TorsionCore TorsionProtocols TorsionServices TorsionSockets CTorsionSockets Glibc"
    may["Sources/TorsionTesting"] = "TorsionCore"
    may["Sources/TorsionTesting/Platform"] = "TorsionCore Glibc"
    may["Sources/Torsion"] = "TorsionCore TorsionProtocols TorsionDNS TorsionServices TorsionOperations TorsionUV TorsionEpoll"
    may["Sources/TorsionLog"] = "TorsionCore Logging"
    may["Sources/TorsionMetrics"] = "TorsionCore CoreMetrics"
    may["Sources/TorsionHTTPTypes"] = "TorsionCore TorsionHTTP HTTPTypes"
    may["Sources/TorsionLifecycle"] = "Torsion TorsionCore TorsionServices ServiceLifecycle"
    may["Sources/Book"] = "Torsion BookSockets Glibc"
    may["Tool/Sources/TorsionTool"] = "Torsion TorsionCore TorsionDNS TorsionHTTP TorsionProcesses TorsionTLS TorsionURing TorsionWebSocket ArgumentParser FoundationEssentials Glibc"
    may["Sources/Examples"] = "Torsion TorsionHTTP TorsionProcesses TorsionTLS TorsionTesting TorsionWebSocket"

    internal_only = " Glibc CTorsionCore CTorsionSockets CTorsionUV CTorsionURing CURing CTorsionTLS COpenSSL CTorsionZlib CZlib CTorsionProcesses "
    never_in_tests = " Foundation FoundationEssentials Dispatch XCTest CUV COpenSSL CZlib "
    conditional_targets = "^Sources/(TorsionSockets|TorsionUV|TorsionEpoll|TorsionURing|TorsionServices)/"
    # Portable but for the files that say so, so that another system needs no new design.
    portable_targets = "^Sources/(TorsionCore|TorsionSockets|TorsionUV)/"
    linux_words = "(^|[^A-Za-z_])(SOCK_NONBLOCK|SOCK_CLOEXEC|MSG_NOSIGNAL|TCP_KEEPIDLE|IP_MULTICAST_ALL|IPV6_MULTICAST_ALL|accept4|eventfd|timerfd|epoll_[a-z]+|EPOLL[A-Z]+)([^A-Za-z_]|$)"
    vague_folders = "/(Utils?|Utilities|Common|Helpers?|Internal|Types|Misc)/"
    vague_names = "(Manager|Handler|Helper|Util|Utils|Engine|Processor|Impl|Base|Common|Data|Info)$"
}

function offence(text) { print FILENAME ":" FNR ": " text; }

# Which row of the table holds for this file: its folder under Sources or Tests, or a part of it. The
# command's package has these two as well.
function find_target(  path, part, package) {
    path = FILENAME
    package = sub(/^Tool\//, "", path) ? "Tool/" : ""
    split(path, part, "/")
    target = package part[1] "/" part[2]
    if (part[1] == "Sources" && (target "/" part[3]) in may) target = target "/" part[3]
    is_source = part[1] == "Sources"
    is_test = part[1] == "Tests"
    own_module = part[2]
    sub(/Tests$/, "", own_module)
}

FNR == 1 {
    find_target()
    is_commented = 0
    if (is_source && !(target in may)) offence("the table of layers (scripts/layers.awk) has no row for " target)
    if (is_source && FILENAME ~ vague_folders) offence("a folder is one idea, with that idea's name")
}

# Comments are no code; what stands in a string may look like code, but is not at a line's beginning.
{
    code = $0
    sub(/(^|[ \t])\/\/.*/, "", code)
    if (is_commented) {
        if (!sub(/^.*\*\//, "", code)) next
        is_commented = 0
    }
    if (code ~ /^[ \t]*\/\*/ && code !~ /\*\//) { is_commented = 1; next }
}

code ~ /^[ \t]*([a-z]+[ \t]+|@[_a-zA-Z]+(\([^)]*\))?[ \t]+)*import[ \t]+[A-Za-z_]/ { check_import(code) }

is_source && code ~ /^[ \t]*#(if|elseif)[ \t].*(os|arch|canImport)\(/ && FILENAME !~ conditional_targets {
    offence("conditional compilation belongs to the backends")
}

is_source && code ~ /(^|[^a-zA-Z_])(class|struct|enum|protocol|actor|typealias)[ \t]+[A-Z]/ {
    name = code
    sub(/^.*(class|struct|enum|protocol|actor|typealias)[ \t]+/, "", name)
    sub(/[^A-Za-z0-9_].*$/, "", name)
    if (name ~ vague_names) offence(name ": a name ends in what the thing is")
}

FNR == 1 { is_linux = FILENAME ~ /[+]Linux\.swift$/ }

# What stands in a string names a call in a message.
FILENAME ~ portable_targets && !is_linux {
    bare = code
    gsub(/"[^"]*"/, "", bare)
    if (bare ~ linux_words || bare ~ /^[ \t]*#(if|elseif)[ \t].*os\(Linux\)/)
        offence("Linux-only code belongs into a file marked for it, …+Linux.swift")
}

target == "Sources/TorsionCore" && code ~ /(ContinuousClock|SuspendingClock|SystemRandomNumberGenerator|Task\.sleep)/ {
    offence("TorsionCore reads no clock and no unseeded generator: both are parameters")
}

target == "Sources/TorsionCore" && code !~ /using:/ && \
code ~ /\.(random\((in:|\))|shuffled\(\)|shuffle\(\)|randomElement\(\))/ {
    offence("TorsionCore rolls no dice without a seed: pass a generator with using:")
}

function check_import(line,  attributes, module, list) {
    attributes = line
    sub(/import[ \t].*$/, "", attributes)
    module = line
    sub(/^.*import[ \t]+((struct|class|enum|protocol|func|var|let|typealias)[ \t]+)?/, "", module)
    sub(/[^A-Za-z0-9_].*$/, "", module)

    if (module == "CUV") offence("no Swift file imports CUV: the shim CTorsionUV wraps it")
    if (is_source) {
        list = " " may[target] " Synchronization "
        if (module != "CUV" && !index(list, " " module " ")) offence(target " must not import " module)
        if (attributes ~ /@testable/) offence("only tests use @testable")
        if (attributes ~ /(public|package|@_exported)/ && index(internal_only, " " module " "))
            offence(module " is imported internally, so that no client sees it")
        if (attributes ~ /@_exported/ && target != "Sources/Torsion") offence("only Torsion re-exports")
    } else if (is_test) {
        if (module != "CUV" && index(never_in_tests, " " module " ") && \
            !(target == "Tests/TorsionFoundationTests" && module == "FoundationEssentials"))
            offence("tests do without " module)
        if (attributes ~ /@testable/ && module != own_module)
            offence("@testable is for a target's own tests: this is " target)
    }
}
