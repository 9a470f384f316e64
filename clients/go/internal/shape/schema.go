package shape

import (
	"fmt"
	"regexp"
)

// names are the definitions of a schema: types that hold themselves, and those that stand in several places.
type names struct {
	definitions map[string]any
	given       map[*object]string
}

var odd = regexp.MustCompile(`[^\w.-]+`)

// of is a reference to the schema of a struct, which is made once.
func (n *names) of(one *object, made func() map[string]any) map[string]any {
	name, ok := n.given[one]
	if !ok {
		wanted := odd.ReplaceAllString(one.of.Name(), "_")
		name = wanted
		for number := 2; n.definitions[name] != nil; number++ {
			name = fmt.Sprintf("%s%d", wanted, number)
		}
		n.given[one] = name
		n.definitions[name] = map[string]any{}
		n.definitions[name] = made()
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

// Schema is the JSON Schema (2020-12) of the texts that Decode takes.
func (s *Shape) Schema() map[string]any {
	names := &names{map[string]any{}, map[*object]string{}}
	said := s.root.schema(names)
	if len(names.definitions) > 0 {
		said["$defs"] = names.definitions
	}
	return said
}
