package shape

import (
	"reflect"
	"strings"
)

// member is a field of a struct, as encoding/json has it.
type member struct {
	name     string
	of       reflect.Type
	required bool
	quoted   bool
	tagged   bool
}

// within is a struct whose fields are those of the one that embeds it.
type within struct {
	of       reflect.Type
	optional bool
}

// fieldsOf are the fields of a struct by the rules of encoding/json: those of embedded structs belong to it, a nearer one
// hides a deeper one, and of several at one depth the one with a tag is meant, or none.
func fieldsOf(of reflect.Type) []member {
	var found []member
	taken := map[string]bool{}
	seen := map[reflect.Type]bool{of: true}
	for level := []within{{of: of}}; len(level) > 0; {
		var deeper []within
		var names []string
		byName := map[string][]member{}
		for _, each := range level {
			for i := range each.of.NumField() {
				one := each.of.Field(i)
				if inner, ok := embedded(one, each.optional); ok {
					if !seen[inner.of] {
						seen[inner.of] = true
						deeper = append(deeper, inner)
					}
				} else if made, ok := memberOf(one, each.optional); ok {
					if byName[made.name] == nil {
						names = append(names, made.name)
					}
					byName[made.name] = append(byName[made.name], made)
				}
			}
		}
		for _, name := range names {
			if one, ok := meant(byName[name]); ok && !taken[name] {
				found = append(found, one)
			}
			taken[name] = true
		}
		level = deeper
	}
	return found
}

// embedded is the struct that a field embeds.
func embedded(one reflect.StructField, optional bool) (within, bool) {
	name, _, _ := strings.Cut(one.Tag.Get("json"), ",")
	if !one.Anonymous || name != "" {
		return within{}, false
	}
	of := one.Type
	if of.Kind() == reflect.Pointer {
		of, optional = of.Elem(), true
	}
	return within{of, optional}, of.Kind() == reflect.Struct
}

func memberOf(one reflect.StructField, optional bool) (member, bool) {
	tag := one.Tag.Get("json")
	if tag == "-" || !one.IsExported() {
		return member{}, false
	}
	name, options, _ := strings.Cut(tag, ",")
	made := member{name: name, of: one.Type, required: !optional, tagged: name != ""}
	if name == "" {
		made.name = one.Name
	}
	for _, each := range strings.Split(options, ",") {
		switch each {
		case "omitempty", "omitzero":
			made.required = false
		case "string":
			made.quoted = plain(one.Type)
		}
	}
	return made, true
}

// plain says whether encoding/json heeds `,string` in the tag of a field of the type.
func plain(of reflect.Type) bool {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	return of.Kind() >= reflect.Bool && of.Kind() <= reflect.Float64 || of.Kind() == reflect.String
}

// meant is which of several fields of one name at one depth encoding/json takes.
func meant(several []member) (member, bool) {
	if len(several) == 1 {
		return several[0], true
	}
	var tagged []member
	for _, each := range several {
		if each.tagged {
			tagged = append(tagged, each)
		}
	}
	if len(tagged) != 1 {
		return member{}, false
	}
	return tagged[0], true
}
