package jobqueue

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// firstUse is what tells a newcomer what to do where no server has answered yet: once a client.
type firstUse struct {
	target string
	access *Access
	over   atomic.Bool // a server has answered, or it was said
}

// see looks at what became of a call, and adds the hint to its error.
func (f *firstUse) see(err error) {
	if f.over.Load() {
		return
	}
	if err == nil {
		f.over.Store(true)
		return
	}
	var failure *Error
	if !errors.As(err, &failure) {
		return
	}
	switch hint := f.access.hintFor(failure, f.target); {
	case hint != "":
		if f.over.CompareAndSwap(false, true) {
			failure.hint = hint
		}
	case failure.Reason != "" || failure.RequestID != "":
		f.over.Store(true)
	}
}

// hintFor is what to do about an error of a connection. Empty: nothing is known.
func (a *Access) hintFor(failure *Error, target string) string {
	switch {
	case !failure.Is(ErrUnavailable) || failure.Reason != "":
		return ""
	case speaksHTTP1(failure.Message):
		return "this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS"
	case !strings.Contains(failure.Message, "while dialing"):
		return "" // a server with another TLS does answer
	}
	hint := fmt.Sprintf(`nothing answers at %s; start a server by "make run" or "jobqueue-server"`, target)
	if a.serverFromEnv {
		hint += ", or set " + serverVariable
	}
	return hint
}

// speaksHTTP1: what answered took the first words of HTTP/2 for a request, as gRPC says it.
func speaksHTTP1(message string) bool {
	return strings.Contains(message, "frame too large") || strings.Contains(message, "HTTP/1.")
}
