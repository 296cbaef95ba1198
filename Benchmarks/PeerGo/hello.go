// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Go's net/http on one core: the hello of the other servers, or with an argument the files of a folder. The
// library adds Date and Content-Length itself, and sends files by sendfile.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
)

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "Hello, World!")
}

func main() {
	runtime.GOMAXPROCS(1)
	var handler http.Handler = http.HandlerFunc(hello)
	if len(os.Args) > 1 {
		handler = http.FileServer(http.Dir(os.Args[1]))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s backend=go threads=1\n", listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}
