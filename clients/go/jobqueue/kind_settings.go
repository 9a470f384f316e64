package jobqueue

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"jobqueue.dev/go/internal/shape"
)

// KindSetting is one thing that [DefineKind] says of a kind besides its name and types.
type KindSetting func(*kindSettings)

type kindSettings struct {
	version  int
	upcasts  map[int]*upcast
	aliases  []string
	defaults NewJob
	// key is a func(P) string, unique a func(P) *Unique.
	key, unique any
	strict      bool
	schema      json.RawMessage
	encodings   EncodingRule
	// slotWeight is nil where nothing is said of it.
	slotWeight *int
}

// upcast leads from one version to the next one.
type upcast struct {
	of    reflect.Type
	shape *shape.Shape
	// run takes the text of a payload of the type.
	run func(*shape.Shape, json.RawMessage) (json.RawMessage, error)
}

// PayloadVersion is the version of a kind's payloads, from 1: one more with each change that makes older payloads
// unreadable.
func PayloadVersion(version int) KindSetting {
	return func(s *kindSettings) { s.version = version }
}

// Upcast makes a payload of an older version one of the next version. It changes nothing else. Where the older payload
// can't supply the newer one, it returns an error. With a struct as Old, the schema holds older payloads to it.
func Upcast[Old, Next any](from int, function func(Old) (Next, error)) KindSetting {
	made := upcast{of: reflect.TypeFor[Old]()}
	made.run = func(of *shape.Shape, text json.RawMessage) (json.RawMessage, error) {
		var old Old
		if wrong := of.Decode(text, &old); wrong != nil {
			return nil, wrong
		}
		next, err := function(old)
		if err != nil {
			return nil, err
		}
		written, err := encode(any(next))
		if err == nil && written == nil {
			written = []byte("null")
		}
		return written, err
	}
	return func(s *kindSettings) {
		if s.upcasts[from] != nil {
			panic(fmt.Sprintf("jobqueue: Upcast(%d, ...) is there twice", from))
		}
		if s.upcasts == nil {
			s.upcasts = map[int]*upcast{}
		}
		own := made
		s.upcasts[from] = &own
	}
}

// Aliases are older names of a kind: its handler gets their jobs as well. Producers use the new one.
func Aliases(names ...string) KindSetting {
	return func(s *kindSettings) { s.aliases = append(s.aliases, slices.Clone(names)...) }
}

// Defaults are what jobs of a kind say where nothing else is said, for example its Queue, Priority, MaxAttempts, Timeout
// and RetryPolicy.
func Defaults(job NewJob) KindSetting {
	return func(s *kindSettings) { s.defaults = job }
}

// KeyBy makes the Key of a job by its payload.
func KeyBy[P any](function func(payload P) string) KindSetting {
	return func(s *kindSettings) { s.key = function }
}

// UniqueBy makes what a job is Unique by, by its payload. nil: that job is not unique.
func UniqueBy[P any](function func(payload P) *Unique) KindSetting {
	return func(s *kindSettings) { s.unique = function }
}

// Strict refuses fields that are not known, instead of passing them over.
func Strict() KindSetting {
	return func(s *kindSettings) { s.strict = true }
}

// Schema is a JSON Schema (2020-12) of a kind's payloads, instead of the one that is made of the type.
func Schema(raw json.RawMessage) KindSetting {
	return func(s *kindSettings) { s.schema = raw }
}

// KindEncodings says whether payloads, outputs and checkpoints of the kind are encoded where a program has [Encodings].
func KindEncodings(rule EncodingRule) KindSetting {
	return func(s *kindSettings) { s.encodings = rule }
}

// SlotWeight is how many slots of a worker each of the kind's jobs takes, 1 to 1000. SyncKinds tells the server, where
// it is 1 unless a declaration or an operator sets it.
func SlotWeight(slots int) KindSetting {
	return func(s *kindSettings) { s.slotWeight = &slots }
}
