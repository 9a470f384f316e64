package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	typeCharacters = 255
	errorBytes     = 8 * 1024
	// A server refuses the outcome of a longer one.
	longestPause = 24 * time.Hour
	stackBytes   = 32 * 1024
	// Refused here with the handler's name on it; a server with a lower limit answers INVALID, which says so as well.
	outputBytes = 1024 * 1024
)

// PanicError is what a handler panicked with: an [Observer] gets it as the error of the attempt.
type PanicError struct {
	// Value is what the handler panicked with.
	Value any
	// Stack is that of the panic, as [runtime/debug.Stack] gives it. Empty: the handler ended its goroutine instead.
	Stack string
}

func (p *PanicError) Error() string { return fmt.Sprint(p.Value) }

// outcomeOf is what a handler's end means: the one table from results and errors to messages. nil: a success without
// output, which travels as a bare number. The cause is why its context had ended before it; nil: it had not.
func outcomeOf(job *LeasedJob, output any, err, cause error) *pb.Outcome {
	if err != nil {
		return outcomeOfError(err, cause)
	}
	text, err := encode(output)
	if err != nil {
		return failed("OutputError", fmt.Sprintf("the handler's output can't be written as JSON: %v", err))
	}
	if len(text) > outputBytes {
		return failed("OutputError", fmt.Sprintf(
			"the handler's output is %d bytes of JSON, the limit is %d: store it elsewhere and return its address",
			len(text), outputBytes))
	}
	following := job.takeFollowUps()
	if text == nil && len(following) == 0 {
		return nil
	}
	success := &pb.Success{FollowUps: following}
	if text != nil {
		success.Result = &pb.Success_OutputJson{OutputJson: text}
	}
	return &pb.Outcome{Outcome: &pb.Outcome_Success{Success: success}}
}

func outcomeOfError(err, cause error) *pb.Outcome {
	stopped := cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause))
	given := errors.Is(err, ErrCancelled)
	switch {
	case (stopped || given) && (errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrSessionLost)):
		return released()
	case given || (stopped && errors.Is(cause, ErrCancelRequested)):
		return &pb.Outcome{Outcome: &pb.Outcome_Cancellation{Cancellation: &pb.Cancellation{}}}
	}
	var snooze *SnoozeError
	if errors.As(err, &snooze) {
		return &pb.Outcome{Outcome: &pb.Outcome_Snooze{Snooze: &pb.Snooze{Delay: durationpb.New(snooze.Delay)}}}
	}
	failure := &pb.Failure{ErrorType: cut(typeOf(err), typeCharacters, ""), Error: cutEnd(err.Error(), errorBytes)}
	var panicking *PanicError
	if errors.As(err, &panicking) {
		failure.Stack = cutEnd(panicking.Stack, stackBytes)
	}
	var discard *DiscardError
	failure.Permanent = errors.As(err, &discard)
	var retry *RetryError
	outcome := &pb.Outcome{Outcome: &pb.Outcome_Failure{Failure: failure}}
	if errors.As(err, &retry) && !failure.Permanent {
		failure.RetryAfter = durationpb.New(retry.After)
		if retry.PauseKey {
			outcome.PauseKey = durationpb.New(min(retry.After, longestPause))
		}
	}
	return outcome
}

// released gives the job back, uncharged.
func released() *pb.Outcome {
	return &pb.Outcome{Outcome: &pb.Outcome_Release{Release: &pb.Release{}}}
}

// failed is a failure that no error of the handler's stands for.
func failed(errorType, message string) *pb.Outcome {
	return &pb.Outcome{Outcome: &pb.Outcome_Failure{Failure: &pb.Failure{ErrorType: errorType, Error: message}}}
}

// typeOf names an error by the first type on its way inwards that says something: not those of fmt and errors, nor our
// own words for what to do about it.
func typeOf(err error) string {
	for each := err; each != nil; each = errors.Unwrap(each) {
		switch each.(type) {
		case *PanicError:
			return "panic"
		case *PayloadUnreadableError:
			return "PayloadUnreadable"
		case *PayloadTooNewError:
			return "PayloadTooNew"
		case *CheckpointUnreadableError:
			return "CheckpointUnreadable"
		case *EncodedError:
			return "Encoded"
		case *EncodingRequiredError:
			return "EncodingRequired"
		case *KeyUnknownError:
			return "KeyUnknown"
		case *EncodingUnknownError:
			return "EncodingUnknown"
		case *UndecodableError:
			return "Undecodable"
		case outputError:
			return "OutputError"
		case *RetryError, *DiscardError:
			continue
		}
		if name := strings.TrimPrefix(reflect.TypeOf(each).String(), "*"); !strings.HasPrefix(name, "fmt.") &&
			!strings.HasPrefix(name, "errors.") {
			return name
		}
	}
	return "error"
}

func cutEnd(text string, limit int) string {
	return cut(text, limit, fmt.Sprintf(" [cut, %d bytes in all]", len(text)))
}

// cut bounds a text to so many bytes, the note of it included, and makes it UTF-8, which a handler's words need not be.
func cut(text string, limit int, note string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	end := limit - len(note)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + note
}
