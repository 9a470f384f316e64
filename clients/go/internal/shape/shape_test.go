package shape

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

type level string

func (l *level) UnmarshalText(text []byte) error {
	*l = level(text)
	if *l != "low" && *l != "high" {
		return &Mismatch{}
	}
	return nil
}

type pair struct{ A, B int }

func (p *pair) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.A, &p.B})
}

type node struct {
	Name string  `json:"name"`
	Next *node   `json:"next"`
	More []*node `json:"more,omitempty"`
}

type base1 struct {
	Shared string
	Hidden int `json:"hidden"`
}

type Optional struct {
	Deep string `json:"deep"`
}

type embedding struct {
	base1
	*Optional
	Hidden string `json:"hidden"`
	Quoted int    `json:"quoted,string"`
	Out    string `json:"-"`
	_      string
}

func mismatch[T any](t *testing.T, strict bool, text string) string {
	t.Helper()
	made, err := For(reflect.TypeFor[T](), strict)
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if wrong := made.Decode([]byte(text), &value); wrong != nil {
		return wrong.Error()
	}
	return ""
}

func TestAMismatchNamesThePlaceAndWhatWouldBeRight(t *testing.T) {
	for text, words := range map[string]string{
		mismatch[bool](t, false, `1`):                                           ": must be true or false",
		mismatch[bool](t, false, `true false`):                                  ": must be JSON",
		mismatch[[]int8](t, false, `[1, 128]`):                                  "[1]: must be a whole number from -128 to 127",
		mismatch[map[string]uint8](t, false, `{"a":-1}`):                        ".a: must be a whole number from 0 to 255",
		mismatch[[2]int](t, false, `[1]`):                                       ": must be an array of 2",
		mismatch[float32](t, false, `1e39`):                                     ": must be a number that a float32 can hold",
		mismatch[*big.Int](t, false, `1.5`):                                     ": must be a whole number",
		mismatch[json.Number](t, false, `"1"`):                                  ": must be a number",
		mismatch[[]byte](t, false, `"a"`):                                       ": must be base64",
		mismatch[time.Time](t, false, `"2026-02-30T00:00:00Z"`):                 ": must be a time with an offset, such as 2026-11-28T17:02:31Z",
		mismatch[level](t, false, `"secret"`):                                   ": must be what a level is read from",
		mismatch[pair](t, false, `["a"]`):                                       ": must be what a pair is read from",
		mismatch[map[int]string](t, false, `{"a":""}`):                          ": must be what a map[int]string is read from",
		mismatch[node](t, false, `{"name":"a","next":{"name":"b"}}`):            ".next.next: must be there",
		mismatch[node](t, true, `{"name":"a","next":null,"z":1,"b c":2}`):       "['b c']: must be left out: it is not known",
		mismatch[embedding](t, false, `{"Shared":"","hidden":1}`):               ".hidden: must be a string",
		mismatch[embedding](t, false, `{"Shared":"","hidden":"","quoted":"x"}`): ".quoted: must be a string with JSON in it",
		mismatch[embedding](t, false, `{"hidden":"","quoted":"1"}`):             ".Shared: must be there",
	} {
		if text != words {
			t.Errorf("%q, not %q", text, words)
		}
	}
}

func TestWhatEncodingJSONWritesIsReadAgain(t *testing.T) {
	value := struct {
		embedding
		Nodes   []node
		Times   map[string]time.Time
		Bytes   []byte
		Numbers [2]float64
		Level   level
		Keyed   map[int]string
		Pointer *string
		Any     any
		Raw     json.RawMessage
		Span    time.Duration
	}{
		embedding: embedding{Quoted: 7}, Nodes: []node{{Name: "a", Next: &node{Name: "b"}}},
		Times: map[string]time.Time{"now": time.Unix(1, 5).UTC()}, Bytes: []byte("abc"), Level: "low",
		Keyed: map[int]string{-7: "x"}, Any: json.Number("12345678901234567890"), Raw: json.RawMessage(`{"a": 1.0}`), Span: time.Hour,
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	made, err := For(reflect.TypeOf(value), true)
	if err != nil {
		t.Fatal(err)
	}
	again := reflect.New(reflect.TypeOf(value))
	if wrong := made.Decode(text, again.Interface()); wrong != nil {
		t.Fatal(wrong)
	}
	if written, err := json.Marshal(again.Interface()); err != nil || string(written) != string(text) {
		t.Errorf("%s\n%s", text, written)
	}
}

func TestANameOfAnotherCaseIsTakenAsEncodingJSONTakesIt(t *testing.T) {
	if wrong := mismatch[struct{ Number int }](t, true, `{"number":7.0}`); wrong != "" {
		t.Error(wrong)
	}
}

func TestATypeThatHasNoFormInJSONIsNamed(t *testing.T) {
	type holder struct{ F []func() }
	_, err := For(reflect.TypeFor[map[string]holder](), false)
	if err == nil || err.Error() != "the field F of shape.holder: func() has no form in JSON" {
		t.Error(err)
	}
	if _, err := For(reflect.TypeFor[error](), false); err == nil {
		t.Error("an interface with methods has a form")
	}
}

func TestASchemaOfATypeThatHoldsItselfEnds(t *testing.T) {
	made, err := For(reflect.TypeFor[node](), false)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made.Schema())
	if err != nil || !strings.Contains(string(text), `"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}`) {
		t.Errorf("%s", text)
	}
}
