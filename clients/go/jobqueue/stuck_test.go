package jobqueue

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"
)

func TestASessionThatIsStuckIsNotLiveAndTheProbeDoesNotWaitForIt(t *testing.T) {
	worker, err := NewWorker("127.0.0.1:1", WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	session := newSession(context.Background(), &worker.options, worker.handlers)
	worker.session = session
	session.mu.Lock() // by a goroutine that does not come back
	for silent, want := range map[time.Duration]bool{29 * time.Second: false, 31 * time.Second: true} {
		session.ticked.Store(int64(clock() - silent))
		if session.stuck() != want {
			t.Errorf("after %v: %v", silent, !want)
		}
	}
	session.ttlShown.Store(int64(time.Minute))
	session.ticked.Store(int64(clock() - 31*time.Second))
	if session.stuck() {
		t.Error("stuck within its ttl")
	}
	session.ticked.Store(int64(clock() - 61*time.Second))
	answer := httptest.NewRecorder()
	worker.HealthHandler().ServeHTTP(answer, httptest.NewRequest("GET", "/livez", nil))
	if answer.Code != 503 {
		t.Error(answer.Code)
	}
}
