package shape

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	date    = `\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])`
	seconds = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?`
	offset  = `(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
	base    = `([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?`
)

var (
	base64 = pattern{regexp.MustCompile(`^` + base + `$`), "base64", "", func(string) error { return nil }}
	moment = pattern{
		regexp.MustCompile(`^` + date + `T` + seconds + offset + `$`), "a time with an offset, such as 2026-11-28T17:02:31Z",
		"date-time", func(text string) error { _, err := time.Parse(time.RFC3339, text); return err },
	}
	known = map[reflect.Type]form{
		reflect.TypeFor[json.RawMessage](): anything{},
		reflect.TypeFor[json.Number]():     number{},
		reflect.TypeFor[big.Int]():         integer{},
		reflect.TypeFor[time.Time]():       moment,
	}
)

type anything struct{}

func (anything) check(any) (any, bool, *Mismatch) { return nil, false, nil }

func (anything) schema(*names) map[string]any { return map[string]any{} }

// scalar is a value that JSON has a form of its own for.
type scalar[T any] struct{ expected, name string }

func (s scalar[T]) check(value any) (any, bool, *Mismatch) {
	if _, ok := value.(T); !ok {
		return nil, false, must(s.expected)
	}
	return nil, false, nil
}

func (s scalar[T]) schema(*names) map[string]any { return map[string]any{"type": s.name} }

// number is one of any size and precision.
type number struct{}

func (number) check(value any) (any, bool, *Mismatch) {
	if _, ok := value.(json.Number); !ok {
		return nil, false, must("a number")
	}
	return nil, false, nil
}

func (number) schema(*names) map[string]any { return map[string]any{"type": "number"} }

// float is one of so many bits.
type float int

func (f float) check(value any) (any, bool, *Mismatch) {
	if _, _, wrong := (number{}).check(value); wrong != nil {
		return nil, false, wrong
	}
	if _, err := strconv.ParseFloat(string(value.(json.Number)), int(f)); err != nil {
		return nil, false, must(fmt.Sprintf("a number that a float%d can hold", f))
	}
	return nil, false, nil
}

func (float) schema(*names) map[string]any { return map[string]any{"type": "number"} }

// integer is a whole number between bounds, where it has some.
type integer struct{ least, most *big.Int }

func signed(bits int) integer {
	most := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return integer{new(big.Int).Neg(most), new(big.Int).Sub(most, big.NewInt(1))}
}

func unsigned(bits int) integer {
	most := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	return integer{new(big.Int), most.Sub(most, big.NewInt(1))}
}

func (i integer) check(value any) (any, bool, *Mismatch) {
	said, ok := value.(json.Number)
	whole := wholeOf(string(said))
	if !ok || whole == nil {
		return nil, false, must("a whole number")
	}
	if i.least != nil && (whole.Cmp(i.least) < 0 || whole.Cmp(i.most) > 0) {
		return nil, false, must(fmt.Sprintf("a whole number from %v to %v", i.least, i.most))
	}
	if text := whole.String(); text != string(said) {
		return json.Number(text), true, nil
	}
	return nil, false, nil
}

func (i integer) schema(*names) map[string]any {
	said := map[string]any{"type": "integer"}
	if i.least != nil {
		said["minimum"], said["maximum"] = i.least, i.most
	}
	return said
}

// wholeOf reads a number that is whole, however it is written. nil: it is not. One with an exponent beyond what a float64
// has is none: its digits would fill the memory.
func wholeOf(text string) *big.Int {
	if whole, ok := new(big.Int).SetString(text, 10); ok {
		return whole
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		if size, err := strconv.Atoi(exponent); err != nil || size < -400 || size > 400 {
			return nil
		}
	}
	ratio, ok := new(big.Rat).SetString(text)
	if !ok || !ratio.IsInt() {
		return nil
	}
	return ratio.Num()
}

// pattern is a value that is written as text.
type pattern struct {
	takes            *regexp.Regexp
	expected, format string
	read             func(string) error
}

func (p pattern) check(value any) (any, bool, *Mismatch) {
	text, ok := value.(string)
	if !ok || !p.takes.MatchString(text) || p.read(text) != nil {
		return nil, false, must(p.expected)
	}
	return nil, false, nil
}

func (p pattern) schema(*names) map[string]any {
	said := map[string]any{"type": "string", "pattern": p.takes.String()}
	if p.format != "" {
		said["format"] = p.format
	}
	return said
}

// named is a type that reads its values from strings.
type named struct{ of reflect.Type }

func (n named) check(value any) (any, bool, *Mismatch) {
	text, ok := value.(string)
	if !ok {
		return nil, false, must("a string")
	}
	if err := reflect.New(n.of).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		return nil, false, must("what a " + nameOf(n.of) + " is read from")
	}
	return nil, false, nil
}

func (named) schema(*names) map[string]any { return map[string]any{"type": "string"} }

// foreign is a type that reads its values itself.
type foreign struct{ of reflect.Type }

func (f foreign) check(value any) (any, bool, *Mismatch) {
	text, err := json.Marshal(value)
	if err == nil {
		err = read(text, reflect.New(f.of).Interface())
	}
	if err != nil {
		return nil, false, must("what a " + nameOf(f.of) + " is read from")
	}
	return nil, false, nil
}

func (foreign) schema(*names) map[string]any { return map[string]any{} }

type orNull struct{ inner form }

func (o orNull) check(value any) (any, bool, *Mismatch) {
	if value == nil {
		return nil, false, nil
	}
	return o.inner.check(value)
}

func (o orNull) schema(names *names) map[string]any {
	said := o.inner.schema(names)
	if name, ok := said["type"].(string); ok {
		said["type"] = []string{name, "null"}
		return said
	}
	if len(said) == 0 {
		return said
	}
	return map[string]any{"anyOf": []any{said, map[string]any{"type": "null"}}}
}

// quoted is a value whose JSON is in a string.
type quoted struct{ inner form }

func (q quoted) check(value any) (any, bool, *Mismatch) {
	text, ok := value.(string)
	var inner any
	if !ok || read([]byte(text), &inner) != nil {
		return nil, false, must("a string with JSON in it")
	}
	if _, _, wrong := q.inner.check(inner); wrong != nil {
		return nil, false, wrong
	}
	return nil, false, nil
}

func (quoted) schema(*names) map[string]any { return map[string]any{"type": "string"} }

// array is one of a length. -1: of any.
type array struct {
	item   form
	length int
}

func (a array) check(value any) (any, bool, *Mismatch) {
	items, ok := value.([]any)
	if !ok {
		return nil, false, must("an array")
	}
	if a.length >= 0 && len(items) != a.length {
		return nil, false, must(fmt.Sprintf("an array of %d", a.length))
	}
	var checked []any
	for i, each := range items {
		other, differs, wrong := a.item.check(each)
		if wrong != nil {
			return nil, false, wrong.within("[" + strconv.Itoa(i) + "]")
		}
		if differs {
			if checked == nil {
				checked = slices.Clone(items)
			}
			checked[i] = other
		}
	}
	return checked, checked != nil, nil
}

func (a array) schema(names *names) map[string]any {
	said := map[string]any{"type": "array", "items": a.item.schema(names)}
	if a.length >= 0 {
		said["minItems"], said["maxItems"] = a.length, a.length
	}
	return said
}

// dictionary is a map from strings.
type dictionary struct{ item form }

func (d dictionary) check(value any) (any, bool, *Mismatch) {
	items, ok := value.(map[string]any)
	if !ok {
		return nil, false, must("an object")
	}
	var checked map[string]any
	for _, name := range sorted(items) {
		other, differs, wrong := d.item.check(items[name])
		if wrong != nil {
			return nil, false, wrong.within(at(name))
		}
		if differs {
			if checked == nil {
				checked = maps.Clone(items)
			}
			checked[name] = other
		}
	}
	return checked, checked != nil, nil
}

func (d dictionary) schema(names *names) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": d.item.schema(names)}
}

// object is a struct.
type object struct {
	of     reflect.Type
	fields []field
	strict bool
}

type field struct {
	name     string
	of       form
	required bool
}

func (o *object) check(value any) (any, bool, *Mismatch) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, false, must("an object")
	}
	var checked, unknown map[string]any
	if o.strict {
		unknown = maps.Clone(members)
	}
	for _, each := range o.fields {
		name, ok := nameIn(members, each.name)
		if !ok {
			if each.required {
				return nil, false, must("there").within(at(each.name))
			}
			continue
		}
		delete(unknown, name)
		other, differs, wrong := each.of.check(members[name])
		if wrong != nil {
			return nil, false, wrong.within(at(each.name))
		}
		if differs {
			if checked == nil {
				checked = maps.Clone(members)
			}
			checked[name] = other
		}
	}
	if len(unknown) > 0 {
		return nil, false, must("left out: it is not known").within(at(sorted(unknown)[0]))
	}
	return checked, checked != nil, nil
}

// nameIn is how an object spells a field. encoding/json takes other cases as well, where the exact one is not there.
func nameIn(members map[string]any, name string) (string, bool) {
	if _, ok := members[name]; ok {
		return name, true
	}
	for each := range members {
		if strings.EqualFold(each, name) {
			return each, true
		}
	}
	return "", false
}

func (o *object) schema(names *names) map[string]any {
	if o.of.Name() == "" {
		return o.described(names)
	}
	return names.of(o, func() map[string]any { return o.described(names) })
}

func (o *object) described(names *names) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, each := range o.fields {
		properties[each.name] = each.of.schema(names)
		if each.required {
			required = append(required, each.name)
		}
	}
	said := map[string]any{"type": "object", "properties": properties}
	if required != nil {
		said["required"] = required
	}
	if o.strict {
		said["additionalProperties"] = false
	}
	if o.of.Name() != "" {
		said["title"] = o.of.Name()
	}
	return said
}

var word = regexp.MustCompile(`^\w+$`)

func at(name string) string {
	if word.MatchString(name) {
		return "." + name
	}
	return fmt.Sprintf("['%.40s']", name)
}

func sorted(members map[string]any) []string {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
