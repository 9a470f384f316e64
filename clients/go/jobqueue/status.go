package jobqueue

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// WorkerState is what a worker does at the moment.
type WorkerState string

// The states.
const (
	// WorkerStarting: no server has welcomed the worker yet, or Run was not called.
	WorkerStarting WorkerState = "starting"
	// WorkerServing: it holds a stream to a server, and takes jobs.
	WorkerServing WorkerState = "serving"
	// WorkerReconnecting: it has lost its stream and tries again. Its handlers run on.
	WorkerReconnecting WorkerState = "reconnecting"
	// WorkerDraining: it takes no more jobs, and ends when its handlers have.
	WorkerDraining WorkerState = "draining"
	// WorkerEnded: Run has returned.
	WorkerEnded WorkerState = "ended"
	// WorkerRefused: the server refused what another try does not mend, for example the token: LastError says what.
	// A worker that was welcomed before tries again all the same, for a token that is renewed.
	WorkerRefused WorkerState = "refused"
)

// WorkerStatus is what a worker says of itself: a copy, made by [Worker.Status]. Its times are by the worker's clock. As
// JSON its names are in snake_case, and a time is RFC 3339, or null.
type WorkerStatus struct {
	State WorkerState
	// Server is the id of the server that welcomed the worker last. Empty: none has.
	Server string
	// Session is the number of the worker's session. 0: it has none.
	Session int64
	// Since is when State began.
	Since time.Time
	// LastHeard is when the newest frame of a server came. Zero: none has.
	LastHeard time.Time
	// Slots is how many jobs the worker takes at most now: 0 while it is paused, and once it has ended.
	Slots int
	// Running is how many handlers run.
	Running int
	// Orphans is how many of the handlers that run are of a session that is over.
	Orphans int
	// Kinds are those that have a handler, sorted.
	Kinds []string
	// UnknownKinds are those of Kinds of which no job can be enqueued, since they were never put; as the server said at
	// its last welcome.
	UnknownKinds []string
	// LastError is the newest error of the connection, also where it is mended by now. Empty: there was none.
	LastError string
	// ObserverDropped is how many calls the Observer missed because it was too slow.
	ObserverDropped int64
}

// MarshalJSON writes it with names in snake_case.
func (s WorkerStatus) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		State           WorkerState `json:"state"`
		Server          string      `json:"server"`
		Session         int64       `json:"session"`
		Since           *time.Time  `json:"since"`
		LastHeard       *time.Time  `json:"last_heard"`
		Slots           int         `json:"slots"`
		Running         int         `json:"running"`
		Orphans         int         `json:"orphans"`
		Kinds           []string    `json:"kinds"`
		UnknownKinds    []string    `json:"unknown_kinds"`
		LastError       string      `json:"last_error"`
		ObserverDropped int64       `json:"observer_dropped"`
	}{
		s.State, s.Server, s.Session, timeOrNull(s.Since), timeOrNull(s.LastHeard), s.Slots, s.Running, s.Orphans,
		orEmpty(s.Kinds), orEmpty(s.UnknownKinds), s.LastError, s.ObserverDropped,
	})
}

func timeOrNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// orEmpty is a list that is `[]` as JSON where it would be `null`.
func orEmpty(list []string) []string { return append([]string{}, list...) }

// The session's part of it. All is called with the lock held.

func (s *session) status() WorkerStatus {
	running := 0
	for _, each := range s.leases {
		if each.alive {
			running++
		}
	}
	return WorkerStatus{
		State:           s.state,
		Server:          s.server,
		Session:         s.id,
		Since:           s.since.Round(0),
		LastHeard:       s.lastHeard.Round(0),
		Slots:           s.capacity.available(),
		Running:         running + len(s.capacity.orphans),
		Orphans:         len(s.capacity.orphans),
		Kinds:           kindsOf(s.handlers),
		UnknownKinds:    slices.Clone(s.unknownKinds),
		LastError:       s.lastError,
		ObserverDropped: s.observing.droppedSoFar(),
	}
}

// enter is a state that begins; one that was there already goes on. Only the end follows a drain.
func (s *session) enter(state WorkerState) {
	if s.state != state && (s.state != WorkerDraining || state == WorkerEnded) {
		if s.state == WorkerServing {
			s.awaySince = time.Now()
		}
		s.state, s.since = state, time.Now()
	}
	if s.observing != nil {
		now := shown{s.state, s.server, s.id, strings.Join(s.unknownKinds, " ")}
		if s.shown != now {
			s.shown = now
			s.observing.sessionChanged(s.status())
		}
	}
}

// shown is what an observer is told the changes of.
type shown struct {
	state   WorkerState
	server  string
	session int64
	unknown string
}

// left is the status at the end of Run, which returns this error. A refusal stays; the observer is told the rest.
func (s *session) left(err error) WorkerStatus {
	s.mu.Lock()
	if err == nil || s.state != WorkerRefused {
		s.enter(WorkerEnded)
	}
	s.mu.Unlock()
	s.observing.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status()
	status.Slots = 0
	return status
}

// away: there is no stream, and another one is looked for.
func (s *session) away() {
	if s.state != WorkerStarting {
		s.enter(WorkerReconnecting)
	}
}

// failed notes an error of the connection.
func (s *session) failed(err error) {
	if err != nil {
		s.lastError = err.Error()
	}
}

// notDeclared takes the kinds that the server does not know, and says them once.
func (s *session) notDeclared(kinds []string) {
	kinds = slices.Sorted(slices.Values(kinds))
	if slices.Equal(kinds, s.unknownKinds) {
		return
	}
	s.unknownKinds = kinds
	if len(kinds) == 0 {
		return
	}
	quoted := make([]string, len(kinds))
	for i, each := range kinds {
		quoted[i] = fmt.Sprintf("%q", each)
	}
	words := "the server knows no kind %s: no job of it can be enqueued; declare it by SyncKinds, or by PutKind (jobqueue kinds put %s)"
	if len(kinds) > 1 {
		words = "the server knows no kinds %s: no job of them can be enqueued; declare each by SyncKinds, or by PutKind (jobqueue kinds put %s)"
	}
	s.log.Warn(fmt.Sprintf(words, strings.Join(quoted, ", "), kinds[0]))
}

func kindsOf(handlers map[string]kindHandler) []string { return slices.Sorted(maps.Keys(handlers)) }
