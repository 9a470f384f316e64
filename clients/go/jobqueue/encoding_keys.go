package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// So long a key of a function is kept, and so long that it has none.
	keyKept, keyMissing = 5 * time.Minute, 15 * time.Second
	// So many of them are kept: names come from producers.
	mostKeysKept = 256
	// So long a function may take.
	askedWithin = 30 * time.Second
	// So many names it is asked for at once.
	mostAsked = 16
)

var errKeysLate = fmt.Errorf("the function for keys has not answered within %v: %w", askedWithin, context.DeadlineExceeded)

// What a function is asked for.
var keyName = regexp.MustCompile(`^[\p{L}\p{N}_.:/-]{1,255}$`)

// keyFinder answers a key by its name. The error is a [*KeyUnknownError] where there is none.
type keyFinder = func(ctx context.Context, name string) ([]byte, error)

// keysOf are those of a map.
func keysOf(given map[string][]byte) (keyFinder, error) {
	own := make(map[string][]byte, len(given))
	for name, key := range given {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("the name of a key has %d bytes and is no text", len(name)) // it may be the key
		}
		if _, err := checkedKey(name, key); err != nil {
			return nil, err
		}
		own[name] = slices.Clone(key)
	}
	return func(_ context.Context, name string) ([]byte, error) { return checkedKey(name, own[name]) }, nil
}

func checkedKey(name string, key []byte) ([]byte, error) {
	switch {
	case key == nil:
		return nil, &KeyUnknownError{name}
	case len(key) != keyBytes:
		// Its length alone: a key must not get into a log.
		return nil, fmt.Errorf("the key %q has %d bytes; it must have %d", name, len(key), keyBytes)
	}
	return key, nil
}

// askedKeys are those of a function.
type askedKeys struct {
	ask keyFinder
	now func() time.Time

	mu     sync.Mutex
	kept   map[string]keptKey
	asking map[string]*askedKey
	// turns has one for each call of the function that has not returned.
	turns chan struct{}
}

// keptKey is an answer; a nil key is that there is none.
type keptKey struct {
	until time.Time
	key   []byte
}

// askedKey is one call of the function, for all that wait for it.
type askedKey struct {
	done chan struct{}
	key  []byte
	err  error
}

func newAskedKeys(ask keyFinder) *askedKeys {
	return &askedKeys{
		ask: ask, now: time.Now, kept: map[string]keptKey{}, asking: map[string]*askedKey{}, turns: make(chan struct{}, mostAsked),
	}
}

func (k *askedKeys) get(ctx context.Context, name string) ([]byte, error) {
	if !keyName.MatchString(name) {
		return nil, &KeyUnknownError{name}
	}
	k.mu.Lock()
	if kept, ok := k.kept[name]; ok && k.now().Before(kept.until) {
		k.mu.Unlock()
		return checkedKey(name, kept.key)
	}
	one, ok := k.asking[name]
	if !ok {
		if ctx.Err() != nil {
			k.mu.Unlock()
			return nil, context.Cause(ctx)
		}
		one = &askedKey{done: make(chan struct{})}
		k.asking[name] = one
		// One that waits no longer must not end it for the others.
		go k.run(context.WithoutCancel(ctx), name, one)
	}
	k.mu.Unlock()
	select {
	case <-one.done:
		return one.key, one.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run asks the function, once so few are asked that this one may be.
func (k *askedKeys) run(ctx context.Context, name string, one *askedKey) {
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	// The function may not look at its context.
	stop := context.AfterFunc(ctx, func() { k.end(name, one, nil, errKeysLate) })
	defer stop()
	select {
	case k.turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	var key []byte
	err := errors.New("the function for keys ended its goroutine")
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{value, string(debug.Stack())}
		}
		<-k.turns
		k.end(name, one, key, err)
	}()
	if key, err = k.ask(ctx, name); err == nil && key != nil {
		key, err = checkedKey(name, slices.Clone(key))
	}
}

// end answers those that wait, once: what comes after that is not kept either.
func (k *askedKeys) end(name string, one *askedKey, key []byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking[name] != one {
		return
	}
	delete(k.asking, name)
	if one.err = err; err == nil {
		k.keep(name, key)
		one.key, one.err = checkedKey(name, key)
	}
	close(one.done)
}

// keep keeps an answer; with the lock held.
func (k *askedKeys) keep(name string, key []byte) {
	long := keyKept
	if key == nil {
		long = keyMissing
	}
	k.kept[name] = keptKey{k.now().Add(long), key}
	if len(k.kept) <= mostKeysKept {
		return
	}
	first := name
	for each, kept := range k.kept {
		// Those that are missing go first.
		if kept.until.Before(k.kept[first].until) {
			first = each
		}
	}
	delete(k.kept, first)
}
