// Package shape says what JSON has for a type of Go: whether a text is one of its values, where it is not, and the
// JSON Schema of both.
//
//	| type | JSON |
//	|---|---|
//	| bool, string, numbers | the same; 2.0 is a whole number too; those of Go are in their type's range |
//	| big.Int, json.Number | a whole number, a number, of any size |
//	| slices, maps, pointers | array, object, that of the value; or null |
//	| []byte | base64; or null |
//	| arrays | array of that length |
//	| structs | object, as encoding/json names its fields; required without omitempty and omitzero |
//	| time.Time | RFC 3339 with an offset |
//	| any, json.RawMessage | any |
//	| what has UnmarshalText, UnmarshalJSON | a string, any: the method decides |
package shape

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Mismatch is a text that is none of a type.
type Mismatch struct {
	// Path is where, for example `.items[2].to`. Empty: the value as a whole.
	Path string
	// Expected is what would be right, and never the value itself, which may be a secret.
	Expected string
}

func (m *Mismatch) Error() string { return m.Path + ": must be " + m.Expected }

// must is what a value must be, as a whole. Its place is put together on the way out: most values have nothing wrong.
func must(expected string) *Mismatch { return &Mismatch{"", expected} }

// within is the same, seen from what the value is a part of.
func (m *Mismatch) within(place string) *Mismatch {
	m.Path = place + m.Path
	return m
}

// Shape is one type's.
type Shape struct {
	of   reflect.Type
	root form
}

// form is what JSON has for a type within another.
type form interface {
	// check answers, with true, a value that encoding/json reads where it would not read this one.
	check(value any) (any, bool, *Mismatch)
	schema(names *names) map[string]any
}

// For is the shape of a type. An error says what in it has no form in JSON. With strict, objects refuse fields that
// they don't know.
func For(of reflect.Type, strict bool) (*Shape, error) {
	made := maker{strict: strict, structs: map[reflect.Type]*object{}}
	root, err := made.form(of)
	if err != nil {
		return nil, err
	}
	return &Shape{of, root}, nil
}

// Decode reads a text into what a pointer to the type points at. Numbers in a value of any type keep their digits: they
// become json.Number.
func (s *Shape) Decode(text []byte, into any) *Mismatch {
	var value any
	if err := read(text, &value); err != nil {
		return &Mismatch{"", "JSON"}
	}
	checked, differs, wrong := s.root.check(value)
	if wrong != nil {
		return wrong
	}
	err := read(text, into)
	if err != nil && differs {
		// As it was meant: such as 2.0, which encoding/json does not take for a whole number.
		reflect.ValueOf(into).Elem().SetZero()
		text, err = json.Marshal(checked)
		if err == nil {
			err = read(text, into)
		}
	}
	if err != nil {
		return &Mismatch{"", "what a " + nameOf(s.of) + " is read from"}
	}
	return nil
}

// IsOpen says whether the type itself says nothing about its values.
func (s *Shape) IsOpen() bool {
	_, open := s.root.(anything)
	return open
}

// read is json.Unmarshal, but for numbers without a type, which keep their digits.
func read(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after it")
	}
	return nil
}

// maker makes forms. A type that holds itself is made once.
type maker struct {
	strict  bool
	structs map[reflect.Type]*object
}

var (
	readsJSON = reflect.TypeFor[json.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (m *maker) form(of reflect.Type) (form, error) {
	if known, ok := known[of]; ok {
		return known, nil
	}
	if of.Kind() == reflect.Pointer {
		inner, err := m.form(of.Elem())
		return orNull{inner}, err
	}
	switch to := reflect.PointerTo(of); {
	case to.Implements(readsJSON):
		return foreign{of}, nil
	case to.Implements(readsText):
		return named{of}, nil
	}
	switch of.Kind() {
	case reflect.Bool:
		return scalar[bool]{"true or false", "boolean"}, nil
	case reflect.String:
		return scalar[string]{"a string", "string"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return signed(of.Bits()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return unsigned(of.Bits()), nil
	case reflect.Float32, reflect.Float64:
		return float(of.Bits()), nil
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 && !m.reads(of.Elem()) {
			return orNull{base64}, nil
		}
		item, err := m.form(of.Elem())
		return orNull{array{item, -1}}, err
	case reflect.Array:
		item, err := m.form(of.Elem())
		return array{item, of.Len()}, err
	case reflect.Map:
		return m.dictionary(of)
	case reflect.Struct:
		return m.object(of)
	case reflect.Interface:
		if of.NumMethod() == 0 {
			return anything{}, nil
		}
	}
	return nil, fmt.Errorf("%v has no form in JSON", of)
}

// reads says whether a type reads its values itself.
func (m *maker) reads(of reflect.Type) bool {
	to := reflect.PointerTo(of)
	return to.Implements(readsJSON) || to.Implements(readsText)
}

func (m *maker) dictionary(of reflect.Type) (form, error) {
	if of.Key().Kind() != reflect.String || reflect.PointerTo(of.Key()).Implements(readsText) {
		return orNull{foreign{of}}, nil
	}
	item, err := m.form(of.Elem())
	return orNull{dictionary{item}}, err
}

func (m *maker) object(of reflect.Type) (form, error) {
	if made, ok := m.structs[of]; ok {
		return made, nil
	}
	made := &object{of: of, strict: m.strict}
	m.structs[of] = made // before its fields: one of them may be of this type
	for _, each := range fieldsOf(of) {
		inner, err := m.form(each.of)
		if err != nil {
			return nil, fmt.Errorf("the field %s of %v: %w", each.name, of, err)
		}
		if each.quoted {
			inner = quoted{inner}
		}
		made.fields = append(made.fields, field{each.name, inner, each.required})
	}
	return made, nil
}

func nameOf(of reflect.Type) string {
	if of.Name() != "" {
		return of.Name()
	}
	return of.String()
}
