package jobqueue

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff makes waits that spread callers apart. Decorrelated jitter: each is between the base and three times the one
// before, up to a cap.
type backoff struct {
	base, cap, previous time.Duration
}

func newBackoff(base, cap time.Duration) *backoff {
	return &backoff{base: base, cap: cap, previous: base}
}

// next is how long to wait now.
func (b *backoff) next() time.Duration {
	b.previous = min(b.cap, b.base+rand.N(3*b.previous-b.base+1))
	return b.previous
}

// reset starts anew from the base, after a success.
func (b *backoff) reset() { b.previous = b.base }

// sleep waits, or less if the context ends; then it says why.
func sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
