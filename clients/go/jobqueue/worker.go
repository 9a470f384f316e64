package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Handler runs one attempt of a job. What it returns, if not nil, is the job's output: a json.RawMessage goes byte for
// byte, whatever else is marshalled. An error is a failure, but for [Retry], [Discard], [Snooze] and [ErrCancelled]; so
// is a panic.
//
// The context ends when the handler should stop; [context.Cause] says why: [ErrCancelRequested], [ErrLeaseRevoked],
// [ErrTimedOut], [ErrShutdown] or [ErrSessionLost]. A handler that stops for it returns the context's error, bare or
// wrapped. It has the values of the context that Run was given.
type Handler func(ctx context.Context, job *LeasedJob) (any, error)

// WorkerOptions are a worker's settings. The zero value takes 8 jobs at once from the queue `default`.
type WorkerOptions struct {
	Access
	// Targets are more addresses of servers: a worker that loses one goes on with the next.
	Targets []string
	// Queues to take jobs from. They take turns. Empty: `default`.
	Queues []string
	// Concurrency is how many jobs run at once, 1..10000. 0: 8.
	Concurrency int
	// Name is for people; shown as Job.LockedBy; 1..128 characters. Empty: host and process id.
	Name string
	// Labels are the worker's own labels, for people.
	Labels map[string]string
	// SessionTTL is how long the worker may be silent before its jobs are given to others, 5 s to 1 h. 0: the server's,
	// 30 s.
	SessionTTL time.Duration
	// ShutdownGrace is how long a drain lets handlers run on before it stops them and gives their jobs back. 0: 30 s;
	// negative: not at all.
	ShutdownGrace time.Duration
	// StopWhenLost: a worker that has heard no server for its session's ttl, by its own monotonic clock, ends its handlers'
	// contexts by ErrSessionLost: their jobs may run elsewhere by now. What they answer is sent all the same if the session
	// can be resumed; one that stopped for it gives its job back. By default they run on.
	StopWhenLost bool
	// Logger is told of connections, failures and what else an operator wants to see. nil: slog.Default().
	Logger *slog.Logger
	// Observer is told of starts and ends, for metrics. nil: none is.
	Observer Observer
	// Paused: the worker takes no jobs until [Worker.Resume].
	Paused bool
	// Middleware goes around handlers and their follow-ups, the outermost first.
	Middleware []Middleware
	// Encodings are what payloads and checkpoints come through before a handler and all middleware, and what outputs,
	// checkpoints and follow-ups go through after them. A job whose key or encoding is not here waits for it, for half an
	// hour in all. nil: nothing is encoded or decoded.
	Encodings *Encodings
	// SyncKinds: the worker tells the server what its typed kinds are, as [Client.SyncKinds] does, before it takes jobs.
	// Its token then needs OPERATE on them in all queues. It waits for a server as it does for its session.
	SyncKinds bool
}

// KindOption is one setting of a kind's handler.
type KindOption func(*kindHandler)

// Slots bounds how many jobs of the kind run at once, at least one, within the worker's Concurrency.
func Slots(slots int) KindOption {
	if slots < 1 {
		panic(fmt.Sprintf("jobqueue: Slots(%d): at least one is needed", slots))
	}
	return func(h *kindHandler) { h.slots = slots }
}

type kindHandler struct {
	run   Handler
	slots int
	// rule is what its kind says of encodings, and coding what they do for its jobs. nil: the worker has none.
	rule   EncodingRule
	coding *coding
	// name is what the function is called in its program.
	name string
}

// Worker runs jobs: holds one stream to a server, is handed jobs over it, and runs a handler for each in a goroutine of
// its own.
type Worker struct {
	options  WorkerOptions
	mu       sync.Mutex
	handlers map[string]kindHandler
	typed    []DeclaredKind
	session  *session
	paused   bool
	// idle is the status while Run does not run, and failed the error that it returned last.
	idle   WorkerStatus
	failed error
}

// NewWorker makes a worker; it connects when it runs. The target is the server's address, as of [NewClient].
func NewWorker(target string, options WorkerOptions) (*Worker, error) {
	for _, each := range append([]string{target}, options.Targets...) {
		if err := checkTarget(each); err != nil {
			return nil, err
		}
	}
	if options.Encodings != nil && len(options.Encodings.steps) == 0 {
		return nil, invalid("Encodings", "has none: it is made by NewEncodings")
	}
	options.Targets = append([]string{target}, options.Targets...)
	options.Middleware = slices.Clone(options.Middleware)
	if len(options.Queues) == 0 {
		options.Queues = []string{"default"}
	}
	if options.Concurrency == 0 {
		options.Concurrency = 8
	}
	if options.Concurrency < 1 || options.Concurrency > 10_000 {
		return nil, invalid("Concurrency", "is %d; it is 1 to 10000", options.Concurrency)
	}
	if options.Name == "" {
		host, _ := os.Hostname()
		options.Name = fmt.Sprintf("%.100s:%d", host, os.Getpid())
	}
	if length := utf8.RuneCountInString(options.Name); length > 128 {
		return nil, invalid("Name", "has %d characters; it has 1 to 128", length)
	}
	if ttl := options.SessionTTL; ttl != 0 && (ttl < 5*time.Second || ttl > time.Hour) {
		return nil, invalid("SessionTTL", "is %v; it is 5 seconds to 1 hour", ttl)
	}
	if options.ShutdownGrace == 0 {
		options.ShutdownGrace = 30 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	idle := WorkerStatus{State: WorkerStarting, Since: time.Now().Round(0)}
	if !options.Paused {
		idle.Slots = options.Concurrency
	}
	return &Worker{options: options, handlers: map[string]kindHandler{}, paused: options.Paused, idle: idle}, nil
}

// Handle makes a function the handler of a kind. It panics where the program is wrong: the kind has a handler already,
// there is no function, or the worker runs.
func (w *Worker) Handle(kind string, handler Handler, options ...KindOption) {
	if handler == nil {
		panic(fmt.Sprintf("jobqueue: the handler of kind %q is nil", kind))
	}
	w.add(kind, []string{kind}, kindHandler{run: handler, name: nameOf(handler)}, options)
}

// add takes a handler of a kind, which has these names.
func (w *Worker) add(kind string, names []string, made kindHandler, options []KindOption) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first, ok := w.handlers[kind]; ok {
		panic(fmt.Sprintf("jobqueue: kind %q already has a handler, %s, in the worker of queues %q; %s would be its second",
			kind, first.name, w.options.Queues, made.name))
	}
	if w.session != nil {
		panic("jobqueue: Handle was called while the worker runs")
	}
	for _, option := range options {
		option(&made)
	}
	if len(w.options.Middleware) > 0 {
		made.run = surrounded(made.run, names, w.options.Middleware)
	}
	if made.rule == EncodingsRequired && !w.options.Encodings.encrypts() {
		panic(fmt.Sprintf("jobqueue: %v", &EncodingRequiredError{Kind: kind, to: theWorker}))
	}
	if w.options.Encodings != nil {
		made.coding = &coding{w.options.Encodings, made.rule != EncodingsNever, made.rule == EncodingsRequired}
		made.run = made.coding.around(made.run)
	}
	w.handlers[kind] = made
	w.idle.Kinds = kindsOf(w.handlers)
}

// HandlerOf is the handler of a kind with the worker's middleware and its encodings around it, for tests: what it is given is
// encoded first, and what it answers is decoded. nil: it has none.
func (w *Worker) HandlerOf(kind string) Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	handler := w.handlers[kind]
	if handler.coding != nil {
		return handler.coding.mirrored(handler.run)
	}
	return handler.run
}

// nameOf is what a function is called in its program.
func nameOf(function any) string {
	return runtime.FuncForPC(reflect.ValueOf(function).Pointer()).Name()
}

// Run serves until the context ends, and then drains: no new jobs, running ones finish within ShutdownGrace, others go
// back uncharged. It returns nil after that. A program ends it by signals with [os/signal.NotifyContext].
//
// A lost server is no error: jobs run on, and the worker tries again for ever. An error is what no other try will mend:
// the first server refused the worker, for example for a queue's name.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if len(w.handlers) == 0 || w.session != nil {
		defer w.mu.Unlock()
		if w.session != nil {
			return errors.New("jobqueue: the worker runs already")
		}
		return errors.New("jobqueue: the worker has no handlers: add one with Handle")
	}
	session := newSession(ctx, &w.options, w.handlers)
	session.capacity.paused = w.paused
	w.session = session
	typed := w.typed
	w.mu.Unlock()
	err := session.run(ctx, typed)
	status := session.left(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session, w.idle, w.failed = nil, status, err
	return err
}

// Status is how the worker is doing: a copy.
func (w *Worker) Status() WorkerStatus {
	w.mu.Lock()
	session := w.session
	if session == nil {
		defer w.mu.Unlock()
		return w.idle
	}
	w.mu.Unlock()
	session.mu.Lock()
	defer session.mu.Unlock()
	return session.status()
}

// Pause takes no more jobs until Resume; running ones run on. A worker that does not run yet keeps it.
func (w *Worker) Pause() { w.pause(true) }

// Resume takes jobs again.
func (w *Worker) Resume() { w.pause(false) }

func (w *Worker) pause(paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = paused
	if w.session != nil {
		w.session.pause(paused)
	} else if w.idle.Slots = 0; !paused && w.idle.State == WorkerStarting {
		w.idle.Slots = w.options.Concurrency
	}
}

// subscriptions are the queues, each with all kinds that have a handler.
func subscriptions(queues []string, handlers map[string]kindHandler) []*pb.Subscription {
	kinds := kindsOf(handlers)
	made := make([]*pb.Subscription, len(queues))
	for i, queue := range queues {
		made[i] = &pb.Subscription{Queue: queue, Kinds: kinds}
	}
	return made
}
