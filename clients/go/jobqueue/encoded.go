package jobqueue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// The member by which an envelope is known; its value is the version of its form.
	mark = "$jobqueue.encoded"
	form = 1

	noEncodings = "this program has no encodings"
)

// EncodedError: a payload or an output was not decoded. As a job's error its type is Encoded.
type EncodedError struct {
	// Encodings are the names of what it was encoded by, in that order.
	Encodings []string
	// KeyID is the name of the key that it was encrypted with. Empty: it was not encrypted.
	KeyID string
	// Why says in words why it was not decoded.
	Why string
}

func (e *EncodedError) Error() string {
	how := strings.Join(e.Encodings, " + ")
	if how == "" {
		how = "by nothing that it names"
	}
	if e.KeyID != "" {
		how += ", key " + e.KeyID
	}
	return "encoded, " + how + ": " + e.Why
}

// EncodingRequiredError: a kind takes encrypted payloads alone, and this program has nothing to encrypt them with. As a
// job's error its type is EncodingRequired.
type EncodingRequiredError struct {
	Kind string
}

func (e *EncodingRequiredError) Error() string {
	return fmt.Sprintf("the kind %s takes encrypted payloads alone: give the client or the worker Encodings that encrypt", e.Kind)
}

// KeyUnknownError: nothing has the key. As a job's error its type is KeyUnknown.
type KeyUnknownError struct {
	// KeyID is its name.
	KeyID string
}

func (e *KeyUnknownError) Error() string {
	return fmt.Sprintf("nothing here has the key %q: give it to AESGCM", e.KeyID)
}

// EncodingUnknownError: something was encoded by what this program does not have. As a job's error its type is
// EncodingUnknown.
type EncodingUnknownError struct {
	// Name is that of the encoding.
	Name string
}

func (e *EncodingUnknownError) Error() string {
	return fmt.Sprintf("it was encoded by %q, which these encodings don't have", e.Name)
}

// UndecodableError: an envelope is damaged, was made for another kind, job or purpose, or by another key of the same name.
type UndecodableError struct {
	// Message says what is wrong with it, and has nothing of the content.
	Message string
}

func (e *UndecodableError) Error() string { return e.Message }

func undecodable(format string, arguments ...any) error {
	return &UndecodableError{fmt.Sprintf(format, arguments...)}
}

// encodedOf is what an envelope says of itself.
func encodedOf(members map[string]json.RawMessage, why string) *EncodedError {
	names, _ := stringsIn(members["encodings"])
	key, _ := stringIn(members["key_id"])
	return &EncodedError{Encodings: names, KeyID: key, Why: why}
}

// envelopeIn are the members of the envelope that a JSON text is, by names that are written in whatever way. nil: it is
// none, or no JSON.
func envelopeIn(text []byte) map[string]json.RawMessage {
	// A name may be written with escapes: by its letters alone it would not be seen.
	if !bytes.Contains(text, []byte(mark)) && !bytes.Contains(text, []byte(`\u`)) {
		return nil
	}
	// No struct, whose names are known without regard to their case.
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	if _, ok := members[mark]; !ok {
		return nil
	}
	return members
}

// stringIn is the text that a JSON value is; false: it is none.
func stringIn(text json.RawMessage) (string, bool) {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return "", false
	}
	found, ok := value.(string)
	return found, ok
}

// stringsIn is the list of texts that a JSON value is; false: it is none.
func stringsIn(text json.RawMessage) ([]string, bool) {
	var values []any
	if json.Unmarshal(text, &values) != nil || values == nil {
		return nil, false
	}
	found := make([]string, len(values))
	for i, each := range values {
		var ok bool
		if found[i], ok = each.(string); !ok {
			return nil, false
		}
	}
	return found, true
}
