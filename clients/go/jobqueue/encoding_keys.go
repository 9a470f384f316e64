package jobqueue

import (
	"context"
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
)

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
	return &askedKeys{ask: ask, now: time.Now, kept: map[string]keptKey{}, asking: map[string]*askedKey{}}
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

func (k *askedKeys) run(ctx context.Context, name string, one *askedKey) {
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	one.err = fmt.Errorf("the function for keys ended its goroutine")
	defer func() {
		if value := recover(); value != nil {
			one.err = &PanicError{value, string(debug.Stack())}
		}
		k.mu.Lock()
		delete(k.asking, name)
		k.mu.Unlock()
		close(one.done)
	}()
	key, err := k.ask(ctx, name)
	if err == nil && key != nil {
		key, err = checkedKey(name, slices.Clone(key))
	}
	if one.err = err; err != nil {
		return
	}
	k.keep(name, key)
	one.key, one.err = checkedKey(name, key)
}

func (k *askedKeys) keep(name string, key []byte) {
	long := keyKept
	if key == nil {
		long = keyMissing
	}
	k.mu.Lock()
	defer k.mu.Unlock()
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
