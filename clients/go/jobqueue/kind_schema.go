package jobqueue

import (
	"encoding/json"
	"reflect"
	"strconv"

	"jobqueue.dev/go/internal/shape"
)

func schemaText(schema map[string]any) json.RawMessage {
	text, err := encode(schema)
	if err != nil {
		panic(err) // of strings, numbers and lists of them
	}
	return text
}

// versioned is a schema that says of which version it is.
func versioned(schema json.RawMessage, version int) json.RawMessage {
	said := map[string]json.RawMessage{}
	if err := json.Unmarshal(schema, &said); err != nil || said == nil {
		return schema // true or false
	}
	said["x-payload-version"] = json.RawMessage(strconv.Itoa(version))
	text, _ := encode(said)
	return text
}

// oneOf is a schema of what satisfies one of several. The definitions of each get names of their own.
func oneOf(branches []json.RawMessage) json.RawMessage {
	if len(branches) == 1 {
		return branches[0]
	}
	definitions := map[string]any{}
	lifted := make([]any, len(branches))
	for i, text := range branches {
		var branch any
		if wrong := anyShape.Decode(text, &branch); wrong != nil {
			panic(wrong) // it was JSON before
		}
		suffix := "." + strconv.Itoa(i)
		if members, ok := branch.(map[string]any); ok {
			inner, _ := members["$defs"].(map[string]any)
			for name, each := range inner {
				definitions[name+suffix] = renamed(each, suffix)
			}
			delete(members, "$defs")
		}
		lifted[i] = renamed(branch, suffix)
	}
	return schemaText(map[string]any{"anyOf": lifted, "$defs": definitions})
}

// envelopeSchema is that of an encoded payload.
var envelopeSchema = json.RawMessage(`{"type":"object","title":"encoded payload",` +
	`"required":["$jobqueue.encoded","content_type","encodings","data"],` + envelopeMembers)

// encryptedSchema is that of an encrypted one, which has a key.
var encryptedSchema = json.RawMessage(`{"type":"object","title":"encoded payload",` +
	`"required":["$jobqueue.encoded","content_type","encodings","data","key_id"],` + envelopeMembers)

// A payload in plain text must not pass by having the envelope's members beside its own.
const envelopeMembers = `"properties":{"$jobqueue.encoded":{"const":1},"content_type":{"type":"string"},` +
	`"encodings":{"type":"array","minItems":1,"items":{"type":"string"}},"key_id":{"type":"string","minLength":1},` +
	`"data":{"type":"string","pattern":"^[A-Za-z0-9_-]*$"}},"additionalProperties":false}`

// anyShape reads any JSON, and keeps the digits of its numbers.
var anyShape = func() *shape.Shape {
	made, err := shape.For(reflect.TypeFor[any](), false)
	if err != nil {
		panic(err)
	}
	return made
}()

// renamed is a part of a schema whose references lead to definitions with longer names.
func renamed(schema any, suffix string) any {
	switch schema := schema.(type) {
	case []any:
		for i, each := range schema {
			schema[i] = renamed(each, suffix)
		}
	case map[string]any:
		for name, each := range schema {
			if to, ok := each.(string); ok && name == "$ref" {
				schema[name] = to + suffix
			} else {
				schema[name] = renamed(each, suffix)
			}
		}
	}
	return schema
}
