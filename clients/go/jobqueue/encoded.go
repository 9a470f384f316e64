package jobqueue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

const (
	// The member by which an envelope is known; its value is the version of its form.
	mark = "$jobqueue.encoded"
	form = 1

	// So many names of encodings are told, and so much of each.
	mostNamesTold, mostNameBytes = 8, 255

	noEncodings    = "this program has no encodings"
	noJSON         = "what was encoded is no JSON"
	encryptedAlone = "the kind takes encrypted payloads alone"
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
	names := make([]string, 0, mostNamesTold+1)
	for _, each := range e.Encodings[:min(len(e.Encodings), mostNamesTold)] {
		names = append(names, told(each))
	}
	if more := len(e.Encodings) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	how := strings.Join(names, " + ")
	if how == "" {
		how = "by nothing that it names"
	}
	if e.KeyID != "" {
		how += ", key " + told(e.KeyID)
	}
	return "encoded, " + how + ": " + e.Why
}

// told is a name that a stranger may have made, for people: it has at most 255 bytes, and is quoted where it is not of
// letters, digits and _ . : / -.
func told(name string) string {
	name = cut(name, mostNameBytes, "...")
	if keyName.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

// EncodingRequiredError: a kind takes encrypted payloads alone, and this program has nothing to encrypt them with. As a
// job's error its type is EncodingRequired.
type EncodingRequiredError struct {
	Kind string
	// to is what is to be given some. Empty: what enqueues.
	to string
}

const theWorker = "the worker"

func (e *EncodingRequiredError) Error() string {
	return fmt.Sprintf("the kind %s takes encrypted payloads alone: give %s Encodings that encrypt", e.Kind,
		cmp.Or(e.to, "the client or the worker"))
}

// KeyUnknownError: nothing has the key. As a job's error its type is KeyUnknown.
type KeyUnknownError struct {
	// KeyID is its name.
	KeyID string
}

func (e *KeyUnknownError) Error() string {
	return fmt.Sprintf("nothing here has the key %q: give it to AESGCM", cut(e.KeyID, mostNameBytes, "..."))
}

// EncodingUnknownError: something was encoded by what this program does not have. As a job's error its type is
// EncodingUnknown.
type EncodingUnknownError struct {
	// Name is that of the encoding.
	Name string
}

func (e *EncodingUnknownError) Error() string {
	return fmt.Sprintf("it was encoded by %q, which these encodings don't have", cut(e.Name, mostNameBytes, "..."))
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
