package jobqueue

import (
	"encoding/json"
	"net/http"
	"time"
)

const (
	// How often a session says that it is not stuck.
	tickEvery = 5 * time.Second
	// How long it may be stuck at least before it is said to be.
	stuckAfter = 30 * time.Second
)

// The monotonic clock, as a number.
var clockStart = time.Now()

func clock() time.Duration { return time.Since(clockStart) }

// tick says that the session's lock and its timers work. With the lock held.
func (s *session) tick() {
	s.ticked.Store(int64(clock()))
	s.later(tickEvery, s.tick)
}

// stuck says whether the session has not ticked for too long. Takes no lock: it may be the lock that is stuck.
func (s *session) stuck() bool {
	return clock()-time.Duration(s.ticked.Load()) > max(time.Duration(s.ttlShown.Load()), stuckAfter)
}

// ready says whether the worker takes jobs, or has only just lost its server. With the lock held.
func (s *session) ready() bool {
	return s.state == WorkerServing || (s.state == WorkerReconnecting && time.Since(s.awaySince) < s.ttl)
}

// HealthHandler serves the probes of an orchestrator, beside a program's other pages or on a port of their own:
//
//	go http.ListenAndServe("127.0.0.1:8081", worker.HealthHandler())
//
// `/livez` answers 200, but 503 where the worker is stuck (its session did not tick for the larger of its ttl and 30 s) or
// Run returned an error; it never does so because a server is away. `/readyz` answers 200 while the worker serves, and for
// the session's ttl after it lost its server; else 503. The body is the [WorkerStatus] as JSON. Another path is 404,
// another method 405. Handlers that block do not hold it up.
func (w *Worker) HealthHandler() http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Cache-Control", "no-store")
		answer.Header().Set("Content-Type", "application/json")
		if request.URL.Path != "/livez" && request.URL.Path != "/readyz" {
			refuse(answer, http.StatusNotFound, "not_found", "there are /livez and /readyz")
			return
		}
		if request.Method != http.MethodGet {
			answer.Header().Set("Allow", "GET")
			refuse(answer, http.StatusMethodNotAllowed, "method_not_allowed", "use GET")
			return
		}
		status, live, ready := w.health()
		if (request.URL.Path == "/livez" && !live) || (request.URL.Path == "/readyz" && !ready) {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(answer).Encode(status)
	})
}

// refusal is the body where there is no status.
type refusal struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

func refuse(answer http.ResponseWriter, code int, reason, message string) {
	answer.WriteHeader(code)
	_ = json.NewEncoder(answer).Encode(refusal{reason, message})
}

// health is what both probes answer. A session that is stuck is not asked.
func (w *Worker) health() (status any, live, ready bool) {
	w.mu.Lock()
	session := w.session
	if session == nil {
		defer w.mu.Unlock()
		return w.idle, w.failed == nil, false
	}
	w.mu.Unlock()
	if session.stuck() {
		return refusal{"stuck", "the session did not tick"}, false, false
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	return session.status(), true, session.ready()
}
