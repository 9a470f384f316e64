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
	switch {
	case nothingAnswers(failure):
		if f.over.CompareAndSwap(false, true) {
			failure.hint = howToStart(f.target)
		}
	case failure.Reason != "" || failure.RequestID != "":
		f.over.Store(true)
	}
}

// nothingAnswers: no connection could be made, as gRPC says it; a server with another TLS does answer.
func nothingAnswers(failure *Error) bool {
	return failure.Is(ErrUnavailable) && failure.Reason == "" && strings.Contains(failure.Message, "while dialing")
}

func howToStart(target string) string {
	return fmt.Sprintf(`nothing answers at %s; start a server by "make run" or "jobqueue-server", or set %s`,
		target, serverVariable)
}
