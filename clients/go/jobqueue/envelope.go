package jobqueue

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	jsonType  = "application/json"
	bytesType = "application/octet-stream"
	// The first of what is authenticated: another form of it gets another name.
	encodedDomain = "jobqueue.encoded/1"
	base64url     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// So does each envelope begin that is written here; of a checkpoint, whose bytes may be anything, all do.
var envelopePrefix = []byte(`{"` + mark + `":1,`)

// codingPlace is where something encoded belongs.
type codingPlace struct {
	// purpose is payload, output or checkpoint.
	purpose, kind string
	// jobID is empty for payloads: theirs is not known when they are encoded.
	jobID       string
	contentType string
}

func payloadPlace(kind string) codingPlace { return codingPlace{"payload", kind, "", jsonType} }

func outputPlace(kind, id string) codingPlace { return codingPlace{"output", kind, id, jsonType} }

func checkpointPlace(kind, id string) codingPlace {
	return codingPlace{"checkpoint", kind, id, bytesType}
}

// authenticated is all that an envelope is bound to, as bytes: no two places have the same.
func (p codingPlace) authenticated(encodings []string, key string) []byte {
	parts := [][]byte{
		[]byte(encodedDomain), []byte(p.purpose), []byte(p.kind), []byte(p.jobID), []byte(p.contentType), []byte(key),
	}
	for _, each := range encodings {
		parts = append(parts, []byte(each))
	}
	return framed(parts...)
}

// envelopeIn are the members of an envelope in this place. nil: there is none.
func (p codingPlace) envelopeIn(text []byte) (map[string]json.RawMessage, error) {
	if p.purpose != "checkpoint" {
		return envelopeIn(text), nil
	}
	if !bytes.HasPrefix(text, envelopePrefix) {
		return nil, nil
	}
	members := envelopeIn(text)
	if members == nil {
		return nil, undecodable("the envelope of the checkpoint is cut off")
	}
	return members, nil
}

// framed are the parts, each with its length before it: 4 bytes, big-endian.
func framed(parts ...[]byte) []byte {
	var whole []byte
	for _, each := range parts {
		whole = binary.BigEndian.AppendUint32(whole, uint32(len(each)))
		whole = append(whole, each...)
	}
	return whole
}

// envelope is something encoded: by what, in the order in which it was done, with which key, and the bytes.
type envelope struct {
	encodings   []string
	keyID       string // empty: it is not encrypted
	data        []byte
	contentType string
}

// text is the envelope as JSON. All languages write the same bytes.
func (e *envelope) text() []byte {
	text := slices.Concat(envelopePrefix, []byte(`"content_type":`))
	text = append(appendQuoted(text, e.contentType), `,"encodings":[`...)
	for i, each := range e.encodings {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendQuoted(text, each)
	}
	text = append(text, ']')
	if e.keyID != "" {
		text = appendQuoted(append(text, `,"key_id":`...), e.keyID)
	}
	text = append(text, `,"data":"`...)
	text = base64.RawURLEncoding.AppendEncode(text, e.data)
	return append(text, `"}`...)
}

var shortEscapes = map[rune]string{
	'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`,
}

// appendQuoted writes a text as JSON, with those escapes alone that there must be.
func appendQuoted(text []byte, value string) []byte {
	text = append(text, '"')
	for _, each := range value {
		switch escape, ok := shortEscapes[each]; {
		case ok:
			text = append(text, escape...)
		case each < ' ':
			text = fmt.Appendf(text, `\u%04x`, each)
		default:
			text = append(text, string(each)...)
		}
	}
	return append(text, '"')
}

// readEnvelope is the envelope of these members.
func readEnvelope(members map[string]json.RawMessage) (*envelope, error) {
	number, err := strconv.ParseFloat(string(members[mark]), 64)
	if err != nil || number != form {
		return nil, undecodable("the envelope's %s must be %d", mark, form)
	}
	names, ok := stringsIn(members["encodings"])
	if !ok || len(names) == 0 {
		return nil, undecodable("the envelope's encodings must be a list of names")
	}
	seen := make(map[string]bool, len(names))
	for _, each := range names {
		if seen[each] {
			return nil, undecodable("the envelope's encodings must be different ones")
		}
		seen[each] = true
	}
	made := &envelope{encodings: names}
	var texts [3]bool
	var data string
	made.contentType, texts[0] = stringIn(members["content_type"])
	if said, there := members["key_id"]; there {
		made.keyID, texts[1] = stringIn(said)
	} else {
		texts[1] = true
	}
	data, texts[2] = stringIn(members["data"])
	if texts != [3]bool{true, true, true} {
		return nil, undecodable("the envelope's content_type, key_id and data must be texts")
	}
	// The decoder would pass over the ends of lines.
	if strings.Trim(data, base64url) == "" {
		if made.data, err = base64.RawURLEncoding.DecodeString(data); err == nil {
			return made, nil
		}
	}
	return nil, undecodable("the envelope's data must be base64url, without =")
}
