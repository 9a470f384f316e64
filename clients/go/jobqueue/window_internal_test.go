package jobqueue

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/metadata"
)

var hinted = metadata.Pairs(pressureTrailer, "1.00")

// turnsOf takes so many turns, for which there is room.
func turnsOf(t *testing.T, w *window, count int) []*turn {
	t.Helper()
	noWait, cancel := context.WithCancel(t.Context())
	cancel()
	turns := make([]*turn, count)
	for i := range turns {
		var err error
		if turns[i], err = w.turn(noWait); err != nil {
			t.Fatal(err)
		}
	}
	return turns
}

func TestAnAdaptiveCallThatIsLetInAsItGivesUpLeavesItsTurnToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		turnsOf(t, w, 64)
		ctx, cancel := context.WithCancel(t.Context())
		one, two := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := w.turn(ctx)
			one <- err
		}()
		synctest.Wait()
		go func() {
			_, err := w.turn(t.Context())
			two <- err
		}()
		synctest.Wait()
		w.mu.Lock()
		cancel()
		w.leave()
		w.mu.Unlock()
		synctest.Wait()
		if err := <-one; err == nil {
			t.Error("the call was not given up")
		}
		select {
		case err := <-two:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Fatal("the next one still waits")
		}
		if w.inFlight != 64 || w.line.Len() != 0 {
			t.Errorf("%d in flight, %d in line", w.inFlight, w.line.Len())
		}
	})
}

func TestTheAdaptiveBoundGrowsOnlyWhileItIsWhatCallsWaitFor(t *testing.T) {
	w := newWindow()
	for range 1000 {
		turnsOf(t, w, 1)[0].answered(nil)
	}
	if w.bound != 64 || w.inFlight != 0 {
		t.Errorf("%v, %d in flight", w.bound, w.inFlight)
	}
}

func TestTheAdaptiveBoundStaysWithin1And1000(t *testing.T) {
	w := newWindow()
	for range 100 {
		turnsOf(t, w, 1)[0].answered(hinted)
	}
	if w.bound != 1 {
		t.Error(w.bound)
	}
	w.bound = 1000
	turns := turnsOf(t, w, 1000)
	turns[0].answered(nil)
	if w.bound != 1000 {
		t.Error(w.bound)
	}
	// An answer ends the turn; its end after that is nothing.
	turns[0].end()
	if w.inFlight != 999 {
		t.Error(w.inFlight)
	}
}
