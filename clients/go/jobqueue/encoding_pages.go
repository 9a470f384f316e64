package jobqueue

import (
	"context"
	"encoding/json"
	"runtime/debug"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// pageKeys are the keys of a page, which were asked for already.
type pageKeys struct {
	Encrypting
	found map[string]foundKey
}

type foundKey struct {
	key []byte
	err error
}

// Key is what was answered for a name of the page.
func (p pageKeys) Key(ctx context.Context, name string) ([]byte, error) {
	if found, ok := p.found[name]; ok {
		return found.key, found.err
	}
	return p.Encrypting.Key(ctx, name)
}

// withKeysOf are the same ones, which have asked for all keys of a page, side by side: one that is slow must not take the
// time of the others.
func (e *Encodings) withKeysOf(ctx context.Context, messages []*pb.Job) *Encodings {
	last := *e.last()
	if last.by == nil || len(messages) < 2 {
		return e
	}
	names := map[string]bool{}
	for _, each := range messages {
		for _, text := range []json.RawMessage{each.GetPayloadJson(), each.GetOutputJson()} {
			if name, ok := stringIn(envelopeIn(text)["key_id"]); ok && name != "" {
				names[name] = true
			}
		}
	}
	if len(names) < 2 {
		return e
	}
	asked, turns := map[string]chan foundKey{}, make(chan struct{}, mostAsked)
	for name := range names {
		answer := make(chan foundKey, 1)
		asked[name] = answer
		go func() {
			select {
			case turns <- struct{}{}:
				answer <- askedFor(ctx, last.by, name)
				<-turns
			case <-ctx.Done():
			}
		}()
	}
	keys := pageKeys{last.by, map[string]foundKey{}}
	for name, answer := range asked {
		select {
		case keys.found[name] = <-answer:
			continue
		case <-ctx.Done():
		}
		select {
		case keys.found[name] = <-answer:
		default:
			keys.found[name] = foundKey{nil, context.Cause(ctx)}
		}
	}
	made := *e
	last.by = keys
	made.steps = append(made.steps[:len(made.steps)-1:len(made.steps)-1], last)
	return &made
}

// askedFor is one key, or what asking for it came to.
func askedFor(ctx context.Context, by Encrypting, name string) (found foundKey) {
	defer func() {
		if value := recover(); value != nil {
			found = foundKey{nil, &PanicError{value, string(debug.Stack())}}
		}
	}()
	key, err := by.Key(ctx, name)
	return foundKey{key, err}
}
