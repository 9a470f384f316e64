// Command conformance is the Go client as the worker under test of tests/conformance; docs/conformance.md specifies its
// lines.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"jobqueue.dev/go/jobqueue"
)

type start struct {
	Addresses      []string
	Queues, Kinds  []string
	Slots          int
	SlotsByKind    map[string]int `json:"slots_by_kind"`
	Name           string
	Labels         map[string]string
	SessionTTLS    float64 `json:"session_ttl_s"`
	ShutdownGraceS float64 `json:"shutdown_grace_s"`
	StopWhenLost   bool    `json:"stop_when_lost"`
	Tokens         bool
	Typed          bool
	Encrypted      bool
}

type command struct{ Do, Job string }

type step struct {
	Do          string
	Output      json.RawMessage
	Error       string
	RetryAfterS *float64 `json:"retry_after_s"`
	PauseKey    bool     `json:"pause_key"`
	DelayS      float64  `json:"delay_s"`
	Fraction    float64
	Message     string
	DataBase64  []byte `json:"data_base64"`
	Kind        string
	Payload     string
}

type event map[string]any

var said sync.Mutex

// say is one line for the driver, at once and whole.
func say(name string, fields event) {
	fields["event"] = name
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	said.Lock()
	defer said.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// holds are gates by job id.
type holds struct {
	mu    sync.Mutex
	gates map[string]chan struct{}
}

func (h *holds) gate(job string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gates[job] == nil {
		h.gates[job] = make(chan struct{})
	}
	return h.gates[job]
}

func (h *holds) release(job string) {
	gate := h.gate(job)
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-gate:
	default:
		close(gate)
	}
}

// began says that a handler has started, and returns what says that it has ended.
func began(job *jobqueue.LeasedJob) func() {
	say("handler_started", event{
		"job": job.ID, "attempt": job.Attempt, "kind": job.Kind, "queue": job.Queue,
		"payload_sha256": fmt.Sprintf("%x", sha256.Sum256(job.Payload)), "payload_bytes": len(job.Payload),
		"checkpoint_base64": base64.StdEncoding.EncodeToString(job.Checkpoint),
	})
	return func() { say("handler_ended", event{"job": job.ID, "attempt": job.Attempt}) }
}

// amount is the payload of the typed kind; without a unit it is of `one`.
type amount struct {
	Number int64   `json:"number"`
	Unit   *string `json:"unit,omitempty"`
}

type doubled struct {
	Number int64  `json:"number"`
	Unit   string `json:"unit"`
}

type counted struct {
	Count int64 `json:"count"`
}

var typed = jobqueue.DefineKind[amount, doubled](
	"typed", jobqueue.PayloadVersion(2), jobqueue.Aliases("typed-old"),
	jobqueue.Upcast(1, func(old counted) (amount, error) { return amount{Number: old.Count}, nil }))

func double(_ context.Context, job *jobqueue.LeasedJob, of amount) (doubled, error) {
	defer began(job)()
	unit := "one"
	if of.Unit != nil {
		unit = *of.Unit
	}
	return doubled{2 * of.Number, unit}, nil
}

func (h *holds) handle(ctx context.Context, job *jobqueue.LeasedJob) (output any, err error) {
	defer began(job)()
	var payload struct {
		Steps    []step
		OnCancel string `json:"on_cancel"`
	}
	if err := job.Decode(&payload); err != nil {
		return nil, err
	}
	for _, each := range payload.Steps {
		switch each.Do {
		case "hold":
			err = h.hold(ctx, job, payload.OnCancel)
		case "succeed":
			if each.Output != nil {
				output = each.Output
			}
		case "fail":
			err = errors.New(each.Error)
			if each.RetryAfterS != nil {
				var options []jobqueue.RetryOption
				if each.PauseKey {
					options = append(options, jobqueue.PauseKey)
				}
				err = jobqueue.Retry(err, seconds(*each.RetryAfterS), options...)
			}
		case "discard":
			err = jobqueue.Discard(errors.New(each.Error))
		case "snooze":
			err = jobqueue.Snooze(seconds(each.DelayS))
		case "progress":
			err = job.Progress(each.Fraction, each.Message)
		case "checkpoint":
			err = job.SaveCheckpoint(each.DataBase64)
		case "die":
			err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "follow_up":
			err = job.FollowUp(jobqueue.NewJob{Kind: each.Kind, Payload: json.RawMessage(each.Payload)})
		default:
			err = jobqueue.Discard(fmt.Errorf("no such step: %s", each.Do))
		}
		if err != nil {
			return nil, err
		}
	}
	return output, nil
}

func (h *holds) hold(ctx context.Context, job *jobqueue.LeasedJob, onCancel string) error {
	gate := h.gate(job.ID)
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	reason := "revoked"
	switch {
	case errors.Is(cause, jobqueue.ErrCancelRequested):
		reason = "cancel"
	case errors.Is(cause, jobqueue.ErrShutdown):
		reason = "shutdown"
	case errors.Is(cause, jobqueue.ErrSessionLost):
		reason = "lost"
	}
	say("handler_cancelled", event{"job": job.ID, "attempt": job.Attempt, "reason": reason, "words": cause.Error()})
	switch onCancel {
	case "succeed":
		return nil
	case "ignore":
		<-gate
		return nil
	}
	return ctx.Err()
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }

// listen does what the driver says, until it is gone.
func listen(lines *bufio.Reader, worker *jobqueue.Worker, holds *holds) {
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			os.Exit(3) // no driver, no worker
		}
		var said command
		if json.Unmarshal(line, &said) != nil {
			continue
		}
		switch said.Do {
		case "release":
			holds.release(said.Job)
		case "pause":
			worker.Pause()
		case "resume":
			worker.Resume()
		case "status":
			say("status", statusOf(worker))
		}
	}
}

// statusOf is the status, with the names that it has as JSON.
func statusOf(worker *jobqueue.Worker) event {
	text, err := json.Marshal(worker.Status())
	if err != nil {
		panic(err)
	}
	var fields event
	if err := json.Unmarshal(text, &fields); err != nil {
		panic(err)
	}
	return fields
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lines := bufio.NewReader(os.Stdin)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var start start
	if err := json.Unmarshal(line, &start); err != nil {
		return err
	}
	grace := seconds(start.ShutdownGraceS)
	if grace == 0 {
		grace = -1 // none, where 0 is the default
	}
	var access jobqueue.Access
	if start.Tokens {
		var asked atomic.Int64
		access.TokenSource = func(context.Context) (string, error) {
			return fmt.Sprintf("token-%d", asked.Add(1)), nil
		}
	}
	var encodings *jobqueue.Encodings
	if start.Encrypted {
		var err error
		if encodings, err = encrypted(); err != nil {
			return err
		}
	}
	worker, err := jobqueue.NewWorker(start.Addresses[0], jobqueue.WorkerOptions{
		Targets: start.Addresses[1:], Queues: start.Queues, Concurrency: start.Slots, Name: start.Name,
		Labels: start.Labels, SessionTTL: seconds(start.SessionTTLS), ShutdownGrace: grace,
		StopWhenLost: start.StopWhenLost, Access: access, Encodings: encodings,
	})
	if err != nil {
		return err
	}
	holds := &holds{gates: map[string]chan struct{}{}}
	for _, kind := range start.Kinds {
		var options []jobqueue.KindOption
		if slots, ok := start.SlotsByKind[kind]; ok {
			options = append(options, jobqueue.Slots(slots))
		}
		worker.Handle(kind, holds.handle, options...)
	}
	if start.Typed {
		jobqueue.HandleKind(worker, typed, double)
	}
	go listen(lines, worker, holds)
	return worker.Run(ctx)
}

// encrypted is by the key that docs/conformance.md names.
func encrypted() (*jobqueue.Encodings, error) {
	key := make([]byte, 32)
	for at := range key {
		key[at] = byte(at)
	}
	cipher, err := jobqueue.NewAESGCM(map[string][]byte{"conformance": key}, "conformance")
	if err != nil {
		return nil, err
	}
	return jobqueue.NewEncodings(cipher)
}

func main() {
	if err := run(); err != nil {
		say("ended", event{"error": err.Error()})
		os.Exit(1)
	}
	say("ended", event{"error": nil})
}
